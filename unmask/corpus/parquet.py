"""The text column of a Parquet file, in memory bounded by a page.

Parquet can be made to explode: a page of a few bytes may unpack to two gigabytes, a dictionary's one long text may
be repeated a million times by a few bytes more, and a billion nulls take none. So page headers are read here before
the library is asked to unpack anything (they alone say what memory a page takes; the footer may lie), so few rows are
unpacked at once that texts as long as a page fit, and a file that gives too much text or too many rows for its size is
a bomb.

Format: Apache Parquet, `parquet.thrift`, PageHeader; Thrift's compact protocol.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unmask.bounded import check_regular
from unmask.corpus import streams
from unmask.errors import UnmaskError, nearest

ROWS = 1_000_000  # that any file may have, however small; beyond, one for every byte of it
BATCH_BYTES = 1 << 28  # of texts that may be unpacked at once
_BATCH = 256  # rows
_HEADER = 1 << 20  # bytes that a page's header may take: it may hold the largest and the smallest text


def read_rows(source: str, column: str) -> Iterator[tuple[str | None, str | int | None]]:
    """The text and the id (None without a column `id`) of every row.

    Raises `UnmaskError` for a file that is not Parquet, lacks the column, holds no text there, or is a bomb.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_regular(Path(source), "a Parquet file")
    size = os.path.getsize(source)
    made = 0
    try:
        with pq.ParquetFile(source) as file:
            schema, metadata = file.schema_arrow, file.metadata
        check_column(column, schema.names, source)
        kind = schema.field(column).type
        if not _is_text(kind) and kind != pa.null():
            raise UnmaskError(f'{source}: column "{column}" holds a {kind} — expected text')
        named = "id" in schema.names and column != "id"
        named = named and (_is_text(schema.field("id").type) or pa.types.is_integer(schema.field("id").type))
        chosen = [column, "id"] if named else [column]
        if metadata.num_rows > max(ROWS, size):
            raise UnmaskError(
                f"{source} has {metadata.num_rows:,} rows in {size:,} bytes — text takes at least one for each"
                " — it may be made to run for ever; write the rows that hold text anew"
            )
        largest = max((page for name in chosen for page in _pages(source, metadata, name)), default=1)
        rows = max(1, min(_BATCH, BATCH_BYTES // max(1, largest)))
        with pq.ParquetFile(source, metadata=metadata, pre_buffer=False, buffer_size=1 << 20) as file:
            for batch in file.iter_batches(batch_size=rows, columns=chosen):
                texts = batch.column(batch.schema.get_field_index(column))
                ids = batch.column(batch.schema.get_field_index("id")) if named else None
                for row in range(batch.num_rows):
                    text, own = texts[row].as_py(), None if ids is None else ids[row].as_py()
                    made += len(text or "") + (len(own) if isinstance(own, str) else 0)
                    if made > max(streams.BOMB_BYTES, streams.BOMB_RATIO * size):
                        raise UnmaskError(streams.bomb(source))
                    yield text, own
    except (pa.ArrowException, OSError, MemoryError, OverflowError, UnicodeDecodeError) as error:
        raise UnmaskError(f"{source} cannot be read as Parquet: {str(error)[:300]}") from None


def check_column(column: str, names: Iterable[str], source: str) -> None:
    """Raise `UnmaskError`, with the names there are, if the column is not among them."""
    names = [str(name) for name in names]
    if column not in names:
        shown = ", ".join(name[:60] for name in names[:20])
        raise UnmaskError(
            f'{source} has no column "{column}" — it has {shown} — name the one with the text (--column).'
            + nearest(column, names[:1000])
        )


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _pages(source: str, metadata: Any, name: str) -> Iterator[int]:
    """The unpacked sizes of the pages of a column. Raises `UnmaskError` for one that unpacks to too much."""
    with open(source, "rb") as stream:
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            for leaf in range(group.num_columns):
                chunk = group.column(leaf)
                if chunk.path_in_schema != name:
                    continue
                begin = chunk.data_page_offset
                if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < begin:
                    begin = chunk.dictionary_page_offset
                end = begin + chunk.total_compressed_size
                while begin < end:
                    stream.seek(begin)
                    header = stream.read(_HEADER)
                    try:
                        unpacked, packed, length = _header(header)
                    except (IndexError, RecursionError):
                        raise UnmaskError(
                            f"{source} cannot be read as Parquet: the page at byte {begin} is damaged — fetch it again"
                        ) from None
                    if unpacked > max(streams.BOMB_BYTES, streams.BOMB_RATIO * packed):
                        raise UnmaskError(streams.bomb(source))
                    yield unpacked
                    begin += length + packed


def _header(data: bytes) -> tuple[int, int, int]:
    """(unpacked size, packed size, bytes of the header) of a page. Raises `IndexError` for what is none."""
    fields, end = _struct(data, 0)
    unpacked, packed = fields.get(2, -1), fields.get(3, -1)
    if unpacked < 0 or packed < 0:
        raise IndexError("no sizes")
    return unpacked, packed, end


def _struct(data: bytes, at: int) -> tuple[dict[int, int], int]:
    """The whole numbers of a struct of Thrift's compact protocol by field, and where it ends."""
    fields: dict[int, int] = {}
    number = 0
    while True:
        byte, at = data[at], at + 1
        kind = byte & 0x0F
        if not byte:
            return fields, at
        if byte >> 4:
            number += byte >> 4
        else:
            number, at = _zigzag(data, at)
        if kind in (4, 5, 6):
            fields[number], at = _zigzag(data, at)
        else:
            at = _skip(data, at, kind, field=True)


def _skip(data: bytes, at: int, kind: int, field: bool = False) -> int:
    """Where a value of this kind ends."""
    if kind in (1, 2):  # a truth value stands in the field's own byte
        return at if field else at + 1
    if kind == 3:
        return at + 1
    if kind in (4, 5, 6):
        return _varint(data, at)[1]
    if kind == 7:
        return at + 8
    if kind == 8:
        length, at = _varint(data, at)
        return at + length
    if kind in (9, 10):
        head, at = data[at], at + 1
        count = head >> 4
        if count == 15:
            count, at = _varint(data, at)
        for _ in range(count):
            at = _skip(data, at, head & 0x0F)
            if at >= len(data):
                raise IndexError("a list beyond its end")
        return at
    if kind == 12:
        return _struct(data, at)[1]
    raise IndexError("no such kind")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise IndexError("a number without an end")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
