"""Labelled files → rows, lines and questions, each with the place it came from.

Tables: CSV (quoted as RFC 4180 says), TSV (no quoting at all: GLUE's files hold unbalanced quotes) and JSON
lines, with named columns. Sentences with tags: two or more columns divided by spaces or tabs, the last one the
tag (CoNLL-2003), and CoNLL-U (UPOS; ranges ``n-m`` and empty nodes ``n.1`` are not words). Questions: SQuAD's
JSON, versions 1.1 and 2.0, and files of its shape (CMRC 2018, DRCD). Every one may end in
``.gz``, ``.xz`` or ``.zst``.

A labelled file fits into memory; it is read whole (up to `LARGEST_FILE` bytes, unpacked), strictly as UTF-8, and
nothing in it is passed over in silence: what cannot be understood is an `UnmaskError` with its line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from unmask.bounded import BadJson, parse_json
from unmask.corpus.clean import MOST_MARKS, bound_marks
from unmask.corpus.streams import Bomb, Damaged, bomb, open_bytes
from unmask.errors import UnmaskError, nearest

_COMMENT = re.compile(r"#\s*((newdoc|newpar)\b|\S[^\t]*=)")  # "#" alone is a word of CoNLL-2003
PACKED = (".gz", ".xz", ".zst")
LARGEST_FILE = 256 * 1024 * 1024  # bytes; its rows take up to twenty times as much memory
LONGEST_CELL = 16 * 1024 * 1024  # characters
MOST_COLUMNS = 10_000


@dataclass(frozen=True)
class Record:
    """One row of a table: its line (from 1, the line it begins on) and its cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Sentence:
    """Words and their tags; `group` is the document where the file tells one; `skipped` counts ``n-m`` and ``n.1``."""

    line: int
    words: tuple[str, ...]
    tags: tuple[str, ...]
    group: str | None
    skipped: int = 0


@dataclass(frozen=True)
class Question:
    """A question about a passage; `answers` are (text, first character or None); empty where it has no answer."""

    id: str
    passage: str
    question: str
    answers: tuple[tuple[str, int | None], ...]
    impossible: bool
    group: str | None


def read_text(path: Path) -> str:
    """The whole file as text: UTF-8, a byte order mark allowed, unpacked if its name ends in .gz or .xz."""
    if path.is_dir():
        raise UnmaskError(f"{path} is a folder — a file of rows was expected — name one in it")
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UnmaskError(
            f"there is no file {path} — expected a file of rows — check the path.{nearest(path.name, beside)}"
        )
    try:
        with open_bytes(str(path)) as stream:
            return decode(read_all(stream, str(path)), str(path))
    except Bomb:
        raise UnmaskError(bomb(str(path))) from None
    except Damaged as error:
        raise UnmaskError(f"{path} cannot be unpacked ({error}) — fetch or pack it again") from None


def read_all(stream: IO[bytes], where: str) -> bytes:
    """All bytes of a stream. Raises `UnmaskError` beyond `LARGEST_FILE`: standard input may have no end."""
    raw = stream.read(LARGEST_FILE + 1)
    if len(raw) > LARGEST_FILE:
        raise UnmaskError(
            f"{where} has more than {LARGEST_FILE:,} bytes — one that fits into memory was expected — take a part,"
            " for example with shuf -n 1000000"
        )
    return raw


def decode(raw: bytes, where: str) -> str:
    """Bytes as strict UTF-8; the error names the file, the byte and its line."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
        line = raw.count(b"\n", 0, at) + 1
        guess = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "LATIN1"
        raise UnmaskError(
            f"{where} is not UTF-8: byte {at} is 0x{raw[at]:02x} (line {line}) — convert it first, for example with "
            f"iconv -f {guess} -t UTF-8"
        ) from None
    if not text.strip():
        raise UnmaskError(f"{where} is empty — expected at least one row")
    _bounded(text, where, 1)
    return text


def _bounded(text: str, where: str, line: int) -> None:
    """Refuse marks without end on one letter: the time of normalisation grows with the square of their number."""
    bounded, marks = bound_marks(text)
    if marks:
        at = next(n for n, (a, b) in enumerate(zip(text, bounded + "\0", strict=False)) if a != b)
        raise UnmaskError(
            f"{where}, line {line + text.count(chr(10), 0, at)}: more than {MOST_MARKS} marks on one letter "
            f"(U+{ord(text[at]):04X} among them) — no language writes so many — take them out"
        )


def parse(text: str, where: str, line: int = 1) -> Any:
    """JSON that begins on `line` of `where`. Raises UnmaskError for what is no JSON, or no text that can be written."""
    try:
        value = parse_json(text)
    except BadJson as error:
        raise UnmaskError(
            f"{where}, line {line + error.line - 1}: not JSON ({error}) — expected rows, as its standard says — mend it"
        ) from None
    if "\\u" in text:  # what is written as escapes was not seen when the file was read
        _bounded(json.dumps(value, ensure_ascii=False), where, line)
    return value


def kind_of(path: Path) -> str:
    """The format by the file's name: csv, tsv, jsonl, json, conll or conllu; .gz, .xz and .zst are looked through."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    known = {
        ".csv": "csv",
        ".tsv": "tsv",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".json": "json",
        ".conllu": "conllu",
    }
    return known.get(
        last, "conll" if last in {".conll", ".bio", ".bmes", ".txt", ".iob", ".iob2", ".tags", ""} else last
    )


# -- tables ----------------------------------------------------------------------------------------------------


def read_table(path: Path, columns: Iterable[str]) -> list[Record]:
    """The rows of a CSV, TSV or JSON lines file, checked to have `columns`.

    Raises `UnmaskError`: a column is missing (with the columns there are), a row has another number of cells
    than the header, a line is not JSON, no row follows the header.
    """
    return table(read_text(path), kind_of(path), columns, str(path))


def table(text: str, kind: str, columns: Iterable[str], where: str) -> list[Record]:
    """As `read_table`, from text that has been read already (standard input)."""
    wanted = list(columns)
    if kind == "jsonl":
        return _json_lines(text, wanted, where)
    if kind not in ("csv", "tsv"):
        raise UnmaskError(
            f"{where} is not a table — expected a name that ends in .csv, .tsv or .jsonl (.gz, .xz and .zst too)"
        )
    rows = _csv(text, where) if kind == "csv" else _tsv(text)
    line, header = next(rows, (1, []))
    if len(header) > MOST_COLUMNS:
        raise UnmaskError(
            f"{where}, line {line}: {len(header):,} columns — at most {MOST_COLUMNS:,} are read — is it a table?"
        )
    header = [name.strip() for name in header]
    _need(wanted, header, f"{where}, line {line}")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise UnmaskError(
            f'{where}, line {line}: the column "{twice}" occurs twice — every column needs its own name'
        )
    records = []
    for line, cells in rows:
        if len(cells) != len(header):
            raise UnmaskError(
                f"{where}, line {line}: {len(cells)} columns — the header has {len(header)}: {_listed(header)}"
            )
        records.append(Record(line, dict(zip(header, cells, strict=True))))
    if not records:
        raise UnmaskError(f"{where} has a header and no rows — expected at least one")
    return records


def _need(wanted: list[str], there: Iterable[str], where: str) -> None:
    names = list(there)
    for name in wanted:
        if name not in names:
            raise UnmaskError(
                f'{where}: there is no column "{name}" — the columns are {_listed(names) or "none"} — '
                f"say which is which with the task's options, such as --text or --label.{nearest(name, names)}"
            )


def _listed(names: list[str]) -> str:
    return ", ".join(name[:60] for name in names[:20]) + (", …" if len(names) > 20 else "")


def _csv(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise UnmaskError(
            f'{where}, line {line}: {error} — a cell with quotes is written "like ""this"""; '
            "a file without quoting is a .tsv"
        ) from None


def _tsv(text: str) -> Iterator[tuple[int, list[str]]]:
    # Only "\n" ends a line: str.splitlines would cut at U+2028 and form feeds inside a cell.
    for line, row in enumerate(text.split("\n"), 1):
        row = row.removesuffix("\r")
        if row:
            yield line, row.split("\t")


def _json_lines(text: str, wanted: list[str], where: str) -> list[Record]:
    records = []
    for line, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        value = parse(row, where, line)
        if not isinstance(value, dict):
            raise UnmaskError(
                f"{where}, line {line}: {type(value).__name__} — expected an object with named columns"
            )
        _need(wanted, value, f"{where}, line {line}")
        for name in wanted:
            if not isinstance(value[name], str | int | float):  # bool is an int
                raise UnmaskError(
                    f'{where}, line {line}: "{name}" is {json.dumps(value[name])[:60]} — expected text or a number'
                )
        records.append(
            Record(
                line,
                {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in value.items()},
            )
        )
    return records


# -- tagged sentences ------------------------------------------------------------------------------------------


def read_sentences(path: Path, *, labelled: bool = True) -> list[Sentence]:
    """Tagged sentences: CoNLL-U if the name or the first lines say so, else one word a line and its tag last.

    Without `labelled`, a line may be a word alone.
    """
    return sentences(read_text(path), kind_of(path), str(path), labelled=labelled)


def sentences(text: str, kind: str, where: str, *, labelled: bool) -> list[Sentence]:
    """As `read_sentences`, from text that has been read already (standard input)."""
    conllu = kind == "conllu" or _looks_conllu(text)
    found = list(_conllu(text, where) if conllu else _conll(text, where, 2 if labelled else 1))
    if not found:
        raise UnmaskError(f"{where} holds no sentence — expected a word and its tag on each line")
    return found


def _looks_conllu(text: str) -> bool:
    words = [row for row in text.split("\n", 200) if row.strip() and not row.startswith("#")][:20]
    return bool(words) and all(row.count("\t") == 9 and re.match(r"\d+([-.]\d+)?\t", row) for row in words)


def _conllu(text: str, path: str) -> Iterator[Sentence]:
    group: str | None = None
    words: list[str] = []
    tags: list[str] = []
    begin, skipped, commented = 0, 0, 0
    for line, row in enumerate([*text.split("\n"), ""], 1):
        row = row.removesuffix("\r")
        if row.startswith("#"):
            commented = commented or line
            name, _, value = row[1:].partition("=")
            if name.strip() == "newdoc id" or row[1:].strip() == "newdoc":
                group = value.strip() or f"document at line {line}"
        elif not row.strip():
            if words:
                yield Sentence(begin, tuple(words), tuple(tags), group, skipped)
            elif begin or commented:
                raise UnmaskError(f"{path}, line {begin or commented}: a sentence with no words — remove it")
            words, tags, begin, skipped, commented = [], [], 0, 0, 0
        else:
            cells = row.split("\t")
            begin = begin or line
            if len(cells) != 10:
                raise UnmaskError(
                    f"{path}, line {line}: {len(cells)} columns — a CoNLL-U word has 10, divided by tabs"
                )
            if re.fullmatch(r"\d+[-.]\d+", cells[0]):
                skipped += 1
            elif not cells[0].isdigit():
                raise UnmaskError(
                    f'{path}, line {line}: the word number is "{cells[0]}" — expected 7, 7-8 or 7.1'
                )
            elif not cells[1].strip() or not cells[3].strip():
                raise UnmaskError(
                    f"{path}, line {line}: an empty {'tag' if cells[1].strip() else 'word'} — fill it in; _ stands for "
                    "none"
                )
            else:
                words.append(cells[1])
                tags.append(cells[3])


def _cells(row: str, tabbed: bool) -> list[str]:
    return row.strip("\r\n").split("\t") if tabbed else row.split()


def _conll(text: str, path: str, least: int) -> Iterator[Sentence]:
    group: str | None = None
    words: list[str] = []
    tags: list[str] = []
    begin = width = 0
    tabbed = False
    for line, row in enumerate([*text.split("\n"), ""], 1):
        row = row.removesuffix("\r")
        if row.startswith("-DOCSTART-"):
            if words:  # no blank line stands before it
                yield Sentence(begin, tuple(words), tuple(tags), group)
                words, tags = [], []
            group = f"document at line {line}"
        elif not row.strip():
            if words:
                yield Sentence(begin, tuple(words), tuple(tags), group)
            words, tags = [], []
        elif not words and _COMMENT.match(row) and len(_cells(row, tabbed)) != width:
            if row[2:].startswith("newdoc"):
                group = row.partition("=")[2].strip() or f"document at line {line}"
        else:
            tabbed = tabbed or (not width and "\t" in row)
            cells = _cells(row, tabbed)
            width = width or len(cells)
            if width < least:
                raise UnmaskError(f"{path}, line {line}: one column — expected a word and, last, its tag")
            if len(cells) != width:
                raise UnmaskError(f"{path}, line {line}: {len(cells)} columns — the first word has {width}")
            if not cells[0].strip() or not cells[-1].strip():
                raise UnmaskError(
                    f"{path}, line {line}: an empty {'word' if cells[-1].strip() else 'tag'} — fill it in"
                )
            begin = line if not words else begin
            words.append(cells[0])
            tags.append(cells[-1].strip())
