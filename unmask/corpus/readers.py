"""Sources to raw documents, one after the other.

A `.txt` holds a document a file, documents separated by blank lines, or a document a line: the layout is given or
judged by the first million characters, and what was understood is told before the work starts. `.jsonl`, `.csv`,
`.tsv` and `.parquet` hold a document a row in a named column, `hf://name` is read through `datasets`.

A line of running text may have any length: it is split. A row that is longer than a line may be is dropped. The
ledger counts both.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.bounded import BadJson, parse_json
from unmask.corpus import Document, streams
from unmask.corpus.ledger import Stage
from unmask.corpus.parquet import check_column, read_rows
from unmask.corpus.sources import HUB, visible_name
from unmask.corpus.streams import STANDARD_INPUT, inner_suffix, read_lines, read_parts
from unmask.errors import UnmaskError, nearest

LAYOUTS = ("auto", "file", "blank", "line")
# Characters; a longer document is split between two of its lines. A row reads a thousandth of that, and a corpus of
# a few huge files still comes in enough pieces for some to be held out.
LONGEST_DOCUMENT = 1_000_000
LONGEST_ID = 256  # characters of a document's id
_JUDGED = 1_000_000
_SMALL = 1_000_000  # bytes: several text files smaller than this are a document each
TOLD = {
    "file": "a document a file",
    "blank": "documents separated by blank lines",
    "line": "a document a line",
}


@dataclass(frozen=True)
class Dropped:
    """A row that gives no document, and why."""

    id: str
    reason: str


def judge_layout(sources: Sequence[str], layout: str) -> str:
    """The layout of the text files among the sources: the one that was given, or, for `auto`, the likeliest.

    Several small files are a document each; else a text with blank lines is divided there; else every line is a
    document. Standard input cannot be looked at twice: there `auto` is a document a line.
    """
    if layout not in LAYOUTS:
        raise UnmaskError(
            f'unknown layout "{layout}" — expected {", ".join(LAYOUTS)}.{nearest(layout, LAYOUTS)}'
        )
    texts = [source for source in sources if inner_suffix(source) == ".txt"]
    if layout != "auto" or not texts:
        return "line" if layout == "auto" else layout
    if len(texts) > 1 and sum(Path(file).stat().st_size for file in texts) < _SMALL * len(texts):
        return "file"
    seen, text_seen, blank_seen = 0, False, False
    for line, _ in read_parts(texts[0]):
        if line.strip():
            if blank_seen:
                return "blank"
            text_seen = True
        elif text_seen:
            blank_seen = True
        seen += len(line) + 1
        if seen > _JUDGED:
            break
    return "line"


def read_documents(sources: Sequence[str], layout: str, column: str, stage: Stage) -> Iterator[Document]:
    """All documents of all sources, as they are; no text may be empty.

    `stage` counts what was read: rows without text are dropped, documents over `LONGEST_DOCUMENT` are split.
    Raises `UnmaskError` for a damaged row (file and line), a missing column, or a source without any text.
    """
    for source in sources:
        texts = dropped = 0
        for document, part in _raw(source, layout, column):
            if isinstance(document, Dropped):
                stage.take()
                stage.add("dropped", document.reason, document.id)
                dropped += 1
                continue
            pieces = [piece for piece in _pieces(document) if piece.text.strip()]
            texts += len(pieces)
            if not part:  # further parts of a document that was read in parts came in with the first
                stage.take()
                if part is None and not pieces:
                    stage.add("dropped", "no text", document.id)
                elif part is None and len(pieces) == 1:
                    stage.add("kept")
                else:
                    stage.add("split", f"longer than {LONGEST_DOCUMENT:,} characters", document.id)
            yield from pieces
        if not texts:
            if len(sources) == 1 or source == STANDARD_INPUT:
                shown = "standard input" if source == STANDARD_INPUT else source
                raise UnmaskError(f"{shown} is empty: it holds no text — expected at least one document")
            if not dropped:
                stage.take()
                stage.add("dropped", "empty file", visible_name(source))


def _pieces(document: Document) -> Iterator[Document]:
    text, number = document.text, 0
    while len(text) > LONGEST_DOCUMENT:
        end = text.rfind("\n", 1, LONGEST_DOCUMENT)
        end = LONGEST_DOCUMENT if end < 0 else end
        yield Document(text[:end], f"{document.id}#{number}", document.source)
        text, number = text[end:], number + 1
    yield Document(text, f"{document.id}#{number}" if number else document.id, document.source)


def _raw(source: str, layout: str, column: str) -> Iterator[tuple[Document | Dropped, int | None]]:
    """Documents as they are, each with None, or parts of a long text with their numbers; and rows that give none."""
    if source == STANDARD_INPUT or (not source.startswith(HUB) and inner_suffix(source) == ".txt"):
        return _lines(source) if layout == "line" else _text(source, layout)
    return ((document, None) for document in _rows(source, column))


def _rows(source: str, column: str) -> Iterator[Document | Dropped]:
    if source.startswith(HUB):
        return _hub(source, column)
    suffix = inner_suffix(source)
    if suffix == ".jsonl":
        return _jsonl(source, column)
    if suffix == ".parquet":
        return _parquet(source, column)
    return _table(source, column, "\t" if suffix == ".tsv" else ",")


def _short(source: str) -> str:
    return "stdin" if source == STANDARD_INPUT else visible_name(Path(source).name)


def _lines(source: str) -> Iterator[tuple[Document, int | None]]:
    """A document a line; one longer than a line may be comes in parts."""
    name = _short(source)
    number = 1
    whole, given = True, 0  # whether the line has come in one part, and how many parts of it held text
    for line, ends in read_parts(source):
        if line.strip():
            label = f"{name}:{number}#{given}" if given else f"{name}:{number}"
            yield Document(line, label, source), None if ends and whole else given
            given += 1
        number, whole, given = (number + 1, True, 0) if ends else (number, False, given)


def _text(source: str, layout: str) -> Iterator[tuple[Document, int | None]]:
    name = _short(source)
    lines: list[str] = []
    held = part = 0
    number, begin, began = 1, 1, True  # the line, where its document begins, whether its beginning is at hand

    def document() -> Document:
        label = name if layout == "file" else f"{name}:{begin}"
        return Document("\n".join(lines), f"{label}#{part}" if part else label, source)

    for line, ends in read_parts(source):
        if layout == "blank" and began and ends and not line.strip():
            if lines:
                yield document(), part or None
            lines, held, part = [], 0, 0
        else:
            if lines and held + len(line) > LONGEST_DOCUMENT:  # the file may not fit into memory
                yield document(), part
                lines, held, part = [], 0, part + 1
            if not lines and not part:
                begin = number
            lines.append(line)
            held += len(line) + 1
        number, began = number + ends, ends
    if lines:
        yield document(), part or None


def _too_long() -> str:
    return f"a line longer than {streams.LONGEST_LINE:,} bytes"


def _jsonl(source: str, column: str) -> Iterator[Document | Dropped]:
    for number, line in enumerate(read_lines(source), 1):
        label = f"{_short(source)}:{number}"
        if line is None:
            yield Dropped(label, _too_long())
            continue
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        try:
            row = parse_json(line, constants=True, halves=True)
        except BadJson as error:
            raise UnmaskError(f"{where} is not JSON ({error}) — expected an object a line") from None
        if not isinstance(row, dict):
            raise UnmaskError(
                f"{where} is a {type(row).__name__} — expected an object with the column {column}"
            )
        yield _row(row, column, where, label, source)


def _table(source: str, column: str, delimiter: str) -> Iterator[Document | Dropped]:
    csv.field_size_limit(streams.LONGEST_LINE)
    long: list[int] = []  # numbers of lines that were too long, since the last row

    def lines() -> Iterator[str]:
        for number, line in enumerate(read_lines(source), 1):
            if line is None and delimiter == ",":
                raise UnmaskError(
                    f"{source}, line {number} is longer than {streams.LONGEST_LINE:,} bytes, and without it the quotes"
                    " of the file cannot be told — give the text as .jsonl, where such a line is dropped and counted"
                )
            if line is None:
                long.append(number)
            yield "\n" if line is None else line + "\n"

    # Tab-separated files of the field do not quote: a lone " in a sentence must not swallow the next rows.
    if delimiter == "\t":  # a lone carriage return is a line's end elsewhere, and white space in a cell
        plain = (line.replace("\r", " ") for line in lines())
        rows = csv.reader(plain, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines(), strict=True)
    try:
        names = next(rows, None)
        if names is None:
            return
        check_column(column, names, source)
        for values in rows:
            where = f"{source}, line {rows.line_num}"
            if not values:
                if long:
                    yield Dropped(f"{_short(source)}:{long.pop()}", _too_long())
                continue
            if len(values) != len(names):
                raise UnmaskError(
                    f"{where} has {len(values)} fields — expected {len(names)} as in the first line"
                )
            row = dict(zip(names, values, strict=True))
            yield _row(row, column, where, f"{_short(source)}:{rows.line_num}", source)
    except csv.Error as error:
        raise UnmaskError(f"{source}, line {rows.line_num}: {error} — check its quotes") from None


def _parquet(source: str, column: str) -> Iterator[Document]:
    for number, (text, own) in enumerate(read_rows(source, column)):
        row = {column: text} if own is None else {column: text, "id": own}
        yield _row(row, column, f"{source}, row {number}", f"{_short(source)}:{number}", source)


def _hub(source: str, column: str) -> Iterator[Document]:
    """`hf://name` or `hf://name:configuration`, its split `train`, streamed."""
    try:
        import datasets
    except ImportError:
        raise UnmaskError(f'{source} needs the package datasets — pip install "unmask[hub]"') from None
    name, _, configuration = source.removeprefix(HUB).partition(":")
    try:
        rows: Iterable[dict[str, Any]] = datasets.load_dataset(
            name, configuration or None, split="train", streaming=True
        )
    except (
        Exception
    ) as error:  # whatever the library or the network raises, the user needs the name and the cause
        raise UnmaskError(f"{source} cannot be opened: {error}") from error
    number, coming = 0, iter(rows)
    while True:
        try:
            row = next(coming, None)
        except Exception as error:  # as above: the rows come over the network
            raise UnmaskError(
                f"{source}, row {number}: {error} — the rows before were read — run the same command again"
            ) from error
        if row is None:
            return
        yield _row(row, column, f"{source}, row {number}", f"{name}:{number}", source)
        number += 1


def _row(row: dict[str, Any], column: str, where: str, label: str, source: str) -> Document:
    if column not in row:
        check_column(column, row, where)
    text = row[column]
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise UnmaskError(f'{where}: column "{column}" holds a {type(text).__name__} — expected text')
    own = row.get("id") if column != "id" else None
    if isinstance(own, (str, int)) and not isinstance(own, bool):
        # A name, not text: cut where it is long, whole characters alone.
        label = str(own)[:LONGEST_ID].encode("utf-8", "backslashreplace").decode("utf-8")
    return Document(text, label, source)
