"""The runs that an embryo is made of: opened, checked to belong together, their snapshots listed. Before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError
from unmask.jobs.snapshots import Snapshot, snapshots
from unmask.jobs.source import Source, open_source
from unmask.models import Shape
from unmask.recipes import RECIPES, Recipe
from unmask.run import Run
from unmask.settings import flat, from_json
from unmask.store import Store

FREE = ("training.seed", "training.checkpoint_every", "training.log", "training.snapshots", "corpus")


@dataclass(frozen=True)
class Body:
    """A run of `unmask pretrain`, how its network is made, and its snapshots in their order."""

    run: Run
    source: Source
    recipe: Recipe
    shape: Shape
    snapshots: list[Snapshot]

    @property
    def tokens(self) -> np.ndarray:
        """Tokens that were read at each snapshot."""
        return np.array([s.tokens for s in self.snapshots], np.float64)


def bodies_of(folders: Sequence[Path]) -> list[Body]:
    """The runs. Raises UnmaskError for a run without snapshots or model, and for runs that differ in more than seed."""
    if not folders:
        raise UnmaskError("no run is named — one or more runs of `unmask pretrain` are needed — name one")
    found = [_body(folder) for folder in folders]
    first, then = found[0], flat(found[0].run.settings)
    for other in found[1:]:
        now = flat(other.run.settings)
        odd = [
            key
            for key in sorted(then.keys() | now.keys())
            if then.get(key) != now.get(key) and key not in FREE
        ]
        if odd:
            raise UnmaskError(
                f"{first.run.folder} and {other.run.folder} differ in {', '.join(odd)} — several runs are seeds of one "
                "setting — look at each alone, and give both to `unmask report`"
            )
    return found


def _body(folder: Path) -> Body:
    run = Run.open(folder)
    if run.about["verb"] != "pretrain":
        raise UnmaskError(
            f"{folder} is a run of `{run.about['verb']}` — a run of `unmask pretrain` was expected — name the run it "
            "started from"
        )
    held = snapshots(folder)
    if len(held) < 2:
        raise UnmaskError(
            f"{folder} has {len(held)} snapshots — at least the first state and the last are needed — pre-train again "
            "with --snapshots 24"
        )
    settings = dict(run.settings["recipe"])
    recipe = from_json(RECIPES[settings.pop("name")], settings, f"{folder}/run.json")
    return Body(
        run, open_source(folder), recipe, from_json(Shape, run.about["shape"], f"{folder}/run.json"), held
    )


def unigram_of(run: Run) -> np.ndarray | None:
    """The shares of the pieces in the run's corpus [V]; None where the corpus is no longer there."""
    corpus = run.about.get("corpus") or {}
    try:
        store = Store(Path(corpus["path"]))
    except (KeyError, UnmaskError, OSError):
        return None
    if store.fingerprint != corpus.get("fingerprint"):
        return None
    counts = np.asarray(store.unigram, dtype=np.float64)
    shares: np.ndarray = counts / counts.sum()
    return shares
