"""Files of strangers, read in bounded memory: regular ones alone, up to a limit, and JSON as its standard says.

Every limit is a constant of the module that reads (`docs/trust.md` lists them). What Python's `json` lets pass in
silence is an error here: a key that stands twice (the first value would be lost), NaN and Infinity, nesting that
exhausts the stack, numbers with thousands of digits, half of a surrogate pair. And since a bracket or a comma of
JSON may cost sixty bytes of memory, a large text that is a fourth of those or more is refused before it is parsed.

`portions` bounds what is worked out at once, whatever it is.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from unmask.errors import UnmaskError

T = TypeVar("T")

LARGEST_JSON = (
    64 * 1024 * 1024
)  # bytes of a configuration, a manifest, a note; tokenizers have a limit of their own
LARGEST_NUMBER = 2**63  # whole numbers beyond it are no counts
_DENSE = 4 * 1024 * 1024  # characters from which brackets and commas are counted


class BadJson(ValueError):
    """What is wrong, and the line of the text (from 1) where that is known; callers say where the text is from."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


def check_regular(path: Path, expected: str) -> None:
    """Raise `UnmaskError` for a folder, a FIFO, a device or a socket: reading it may never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise UnmaskError(f"{path} is a {kind_of_file(mode)} — {expected} was expected — name a regular file")


def kind_of_file(mode: int) -> str:
    """The kind of a file by its mode, in a word."""
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "FIFO",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
        stat.S_IFSOCK: "socket",
        stat.S_IFREG: "file",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def read_bounded(path: Path, expected: str, most: int = LARGEST_JSON) -> bytes:
    """All bytes of a regular file of at most `most` bytes. Raises `UnmaskError` for any other."""
    check_regular(path, expected)
    with path.open("rb") as stream:
        raw = stream.read(most + 1)
    if len(raw) > most:
        raise UnmaskError(
            f"{path} has more than {most:,} bytes — {expected} was expected — is it the right file?"
        )
    return raw


def parse_json(text: str, *, constants: bool = False, halves: bool = False, density: float = 0.25) -> Any:
    """The value of a JSON text. Raises `BadJson`.

    `constants` lets NaN and Infinity pass (metrics hold them), `halves` half surrogate pairs (for who cleans them
    away); `density` is the share of brackets and commas that a large text may have.
    """
    if len(text) > _DENSE and sum(map(text.count, ",[{")) > density * len(text):
        raise BadJson("most of it is brackets and commas")
    try:
        value = _decoder(constants).decode(text)
        if not halves and "\\ud" in text.lower():  # only such an escape can leave half of a character
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise BadJson(f"{error.msg} at character {error.colno}", error.lineno) from None
    except RecursionError:
        raise BadJson("nested too deep") from None
    except UnicodeEncodeError:
        raise BadJson('half of a surrogate pair, such as "\\ud83d" alone') from None
    return value


@cache
def _decoder(constants: bool) -> json.JSONDecoder:
    """Made once: for a short row that takes longer than to read it."""
    refused = None if constants else _no_constant
    return json.JSONDecoder(object_pairs_hook=_once, parse_constant=refused, parse_int=_whole)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadJson(f'the key "{key[:60]}" occurs twice in an object')
            seen.add(key)
    return found


def _no_constant(name: str) -> Any:
    raise BadJson(f"{name}, which is no number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > 4000:
        raise BadJson("a number with thousands of digits")
    return int(digits)


def load_json(path: Path, expected: str, advice: str, *, most: int = LARGEST_JSON) -> Any:
    """The value of a JSON file. Raises `UnmaskError` for whatever is no such file; `advice` says what to do then."""
    try:
        return parse_json(read_bounded(path, expected, most).decode("utf-8"))
    except FileNotFoundError:
        raise UnmaskError(f"{path} is missing — {expected} was expected — {advice}") from None
    except UnicodeDecodeError as error:
        raise UnmaskError(
            f"{path} is not JSON (byte {error.start} is not UTF-8) — {expected} was expected — {advice}"
        ) from None
    except BadJson as error:
        raise UnmaskError(f"{path} is not JSON ({error}) — {expected} was expected — {advice}") from None


def portions(items: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Neighbours whose sizes are at most `most` together, or one that is larger alone."""
    portion: list[T] = []
    held = 0
    for item in items:
        own = size(item)
        if portion and held + own > most:
            yield portion
            portion, held = [], 0
        portion.append(item)
        held += own
    if portion:
        yield portion
