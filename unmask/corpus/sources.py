"""What the inputs are: files, folders, globs, standard input (`-`), or `hf://name`."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from unmask.bounded import kind_of_file
from unmask.corpus.ledger import Ledger, Stage
from unmask.corpus.streams import STANDARD_INPUT, inner_suffix
from unmask.errors import UnmaskError, nearest

FORMATS = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
HUB = "hf://"
LINK, SPECIAL = "symbolic link out of the folder", "no regular file"
_EDGE = 65536


def find_sources(inputs: Sequence[str | Path], stage: Stage | None = None) -> list[str]:
    """The names of all inputs: folders are walked, globs expanded, in the order of their names.

    In a folder, a file of another kind, a FIFO or a device, and a symbolic link that leads out of the folder are left
    out; `stage` counts them (a link can be given by its own name). Raises `UnmaskError` for what is not there or is no
    regular file, for a folder or glob without a readable file, and for an unknown kind of file.
    """
    if not inputs:
        raise UnmaskError("no input was given — expected files, folders, globs, - or hf://name")
    found: list[str] = []
    stage = stage or Ledger().stage("files", "files")
    for entry in map(str, inputs):
        found.extend(_expand(entry, stage))
    return list(dict.fromkeys(found))


def _expand(entry: str, stage: Stage) -> list[str]:
    path = Path(entry)
    if entry == STANDARD_INPUT or entry.startswith(HUB):
        return [entry]
    try:
        os.stat(path)
    except FileNotFoundError:
        pass  # a glob, perhaps
    except (OSError, ValueError) as error:  # a name that is too long, a loop of links, a NUL
        raise UnmaskError(f"{entry[:200]} cannot be looked up ({error!s:.80}) — check the path") from None
    if path.is_dir():
        files = _walk(path, stage)
        if not files:
            links = sum(stage.counts["dropped"].get(reason, 0) for reason in (LINK, SPECIAL))
            raise UnmaskError(
                f"{path} holds no text — expected files that end in {', '.join(FORMATS)} (or .gz .zst .xz)"
                + (f"; {links} links that lead out of it or special files are not read" if links else "")
            )
        return files
    if path.is_file():
        if not _readable(path):
            raise UnmaskError(
                f'{path} has the unknown ending "{inner_suffix(path.name)}" — expected {", ".join(FORMATS)},'
                " each also with .gz, .zst or .xz"
            )
        return [entry]
    if path.exists():
        kind = kind_of_file(path.stat().st_mode)
        raise UnmaskError(f"{path} is a {kind} — a file or a folder was expected — pipe text in with -")
    if any(mark in entry for mark in "*?["):
        files = []
        for file in sorted(glob.glob(entry, recursive=True)):
            if Path(file).is_file() and _readable(Path(file)):
                files.append(file)
                stage.take()
                stage.add("kept")
            elif not (Path(file).is_dir() and "**" in entry):  # which finds what is in the folder, too
                why = (
                    "a folder: name it to have its files"
                    if Path(file).is_dir()
                    else f"no {' '.join(FORMATS)}"
                )
                stage.take()
                stage.add("dropped", why, visible_name(Path(file)))
        if files:
            return files
        raise UnmaskError(f"no file matches {entry} — expected at least one of {', '.join(FORMATS)}")
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UnmaskError(f"{entry} is not there.{nearest(path.name, beside) or ' Check the path.'}")


def _walk(folder: Path, stage: Stage) -> list[str]:
    """The readable files of a folder and of those in it, by name; links to folders are not followed."""
    home = Path(os.path.realpath(folder))
    found = []
    for path in sorted(folder.rglob("*"), key=str):
        if path.is_dir() and not path.is_symlink():
            continue
        stage.take()
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
            stage.add("dropped", LINK, visible_name(path))
        elif not path.is_file():
            stage.add("dropped", SPECIAL, visible_name(path))
        elif not _readable(path):
            stage.add("dropped", f"no {' '.join(FORMATS)}", visible_name(path))
        else:
            stage.add("kept")
            found.append(str(path))
    return found


def _readable(path: Path) -> bool:
    suffix = inner_suffix(path.name)
    return suffix in FORMATS and not (suffix == ".parquet" and path.suffix.lower() != ".parquet")


def visible_name(path: str | Path) -> str:
    """A file's name as text; bytes of it that are no UTF-8 are written out (`\\xff`)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


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
    return f"{visible_name(path.resolve())} {path.stat().st_size} {digest.hexdigest()}"
