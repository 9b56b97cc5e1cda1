"""Opens files as lines of text: plain, `.gz`, `.zst`, `.xz`, or standard input; nothing is read at once.

Bytes that are not UTF-8 are an error that names the file and the byte. A line has a largest length, so that a
damaged or hostile file cannot fill the memory.
"""

from __future__ import annotations

import gzip
import io
import lzma
import math
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from unmask.errors import UnmaskError

LONGEST_LINE = 64 * 1024 * 1024  # bytes
# A file that unpacks to more than this is held to be a bomb: text of a human hand packs 3 to 20 times.
BOMB_BYTES, BOMB_RATIO = 64 * 1024 * 1024, 200
COMPRESSED = (".gz", ".zst", ".xz")
STANDARD_INPUT = "-"


def inner_suffix(name: str) -> str:
    """The suffix that tells the format: `a.jsonl.xz` → `.jsonl`."""
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def open_bytes(name: str) -> IO[bytes]:
    """The uncompressed bytes of a file, or of standard input (`-`)."""
    if name == STANDARD_INPUT:
        return sys.stdin.buffer
    suffix = Path(name.lower()).suffix
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.open(name, "rb"))
    if suffix == ".xz":
        return cast("IO[bytes]", lzma.open(name, "rb"))
    if suffix == ".zst":
        # Arrow's stream and not zstandard's: it reads frame after frame, and tells when the last is cut off.
        import pyarrow as pa

        return cast("IO[bytes]", io.BufferedReader(pa.CompressedInputStream(pa.OSFile(name), "zstd")))
    return open(name, "rb")


def read_lines(name: str) -> Iterator[str]:
    """The lines of a file, without their ends; a byte order mark at the beginning is left out.

    Raises `UnmaskError` at bytes that are not UTF-8 (file and byte), at a line longer than `LONGEST_LINE`, where
    compressed data is damaged, and where it unpacks to more than `BOMB_BYTES` and `BOMB_RATIO` times its size.
    """
    offset = 0
    shown = "standard input" if name == STANDARD_INPUT else name
    most = _most_bytes(name)
    try:
        with open_bytes(name) as stream:
            while raw := stream.readline(LONGEST_LINE + 1):
                if len(raw) > LONGEST_LINE:
                    raise UnmaskError(
                        f"{shown}: the line at byte {offset} is longer than {LONGEST_LINE:,} bytes"
                        " — break it into lines, or give the text as .jsonl with a document a line"
                    )
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise _not_utf8(shown, raw, offset, error) from None
                if offset == 0:
                    line = line.removeprefix("\ufeff")
                offset += len(raw)
                if offset > most:
                    raise UnmaskError(
                        f"{shown} unpacks to more than {BOMB_RATIO} times its size — text does not pack so well, and it"
                        " may be made to fill the disk — if it is right, unpack it and give the plain file"
                    )
                yield line.removesuffix("\n").removesuffix("\r")
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise UnmaskError(
            f"{shown}: the compressed data is damaged or cut off ({error}) — fetch it again"
        ) from None
    except OSError as error:
        if error.errno is None and name.lower().endswith(".zst"):
            raise UnmaskError(f"{shown}: the compressed data is damaged or cut off ({error})") from None
        raise UnmaskError(f"{shown} cannot be read: {error.strerror or error}") from None


def _most_bytes(name: str) -> float:
    """How many bytes may come out of a file; no limit for those that are not compressed."""
    if not name.lower().endswith(COMPRESSED) or not os.path.isfile(name):
        return math.inf
    return max(BOMB_BYTES, BOMB_RATIO * os.path.getsize(name))


def _not_utf8(name: str, raw: bytes, offset: int, error: UnicodeDecodeError) -> UnmaskError:
    place = offset + error.start
    advice = "convert it first, for example with iconv -t UTF-8"
    if offset == 0 and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        advice = "it looks like UTF-16: " + advice
    return UnmaskError(f"{name} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {place} — {advice}")
