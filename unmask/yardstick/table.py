"""A suite's result as a table of plain text, with the means and their names below it."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len

Json = dict[str, Any]
HEAD = ("task", "majority", "from scratch", "pre-trained", "human", "failed", "what the difference is worth")


def table(found: Json) -> str:
    """The lines of the result of `run_suite`: values × 100, median [lowest–highest] over seeds."""
    rows = [HEAD, *(_row(t) for t in found["tasks"])]
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = [
        "  ".join(_pad(cell, w, i) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]
    lines.insert(1, "─" * max(map(cell_len, lines)))
    return "\n".join([*lines, "", *summary(found)])


def summary(found: Json) -> list[str]:
    """The means in words, what is missing, and how things were chosen."""
    means = found["means"]
    lines = []
    for start, words in (("pretrained", "pre-trained"), ("scratch", "from scratch")):
        if (one := means["starts"].get(start)) is not None:
            seeds = one["seeds"]
            human = (
                f"; {one['relation']:.3f} of the human score (mean of ratios)"
                if one["relation"] is not None
                else ""
            )
            failed = f"; {one['failed']} of {one['runs']} runs failed" if one["failed"] else ""
            lines.append(
                f"{means['name']}, {words}: {one['mean']:.1f} [{seeds['low']:.1f}–{seeds['high']:.1f}]{human}{failed}"
            )
    if means["missing"]:
        lines.append(f"left out: {', '.join(means['missing'])}")
    lines.append(f"values are of {found['protocol']}")
    return lines


def _row(t: Json) -> tuple[str, ...]:
    starts = t["starts"]
    failed = " + ".join(
        f"{len(starts[s]['failed'])}/{len(starts[s]['seeds'])}"
        for s in ("scratch", "pretrained")
        if s in starts
    )
    human = "–" if t["human"] is None else f"{t['human']:.1f}"
    return (
        t["name"],
        f"{t['majority']:.1f}",
        value(starts.get("scratch")),
        value(starts.get("pretrained")),
        human,
        failed,
        t.get("comparison", {}).get("words", ""),
    )


def value(arm: Json | None) -> str:
    """61.8 [59.9–63.4]"""
    if arm is None:
        return "–"
    v = arm["value"]
    return f"{v['median']:.1f}" + (f" [{v['low']:.1f}–{v['high']:.1f}]" if len(v["seeds"]) > 1 else "")


def _pad(cell: str, width: int, column: int) -> str:
    space = " " * (width - cell_len(cell))
    return cell + space if column in (0, 6) else space + cell
