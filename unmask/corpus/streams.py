"""Opens files as lines of text: plain, `.gz`, `.zst`, `.xz`, or standard input; nothing is read at once.

Three limits keep a damaged or hostile file from filling memory, disk or time: what is unpacked may not be larger
than `BOMB_BYTES` and `BOMB_RATIO` times the bytes it was unpacked from so far; an `.xz` may not ask for more than
`XZ_MEMORY`; and no more of a line than `LONGEST_LINE` is ever held. A reader of rows passes over a longer line (and
counts it); running text comes in parts. Bytes that are not UTF-8 are an error that names the file and the byte.
"""

from __future__ import annotations

import codecs
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from unmask.bounded import check_regular
from unmask.errors import UnmaskError

LONGEST_LINE = 16 * 1024 * 1024  # bytes
# A file that unpacks to more than this is held to be a bomb: text of a human hand packs 3 to 20 times.
BOMB_BYTES, BOMB_RATIO = 16 * 1024 * 1024, 200
XZ_MEMORY = 128 * 1024 * 1024  # bytes; xz -9 needs half of it
COMPRESSED = (".gz", ".zst", ".xz")
STANDARD_INPUT = "-"
_CHUNK = 64 * 1024


class Damaged(Exception):
    """Compressed data that is damaged or cut off."""


class Bomb(Exception):
    """Compressed data that unpacks to far more than its size."""


def inner_suffix(name: str) -> str:
    """The suffix that tells the format: `a.jsonl.xz` → `.jsonl`."""
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def open_bytes(name: str) -> IO[bytes]:
    """The uncompressed bytes of a regular file, or of standard input (`-`).

    Raises `UnmaskError` for anything but a regular file; reading raises `Damaged` and `Bomb`.
    """
    if name == STANDARD_INPUT:
        return sys.stdin.buffer
    check_regular(Path(name), "a file of text")
    suffix = Path(name.lower()).suffix
    if suffix not in COMPRESSED:
        return open(name, "rb")
    return io.BufferedReader(_Unpacked(name, suffix), _CHUNK)


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a file, member after member, weighed against the packed bytes that they came from."""

    def __init__(self, name: str, suffix: str) -> None:
        self._made = 0
        self._packed: IO[bytes] | None = None
        self._arrow: Any = None
        self._suffix = suffix
        if suffix == ".zst":
            # Arrow's stream and not zstandard's: its memory is bounded, and it tells when the last frame is cut off.
            import pyarrow as pa

            self._source = pa.OSFile(name)
            self._arrow = pa.CompressedInputStream(self._source, "zstd")
            return
        self._packed = open(name, "rb")
        self._held = b""  # packed bytes that have not gone in yet
        self._member: Any = None  # of lzma or zlib, which have no type in common
        self._members = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if self._packed is not None:
            self._packed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[:_CHUNK]
        try:
            found = self._arrow.read(len(view)) if self._arrow is not None else self._some(len(view))
        except (EOFError, lzma.LZMAError, zlib.error) as error:
            raise Damaged(str(error)) from None
        except OSError as error:
            if error.errno is None:  # Arrow's word for damaged data
                raise Damaged(str(error)) from None
            raise
        self._made += len(found)
        packed = self._source.tell() if self._arrow is not None else cast("IO[bytes]", self._packed).tell()
        if self._made > max(BOMB_BYTES, BOMB_RATIO * packed):
            raise Bomb
        view[: len(found)] = found
        return len(found)

    def _some(self, most: int) -> bytes:
        """At least one byte and at most `most`, b"" at the end."""
        while True:
            if self._member is None and not self._begin():
                return b""
            member = self._member
            ended = False
            if not self._held and getattr(member, "needs_input", True):
                self._held = self._read()
                ended = not self._held
            found: bytes = member.decompress(self._held, most)
            # zlib gives back what it has not looked at; lzma keeps it, and goes on without input.
            rest = b"" if self._suffix == ".xz" else member.unconsumed_tail
            self._held = member.unused_data if member.eof else rest
            if member.eof:
                self._member = None
            elif ended and not found:
                raise EOFError("it ends too early")
            if found:
                return found

    def _begin(self) -> bool:
        """Begin with the next member of the file; false at its end. Between members there may be zero bytes."""
        while True:
            if self._members:
                self._held = self._held.lstrip(b"\0")
            if self._held:
                break
            self._held = self._read()
            if not self._held:
                if not self._members:
                    raise EOFError("it is empty")
                return False
        self._members += 1
        if self._suffix == ".xz":
            self._member = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
        else:
            self._member = zlib.decompressobj(wbits=31)
        return True

    def _read(self) -> bytes:
        return cast("IO[bytes]", self._packed).read(_CHUNK)


def read_parts(name: str) -> Iterator[tuple[str, bool]]:
    """The lines of a file without their ends, in parts: (text, whether the line ends with it).

    No part is longer than `LONGEST_LINE` bytes. A byte order mark at the beginning is left out. Raises `UnmaskError`
    at bytes that are not UTF-8 (file and byte), where compressed data is damaged, and for a bomb.
    """
    offset = 0
    shown = "standard input" if name == STANDARD_INPUT else name
    decoder = codecs.getincrementaldecoder("utf-8")()
    ends = True
    try:
        with open_bytes(name) as stream:
            while raw := stream.readline(LONGEST_LINE):
                whole, ends = ends, raw.endswith(b"\n") or len(raw) < LONGEST_LINE
                waiting = len(decoder.getstate()[0])
                try:
                    # A long line may be cut inside of a character: its first bytes wait for the next part.
                    text = raw.decode("utf-8") if whole and ends else decoder.decode(raw, ends)
                except UnicodeDecodeError as error:
                    raise _not_utf8(shown, error, offset - waiting) from None
                if offset == 0:
                    text = text.removeprefix("\ufeff")
                offset += len(raw)
                yield (text.removesuffix("\n").removesuffix("\r") if ends else text), ends
        if not ends:  # the file ends where a part does
            if decoder.getstate()[0]:
                raise UnmaskError(f"{shown} is not UTF-8: it ends inside of a character — fetch it again")
            yield "", True
    except Bomb:
        raise UnmaskError(bomb(shown)) from None
    except Damaged as error:
        raise UnmaskError(
            f"{shown}: the compressed data is damaged or cut off ({error}) — fetch it again"
        ) from None
    except OSError as error:
        raise UnmaskError(f"{shown} cannot be read: {error.strerror or error}") from None


def read_lines(name: str) -> Iterator[str | None]:
    """The lines of a file, without their ends; None for a line over `LONGEST_LINE` bytes. Raises as `read_parts`."""
    long = False
    for text, ends in read_parts(name):
        if ends:
            yield None if long else text
        long = not ends


def bomb(shown: str) -> str:
    """The message about a file that unpacks to too much."""
    return (
        f"{shown} unpacks to more than {BOMB_RATIO} times its size — text does not pack so well, and it"
        " may be made to fill the disk — if it is right, unpack it and give the plain file"
    )


def _not_utf8(name: str, error: UnicodeDecodeError, offset: int) -> UnmaskError:
    raw, place = error.object, offset + error.start
    advice = "convert it first, for example with iconv -t UTF-8"
    if offset == 0 and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        advice = "it looks like UTF-16: " + advice
    return UnmaskError(f"{name} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {place} — {advice}")
