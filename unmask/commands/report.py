"""``unmask report RUNS``: one page that opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def report(
    runs: Annotated[list[Path], Parameter(help="run folders")],
    /,
    *,
    out: Annotated[Path, Parameter(help="the page to write")] = Path("report.html"),
) -> None:
    """Make a page of run folders that opens offline.

    The table, the curves, examples right and wrong, and the commands that repeat it.

    Example: unmask report runs/bert runs/classify --out report.html
    """
    from unmask.report import report as write

    print(write(runs, out))
