"""The files of a suite's part → rows, checked before any training: how many, and which labels.

Benchmarks' TSV files are split at tabs alone (their cells hold unbalanced quotes), a row is never stripped (that would
lose empty last cells), and no test row is ever passed over, for the server counts them. Formats after the converters of
GLUE-baselines and jiant. A row count that is not the distributed one means a cut file or another release: an error.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError, nearest
from unmask.tasks.questions import questions
from unmask.tasks.read import kind_of, parse, read_text, sentences
from unmask.yardstick import superglue
from unmask.yardstick.suites import Column, Part, SuiteTask, found


@dataclass(frozen=True)
class Item:
    """One row for the model. `index` as the server wants it; `gold` None where the file does not tell.

    texts: one or two texts, the words of a sentence, or question and passage. `group` is never divided; `key` names the
    question of rows that are answered together, and `about` holds what its metric needs of the row.
    """

    index: Any
    texts: tuple[str, ...]
    gold: Any
    group: str | None = None
    key: str | None = None
    about: Any = None


@dataclass(frozen=True)
class Rows:
    """All rows of a part, and what the reader has to say about them."""

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    name: str = ""
    where: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.items)


def read_part(task: SuiteTask, part: Part, data: Path, *, labelled: bool) -> Rows:
    """The rows of all files of a part under `data`. Raises `UnmaskError` for whatever is wrong with them."""
    paths = found(data, part)
    if paths is None:
        raise UnmaskError(
            f"{task.name}: {', '.join(part.names)} is not in {data} — the file was expected — fetch it"
        )
    items: list[Item] = []
    notes: list[str] = []
    count = 0
    for path in paths:
        rows, taken, said = read_file(task, part, path, labelled)
        items += rows
        count += taken
        notes += said
    where = ", ".join(map(str, paths))
    if part.rows is not None and count != part.rows:
        raise UnmaskError(
            f"{where} has {count:,} rows — {part.rows:,} were expected — the file was cut or is of another release: "
            "fetch it again, or describe your own in a suite file"
        )
    if labelled:
        items, said = labels_of(task, items, where)
        notes += said
        if not items:
            raise UnmaskError(
                f"{where}: no row with a label is left — rows to learn from or to score were expected"
            )
    return Rows(tuple(items), tuple(notes), part.name, where)


def read_file(task: SuiteTask, part: Part, path: Path, labelled: bool) -> tuple[list[Item], int, list[str]]:
    """Rows of one file, how many it holds (in the unit of the suite's counts), and notes."""
    text, kind, where = read_text(path), kind_of(path), str(path)
    if task.kind == "answer":
        asked = questions(text, where, labelled=labelled)
        return [Item(q.id, (q.question, q.passage), q.answers, q.group, q.id) for q in asked], len(asked), []
    if task.kind == "tag":
        tagged = sentences(text, kind, where, labelled=labelled)
        return [Item(n, s.words, s.tags, s.group) for n, s in enumerate(tagged)], len(tagged), []
    if task.reader != "table":
        lines = [(n, row) for n, row in enumerate(text.split("\n"), 1) if row.strip()]
        taken, count = superglue.READERS[task.reader](
            ((f"{where}, line {n}", parse(row, where, n)) for n, row in lines), labelled
        )
        return [Item(*row) for row in taken], count, []
    return table(task, part, text, kind, where, labelled)


# -- tables ----------------------------------------------------------------------------------------------------------


def table(
    task: SuiteTask, part: Part, text: str, kind: str, where: str, labelled: bool
) -> tuple[list[Item], int, list[str]]:
    """Rows of a CSV, TSV or JSON lines file by column names, or by numbers from 0 where there is no header."""

    def column(own: Column | None, usual: Column | None) -> Column | None:
        return usual if own is None else own

    header = task.header if part.header is None else part.header
    index = column(part.index, task.index)
    wanted = {
        "text_a": column(part.text_a, task.text_a),
        "text_b": column(part.text_b, task.text_b),
        "label": column(part.label, task.label) if labelled else None,
        "index": index,
        "group": task.group if labelled else None,
    }
    items, dropped = [], 0
    count = 0
    for n, (line, cell) in enumerate(
        cells(text, kind, where, header, [w for w in wanted.values() if w is not None])
    ):
        values: dict[str, Any] = {}
        try:
            values = {name: None if which is None else cell(which) for name, which in wanted.items()}
            at = values["index"] if index is not None else n  # as it stands there: a number stays one
            values = {name: None if value is None else plain(value) for name, value in values.items()}
        except IndexError:
            if labelled and task.short == "drop":
                dropped += 1
                continue
            named = ", ".join(str(which) for which in wanted.values() if which is not None)
            raise UnmaskError(
                f"{where}, line {line}: too few columns — {named} (numbers count from 0) were expected — is the file "
                "cut, or of another layout?"
            ) from None
        count += 1
        for name in ("text_a", "text_b"):
            if wanted[name] is not None and values[name] is None:
                raise UnmaskError(
                    f"{where}, line {line}: {wanted[name]} is null — expected a text — mend the file"
                )
        texts = tuple(str(values[name]) for name in ("text_a", "text_b") if wanted[name] is not None)
        items.append(Item(at, texts, values["label"], values["group"]))
    notes = [f"{where}: {dropped} rows with too few columns passed over"] if dropped else []
    return items, count, notes


Cell = Callable[[Column], Any]


def cells(
    text: str, kind: str, where: str, header: bool, wanted: Sequence[Column]
) -> Iterator[tuple[int, Cell]]:
    """(line, how to get a cell) of every row. Raises `UnmaskError` where a named column is not there."""
    if kind == "jsonl":
        for line, row in enumerate(text.split("\n"), 1):
            if row.strip():
                value = parse(row, where, line)
                if not isinstance(value, dict):
                    raise UnmaskError(
                        f"{where}, line {line}: no object — one with named columns was expected"
                    )
                for name in wanted:
                    if name not in value:
                        raise _no_column(name, list(value), f"{where}, line {line}")
                yield line, _of_object(value)
        return
    if kind not in ("tsv", "csv"):
        raise UnmaskError(
            f"{where} is no table — a name ending in .tsv, .csv or .jsonl was expected (.gz, .xz and .zst too)"
        )
    rows = _csv(text, where) if kind == "csv" else _tsv(text)
    names: list[str] = []
    if header:
        line, names = next(rows, (1, []))
        names = [name.strip() for name in names]
    for name in wanted:
        if isinstance(name, str) and name not in names:
            raise _no_column(name, names, f"{where}, line 1")
    place = {name: names.index(name) if isinstance(name, str) else name for name in wanted}
    for line, values in rows:
        yield line, _of_row(values, place)


def _of_object(value: dict[str, Any]) -> Cell:
    return lambda name: value[str(name)]


def _of_row(row: list[str], place: dict[Column, int]) -> Cell:
    return lambda name: row[place[name]]


def plain(value: Any) -> str:
    """A JSON value as the text of a cell: true, not True."""
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _no_column(name: Column, there: list[str], where: str) -> UnmaskError:
    return UnmaskError(
        f'{where}: there is no column "{name}" — the columns are {", ".join(there) or "not named"} — name another in '
        f"the suite.{nearest(str(name), there)}"
    )


def _tsv(text: str) -> Iterator[tuple[int, list[str]]]:
    rows = text.split("\n")
    if rows and rows[-1] == "":
        rows.pop()
    for line, row in enumerate(rows, 1):  # an empty line is a row: a test row may not vanish
        yield line, row.removesuffix("\r").split("\t")


def _csv(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise UnmaskError(
            f"{where}, line {reader.line_num}: {error} — a cell with quotes doubles them — mend it"
        ) from None


# -- labels ----------------------------------------------------------------------------------------------------------


def labels_of(task: SuiteTask, items: list[Item], where: str) -> tuple[list[Item], list[str]]:
    """The rows with labels that are in range; those with a label in `skip` are passed over, and counted."""
    if task.kind in ("tag", "answer"):
        return items, []
    kept, skipped = [], 0
    for number, item in enumerate(items, 1):
        label = item.gold
        if label in task.skip:
            skipped += 1
            continue
        if task.kind == "score":
            _in_range(task, str(label), f"{where}, row {number}")
        elif task.labels and label not in task.labels:
            raise UnmaskError(
                f'{where}, row {number}: the label is "{label}" — {task.name} has {", ".join(task.labels)} — is this '
                f"the right column, and the whole file?{nearest(str(label), task.labels)}"
            )
        kept.append(item)
    return kept, [f"{where}: {skipped} rows labelled {', '.join(task.skip)} passed over"] if skipped else []


def _in_range(task: SuiteTask, label: str, where: str) -> None:
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    low, high = task.bounds
    if not low <= value <= high or not math.isfinite(value):
        raise UnmaskError(
            f'{where}: the label is "{label}" — {task.name} has numbers from {low:g} to {high:g} — is this the right '
            "column, and the whole file?"
        )
