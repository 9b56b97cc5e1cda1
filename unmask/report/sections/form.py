"""A section of the page as plain values: words, tables and charts. The template alone knows markup."""

from __future__ import annotations

from dataclasses import dataclass, field

from unmask.report.figures import Spec

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A head and rows under it. Numbers are set right, strings left; None is a dash. `caption` stands above."""

    head: list[str]
    rows: list[list[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart made with the parts of `figures` (its specification has layers), and the words above it."""

    spec: Spec
    caption: str = ""


@dataclass(frozen=True)
class Watched:
    """A sentence with a blank, and its guesses (piece, probability) at each moment."""

    text: str
    guesses: list[list[tuple[str, float]]]


@dataclass(frozen=True)
class Viewer:
    """Sentences over the same moments: a table each, and one slider for all of them where scripts run."""

    moments: list[str]
    sentences: list[Watched]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, what the reader should know first, then figures, tables, viewers and remarks."""

    title: str
    lead: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    viewers: list[Viewer] = field(default_factory=list)
