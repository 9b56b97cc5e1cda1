"""``unmask import SOURCE``: a foreign model with its weights in a pickle becomes a folder with safetensors.

The only verb that opens a pickle; it says so. The Python API is ``unmask.convert(source, out)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unmask.commands.watch import Watch


def imports(
    source: Annotated[
        Path, Parameter(help="a folder with config.json and pytorch_model.bin, or the file itself")
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="the folder to write")],
) -> None:
    """Convert weights in a pickle (pytorch_model.bin, whole or in shards) to safetensors, and check them.

    Opening a pickle can run code. This is done by torch's restricted reader, here alone; every other verb refuses
    such files. Code beside a model is never run and never copied.

    Example: unmask import downloads/bert-base-chinese --out models/bert-base-chinese
    """
    from unmask.jobs.convert import convert

    with Watch() as watch:
        found = convert(source, out, watch)
        if found.family:
            watch.say(f"it opens; try: unmask finetune classify --model {out} --train FILE --out runs/first")
