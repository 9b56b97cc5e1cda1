"""``unmask fill RUN TEXT``: what the model puts in the place of each mask."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def fill(
    run: Annotated[Path, Parameter(help="a run folder, or a model folder")],
    text: Annotated[
        str, Parameter(help="a text with [MASK] or <mask> in it; - reads one a line from standard input")
    ] = "-",
    /,
    *,
    top: Annotated[int, Parameter(help="how many guesses a mask")] = 5,
) -> None:
    """Fill the masks of a text.

    Example: unmask fill runs/bert "The capital of France is [MASK]."
    """
    from unmask.jobs.fill import fill as job

    for line in (line.rstrip("\n") for line in sys.stdin) if text == "-" else [text]:
        if line.strip():
            for number, guesses in enumerate(job(run, line, top=top), start=1):
                print(f"{number}  " + "   ".join(f"{token} {100 * share:.1f} %" for token, share in guesses))
