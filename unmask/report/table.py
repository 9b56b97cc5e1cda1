"""The results as a table of plain text, for the end of the quickstart and for pipes."""

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from unmask.report.text import clean, short
from unmask.report.verdict import Row, Score, headline, judge, stored

_HEAD = ("task", "metric", "majority", "from scratch", "pre-trained", "gain", "")
_MARKS = {"clear": "every seed", "likely": "seeds overlap", "none": "no", "worse": "hurt", "open": "open"}


def results_table(tasks: Sequence[dict[str, Any]]) -> str:
    """The `tasks` of a results.json as aligned lines: median [lowest–highest] over seeds, then the verdict."""
    rows = stored([clean(dict(task)) for task in tasks])
    cells = [_HEAD] + [_cells(row) for row in rows]
    widths = [max(cell_len(line[i]) for line in cells) for i in range(len(_HEAD))]
    lines = [
        "  ".join(
            _pad(cell, width, i) for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    lines.insert(1, "─" * max(cell_len(line) for line in lines))
    verdict = headline(rows)
    return "\n".join(lines + (["", f"{verdict}."] if verdict else []))


def score_words(score: Score | None, digits: int) -> str:
    """61.8 [59.9–63.4]"""
    if score is None:
        return "–"
    if score.count < 2:
        return f"{score.median:.{digits}f}"
    return f"{score.median:.{digits}f} [{score.low:.{digits}f}–{score.high:.{digits}f}]"


def difference_words(row: Row) -> str:
    """+3.4, −1.2 (with the sign of mathematics)"""
    if row.difference is None:
        return "–"
    return f"{row.difference:+.{row.digits}f}".replace("-", "−")


def _cells(row: Row) -> tuple[str, ...]:
    majority = "–" if row.majority is None else f"{row.majority:.{row.digits}f}"
    return (
        short(" ".join(row.task.split()), 24),
        short(row.metric, 14),
        majority,
        score_words(row.scratch, row.digits),
        score_words(row.pretrained, row.digits),
        difference_words(row),
        _MARKS[judge(row).kind],
    )


def _pad(cell: str, width: int, column: int) -> str:
    """Words to the left, numbers to the right; a Chinese character takes two places."""
    space = " " * (width - cell_len(cell))
    return cell + space if column in (0, 1, 6) else space + cell
