"""``unmask export RUN --onnx``: a model as a file for other runtimes, kept only if it says what the model says.

The Python API is ``unmask.export(run, out, int8=..., check=...)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unmask.commands.watch import Watch
from unmask.errors import UnmaskError
from unmask.settings import show_count


def export(
    run: Annotated[Path, Parameter(help="a run of pretrain or finetune, or a model folder")],
    /,
    *,
    out: Annotated[Path, Parameter(help="the folder to write")],
    onnx: Annotated[bool, Parameter(help="as an ONNX graph (onnxruntime and others)", negative="")] = False,
    int8: Annotated[
        bool, Parameter(help="in 8 bits, if the task's score stays within a point", negative="")
    ] = False,
    check: Annotated[
        Path | None,
        Parameter(help="labelled rows for that score; the run's own test or dev file if not given"),
    ] = None,
) -> None:
    """Write a model for other runtimes, with tokenizer, labels and a card, and check what it says against ours.

    Hugging Face needs no export: the run's model/ opens there. ONNX needs the extra onnx: pip install 'unmask[onnx]'.

    Example: unmask export runs/stars --onnx --int8 --out exports/stars
    """
    if not onnx:
        raise UnmaskError(
            f"no format was named — --onnx was expected; for transformers, {run}/model opens as it is — add --onnx"
        )
    if check is not None and not int8:
        raise UnmaskError(
            "--check without --int8 — in fp32 the logits themselves are compared — leave it out"
        )
    from unmask.jobs.export import export as job

    with Watch() as watch:
        found = job(run, out, int8=int8, check=check, watch=watch)
        watch.say(f"{out}/model.onnx is written, {found['precision']}, {show_count(found['bytes'])} bytes")
