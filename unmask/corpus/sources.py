"""What the inputs are: files, folders, globs, standard input (`-`), or `hf://name`."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from unmask.corpus.streams import STANDARD_INPUT, inner_suffix
from unmask.errors import UnmaskError, nearest

FORMATS = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
HUB = "hf://"
_EDGE = 65536


def find_sources(inputs: Sequence[str | Path]) -> list[str]:
    """The names of all inputs: folders are walked, globs expanded, in the order of their names.

    Raises `UnmaskError` for what is not there, for a folder or glob without a readable file, and for an unknown
    kind of file.
    """
    if not inputs:
        raise UnmaskError("no input was given — expected files, folders, globs, - or hf://name")
    found: list[str] = []
    for entry in map(str, inputs):
        found.extend(_expand(entry))
    return list(dict.fromkeys(found))


def _expand(entry: str) -> list[str]:
    path = Path(entry)
    if entry == STANDARD_INPUT or entry.startswith(HUB):
        return [entry]
    if path.is_dir():
        files = sorted(str(file) for file in path.rglob("*") if file.is_file() and _readable(file))
        if not files:
            raise UnmaskError(
                f"{path} holds no text — expected files that end in {', '.join(FORMATS)} (or .gz .zst .xz)"
            )
        return files
    if path.is_file():
        if not _readable(path):
            raise UnmaskError(
                f'{path} has the unknown ending "{inner_suffix(path.name)}" — expected {", ".join(FORMATS)},'
                " each also with .gz, .zst or .xz"
            )
        return [entry]
    if any(mark in entry for mark in "*?["):
        files = sorted(
            file
            for file in glob.glob(entry, recursive=True)
            if Path(file).is_file() and _readable(Path(file))
        )
        if files:
            return files
        raise UnmaskError(f"no file matches {entry} — expected at least one of {', '.join(FORMATS)}")
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UnmaskError(f"{entry} is not there.{nearest(path.name, beside)}")


def _readable(path: Path) -> bool:
    suffix = inner_suffix(path.name)
    return suffix in FORMATS and not (suffix == ".parquet" and path.suffix.lower() != ".parquet")


def identity(source: str) -> str:
    """What tells one state of a source from another: its name, size, and a hash of both of its ends."""
    if source == STANDARD_INPUT or source.startswith(HUB):
        return source
    path = Path(source)
    digest = blake2b(digest_size=8)
    with path.open("rb") as stream:
        digest.update(stream.read(_EDGE))
        stream.seek(max(0, path.stat().st_size - _EDGE))
        digest.update(stream.read(_EDGE))
    return f"{path.resolve()} {path.stat().st_size} {digest.hexdigest()}"
