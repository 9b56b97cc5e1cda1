"""What a stored evaluation looks like on the page: one file a kind, one line here.

A run keeps `evaluation/NAME.json`. The part of NAME before the first dot (`glue`, `why.sst2`) picks the maker that
turns it into a `Section`; an evaluation with no maker is shown as plain pairs. A maker reads plain values that were
already made visible (`text.clean`), never raises for a value that is missing, and imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
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
    """The sections of the evaluations that have a maker, in the order of runs and names; leaks together, last.

    Where several runs have the scores of one suite, a chart of all of them comes first.
    """
    made: list[tuple[Run, Section]] = []
    leaking: list[tuple[Run, Section]] = []
    for run in runs:
        for name, value in run.evaluations.items():
            if kind(name) not in MAKERS or not isinstance(value, dict):
                continue
            section = MAKERS[kind(name)](run, value)
            if section is not None:
                (leaking if kind(name) == "leaks" else made).append((run, section))
    return [*_beside(runs), *(section for _, section in made), *together(leaking)]


def _beside(runs: Sequence[Run]) -> list[Section]:
    suites: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    for run in runs:
        for name, value in run.evaluations.items():
            if MAKERS.get(kind(name)) is glue.section and glue.scored(value):
                suites.setdefault((kind(name), str(value.get("suite"))), []).append((run.name, value))
    return [section for found in suites.values() if (section := glue.beside(found)) is not None]


def together(made: Sequence[tuple[Run, Section]]) -> list[Section]:
    """One section of those of several runs: the first table of each under its name, for eight runs fill a page."""
    if len(made) < 2:
        return [section for _, section in made]
    tables = [replace(section.tables[0], caption=run.name) for run, section in made if section.tables]
    notes = list(dict.fromkeys(note for _, section in made for note in section.notes))
    notes.append("Samples stand in evaluation/leaks.json of each run, and on the page of a single run.")
    first = made[0][1]
    title = first.title.partition(":")[0]
    return [Section(title, first.lead.removesuffix(" Nothing was found."), tables=tables, notes=notes)]


__all__ = ["MAKERS", "Section", "Table", "kind", "sections"]
