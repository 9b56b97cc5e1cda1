"""Minimal pairs: two sentences that differ in what is being tested, the acceptable one first.

Files: BLiMP's JSON lines (Warstadt et al. 2020: sentence_good, sentence_bad, UID, linguistics_term), a folder of such
files, or a table of one's own with the columns good, bad and, if wanted, phenomenon (.tsv, .csv, .jsonl; .gz, .xz
and .zst too). BLiMP itself ships. Differs from most loaders: an empty sentence or a paradigm in two phenomena is an
error, pairs of equal sentences (BLiMP has some) are counted and always a tie, and the file is known by its hash.
Imports no torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from unmask.errors import UnmaskError
from unmask.tasks.read import Record, kind_of, read_text, table

BLIMP = Path(__file__).parent / "blimp" / "pairs.jsonl.xz"
BLIMP_PAIRS = 67_000
#: the paper's tables count selection among the twelve phenomena as argument structure; the files do not
PHENOMENA = {"s-selection": "argument_structure"}


@dataclass(frozen=True)
class Pair:
    """One pair, with the paradigm it belongs to and the phenomenon of that."""

    good: str
    bad: str
    paradigm: str
    phenomenon: str
    where: str  # file and line


@dataclass(frozen=True)
class Pairs:
    """All pairs of a file or folder. `digest`: 16 hexadecimal digits of the sentences and their order."""

    name: str
    items: tuple[Pair, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.items)

    def paradigms(self) -> dict[str, list[int]]:
        """Paradigm → the numbers of its pairs, in the order of the file."""
        found: dict[str, list[int]] = {}
        for n, pair in enumerate(self.items):
            found.setdefault(pair.paradigm, []).append(n)
        return found

    def phenomena(self) -> dict[str, list[str]]:
        """Phenomenon → its paradigms."""
        found: dict[str, dict[str, None]] = {}
        for pair in self.items:
            found.setdefault(pair.phenomenon, {})[pair.paradigm] = None
        return {name: list(paradigms) for name, paradigms in found.items()}

    @property
    def equal(self) -> int:
        """Pairs whose sentences are the same: nobody can tell them apart."""
        return sum(pair.good == pair.bad for pair in self.items)

    def shortened(self, each: int) -> Pairs:
        """The first `each` pairs of every paradigm alone."""
        return _pairs(self.name, [self.items[n] for n in self.first(each)])

    def first(self, each: int) -> list[int]:
        """The numbers of the first `each` pairs of every paradigm."""
        return [n for numbers in self.paradigms().values() for n in numbers[:each]]


def read_pairs(source: Path | None = None) -> Pairs:
    """The pairs of a file or of a folder of files; BLiMP without a source.

    Raises UnmaskError, with the line, for an empty sentence, columns that are missing, and a folder without a file of
    pairs.
    """
    if source is None:
        found = _file(BLIMP, "")
        if len(found) != BLIMP_PAIRS:
            raise UnmaskError(
                f"the shipped BLiMP has {len(found)} pairs — expected {BLIMP_PAIRS} — install again"
            )
        return _pairs("BLiMP", found)
    if not source.is_dir():
        return _pairs(source.name, _file(source, source.name.partition(".")[0]))
    files = [p for p in sorted(source.iterdir()) if p.is_file() and kind_of(p) in ("jsonl", "tsv", "csv")]
    if not files:
        raise UnmaskError(
            f"{source} holds no file of pairs — expected .jsonl, .tsv or .csv files in it — name another folder"
        )
    return _pairs(source.name, [pair for path in files for pair in _file(path, path.name.partition(".")[0])])


def _file(path: Path, name: str) -> list[Pair]:
    text, kind = read_text(path), kind_of(path)
    blimp = kind == "jsonl" and '"sentence_good"' in text.partition("\n")[0]
    columns = ("sentence_good", "sentence_bad") if blimp else ("good", "bad")
    return [_pair(record, blimp, path, name) for record in table(text, kind, columns, str(path))]


def _pair(record: Record, blimp: bool, path: Path, name: str) -> Pair:
    cells, where = record.cells, f"{path}, line {record.line}"
    good, bad = (cells[("sentence_" if blimp else "") + side].strip() for side in ("good", "bad"))
    if not good or not bad:
        raise UnmaskError(f"{where}: an empty sentence — expected a pair of sentences — fill it in")
    phenomenon = cells.get("linguistics_term") or cells.get("phenomenon") or name
    paradigm = cells.get("UID") or cells.get("paradigm") or phenomenon
    return Pair(good, bad, paradigm, PHENOMENA.get(phenomenon, phenomenon) if blimp else phenomenon, where)


def _pairs(name: str, items: list[Pair]) -> Pairs:
    whose: dict[str, str] = {}
    digest = hashlib.sha256()
    for pair in items:
        if whose.setdefault(pair.paradigm, pair.phenomenon) != pair.phenomenon:
            raise UnmaskError(
                f"{pair.where}: the paradigm {pair.paradigm} belongs to {pair.phenomenon} here and to "
                f"{whose[pair.paradigm]} before — expected one phenomenon a paradigm — mend the file"
            )
        digest.update(f"{pair.good}\n{pair.bad}\n".encode())
    return Pairs(name, tuple(items), digest.hexdigest()[:16])
