"""A study as text for a terminal: a table of starts and numbers of rows, then what the numbers show."""

from __future__ import annotations

from typing import Any

from unmask.yardstick.why.study import STARTS
from unmask.yardstick.why.summary import WORDS

Json = dict[str, Any]


def table(result: Json) -> str:
    """A row a start: rate, and median [lowest–highest] with each number of rows; then the readings."""
    sizes = [str(n) for n in result["sizes"]]
    head = ["", "rate", *(f"{int(n):,} rows" for n in sizes)]
    lines = [head]
    for start in STARTS:
        own = result["starts"][start]
        lines.append([WORDS[start], f"{own['rate']:g}", *(cell(own["scores"][n]) for n in sizes)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = "\n".join(
        "  ".join(x.ljust(w) for x, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    first = (
        f"{result['name']}: {result['metric']} on {result['reported']} ({result['rows']['test']:,} rows) after "
        f"{result['steps']:,} updates of {result['batch']} rows; median [lowest–highest] of {len(result['seeds'])} "
        f"seeds; the most frequent answer scores {result['majority']:.1f}"
    )
    return "\n".join([first, "", text, "", *result["readings"], ""])


def cell(score: Json) -> str:
    """71.7 [69.5–73.3]"""
    if len(score["seeds"]) == 1:
        return f"{score['median']:.1f}"
    return f"{score['median']:.1f} [{score['low']:.1f}–{score['high']:.1f}]"
