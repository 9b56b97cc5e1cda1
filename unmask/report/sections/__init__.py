"""What a stored evaluation looks like on the page: one file a kind, one line here.

A run keeps `evaluation/NAME.json`. The part of NAME before the first dot (`glue`, `why.sst2`) picks the maker that
turns it into a `Section`; an evaluation with no maker is shown as plain pairs. A maker reads plain values that were
already made visible (`text.clean`), never raises for a value that is missing, and imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unmask.report.read import Run
from unmask.report.sections import embryo, glue, leaks, minimal_pairs, resume, why
from unmask.report.sections.form import Section, Table

#: kind of evaluation → maker of its section from the run and the JSON; None: nothing worth showing
MAKERS: dict[str, Callable[[Run, dict[str, Any]], Section | None]] = {
    "glue": glue.section,
    "superglue": glue.section,
    "suite": glue.section,
    "minimal-pairs": minimal_pairs.section,
    "leaks": leaks.section,
    "why": why.section,
    "embryo": embryo.section,
    "resume": resume.section,
}


def kind(name: str) -> str:
    """glue of "glue", why of "why.sst2"."""
    return name.split(".")[0]


def sections(runs: Sequence[Run]) -> list[Section]:
    """The sections of all stored evaluations that have a maker, in the order of the runs and names."""
    made = [
        MAKERS[kind(name)](run, value)
        for run in runs
        for name, value in run.evaluations.items()
        if kind(name) in MAKERS and isinstance(value, dict)
    ]
    return [section for section in made if section is not None]


__all__ = ["MAKERS", "Section", "Table", "kind", "sections"]
