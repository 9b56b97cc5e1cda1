"""Two finished runs beside each other, byte by byte and loss by loss. Reads files, computes nothing anew.

Weights and moments of a pre-training are compared as they lie in the newest checkpoint, and the model of any run as
it was exported: a header names the tensors in a fixed order, so equal runs are equal files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError
from unmask.run import Run

FILES = ("weights.safetensors", "optimizer.safetensors")


@dataclass(frozen=True)
class Difference:
    """Bytes that were compared, and those that differ (where a file is longer, all that it has more)."""

    compared: int
    different: int


def ends(run: Path) -> dict[str, Path]:
    """What a finished run leaves: its final weights, moments and model; a fine-tuning keeps its model alone.

    Raises UnmaskError where one is missing.
    """
    newest = max((run / "checkpoints").glob("step-*"), default=run / "checkpoints")
    kept = () if Run.open(run).about["verb"] == "finetune" else FILES
    models = sorted((run / "model").glob("*.safetensors")) or [run / "model" / "model.safetensors"]
    found = {name: newest / name for name in kept} | {f"model/{path.name}": path for path in models}
    for path in found.values():
        if not path.is_file():
            raise UnmaskError(f"{path} is missing — a finished run was expected — run it to its end")
    return found


def difference(one: Path, other: Path) -> Difference:
    """The final weights, moments and models of two runs, byte by byte."""
    a, b = ends(one), ends(other)
    compared = different = 0
    for name in sorted(a.keys() | b.keys()):
        sizes = [files[name].stat().st_size if name in files else 0 for files in (a, b)]
        compared += max(sizes)
        different += abs(sizes[0] - sizes[1])
        if all(sizes):
            x, y = (np.memmap(files[name], np.uint8, "r", shape=(min(sizes),)) for files in (a, b))
            different += int(np.count_nonzero(x != y))
    return Difference(compared, different)


def losses(run: Path) -> dict[int, float]:
    """The loss of each line of a run, by its step."""
    return {int(m["step"]): float(m["loss"]) for m in Run.open(run).metrics() if m.get("loss") is not None}


def apart(one: Path, other: Path, updates: int | None = None) -> float:
    """The largest difference of the losses of two runs that wrote a line an update, over the first `updates`."""
    a, b = losses(one), losses(other)
    if a.keys() != b.keys() or not a:
        raise UnmaskError(f"{one} and {other} have lines of other updates — the same were expected")
    first = sorted(a)[:updates]
    return max(abs(a[step] - b[step]) for step in first)
