"""Snapshots of a pre-training: its weights along the way, close together at first, for `unmask embryo` to look at.

    snapshots/step-00000012.safetensors     weights by name; step, seconds, tokens, place in the header

Parts of speech are settled within the first hundredth of a training, so equal distances would miss all of it: the
marks are log-spaced, by updates where those are counted and else by the place in the schedule, and the state before
the first update and that after the last are always among them. Weights are kept in the precision the run computes
with: of a bf16 run that is bit for bit what produced its losses, at half the bytes of the masters. A file is written
aside and renamed, but not synced, as a checkpoint is: a kill leaves it whole, and a run is not held up for the disk.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from unmask.errors import UnmaskError
from unmask.models.weights.header import check_header

FOLDER = "snapshots"
EARLIEST = 1e-3  # the first mark of a run by time, as a share of its schedule


@dataclass(frozen=True)
class Snapshot:
    """One file: how far the run was. place: the share of the schedule that was over (0 to 1)."""

    path: Path
    step: int
    seconds: float
    tokens: int
    place: float

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, in fp32. Raises UnmaskError for a damaged file."""
        try:
            return {name: tensor.float() for name, tensor in load_file(self.path).items()}
        except (OSError, SafetensorError) as error:
            raise UnmaskError(
                f"{self.path} is damaged ({error}) — expected a snapshot's weights — remove the file"
            ) from None


def marks(count: int, total: int | None) -> list[float]:
    """Where `count` snapshots stand, the first state (0) apart: updates up to `total`, or places up to 1.

    Updates are whole and all different, so their distances are 1 until a log scale spaces them wider.
    """
    left = count - 1
    if left < 1:
        return []
    if total is None:
        return [EARLIEST ** (1 - k / max(left - 1, 1)) for k in range(left)] if left > 1 else [1.0]
    if total <= left:
        return [float(step) for step in range(1, total + 1)]
    found = [1 if left > 1 else total]
    while len(found) < left:
        rest = left - len(found)
        found.append(max(found[-1] + 1, round(found[-1] * (total / found[-1]) ** (1 / rest))))
    return [float(step) for step in found]


def snapshots(run: Path) -> list[Snapshot]:
    """The snapshots of a run, in their order; [] without any. Raises UnmaskError for a damaged file."""
    return [_opened(path) for path in _files(run)]


def _files(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("step-*.safetensors"))


def _opened(path: Path) -> Snapshot:
    try:
        check_header(path)
        with safe_open(path, "pt") as file:
            facts = file.metadata()
        step, tokens = int(facts["step"]), int(facts["tokens"])
        return Snapshot(path, step, float(facts["seconds"]), tokens, float(facts["place"]))
    except (UnmaskError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UnmaskError(
            f"{path} is damaged ({error!r}) — expected a snapshot that the run wrote — remove the file"
        ) from None


class Keeper:
    """Writes the snapshots of one run. `folder` is the run's, None on a process that only gathers weights."""

    def __init__(
        self,
        folder: Path | None,
        *,
        count: int,
        total: int | None,
        start: int,
        working: torch.dtype,
        say: Callable[[str], None],
    ) -> None:
        self._marks = marks(count, total)
        self._by_steps = total is not None
        self._folder, self._working, self._say = folder, working, say
        self.on = count > 0
        self.passed, self.last = 0, -1  # marks that were passed, the step of the newest snapshot
        for path in _files(folder) if folder is not None else []:
            try:
                old = _opened(path)
            except UnmaskError as error:  # not synced: a power cut may leave an empty file
                self._say(f"{error}; the run goes on without it")
                continue
            if old.step > start:  # a resumed run writes it again
                old.path.unlink()
            else:
                self.passed, self.last = self._until(old.step, old.place), old.step

    def _until(self, step: int, place: float) -> int:
        return bisect_right(self._marks, step if self._by_steps else place)

    def due(self, step: int, place: float) -> bool:
        """Whether a mark was passed since the last question; the same answer in all processes."""
        now = self._until(step, place)
        passed, self.passed = now > self.passed, max(now, self.passed)
        return self.on and passed

    def keep(
        self, weights: dict[str, Tensor], step: int, seconds: float, tokens: int, place: float
    ) -> float | None:
        """Write one, and return the seconds that took; a full disk is told, and ends nothing."""
        self.last = step
        if self._folder is None:
            return None
        started = time.perf_counter()
        path = self._folder / FOLDER / f"step-{step:08d}.safetensors"
        part = path.with_name(f".{path.name}.part")
        facts = {"step": str(step), "seconds": repr(seconds), "tokens": str(tokens), "place": repr(place)}
        kept = {
            name: w.detach().to("cpu", self._working, copy=True).contiguous() for name, w in weights.items()
        }
        try:
            path.parent.mkdir(exist_ok=True)
            save_file(kept, part, facts)
            os.replace(part, path)
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                part.unlink()
            self._say(
                f"the snapshot of step {step} could not be written ({error}); the run goes on without it"
            )
        return time.perf_counter() - started
