"""``unmask fill RUN TEXT``: what the model puts in the place of each mask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unmask.commands.watch import lines


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
    from unmask.jobs.fill import Filler

    filler = Filler(run)
    for line in lines("a text with [MASK] in it a line") if text == "-" else [text]:
        for number, guesses in enumerate(filler.fill(line, top=top), start=1):
            print(
                f"{number}  " + "   ".join(f"{token} {100 * share:.1f} %" for token, share in guesses),
                flush=True,
            )
