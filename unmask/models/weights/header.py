"""The header of a safetensors file, checked before memory is taken for what it claims.

Format: 8 bytes, the length of a JSON object, the object (a tensor's type, shape and place), the numbers. A file of
strangers may claim a header larger than itself, a shape of 10¹⁸ numbers, or tensors that lie over each other; the
library refuses some of that, after it has read the header whole. Here every byte of the numbers must belong to one
tensor, and every tensor's shape must take just its bytes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from unmask.bounded import BadJson, check_regular, parse_json
from unmask.errors import UnmaskError

LARGEST_HEADER = 16 * 1024 * 1024  # bytes; a tensor takes about a hundred
#: type → bits
WIDTHS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


def check_header(path: Path) -> None:
    """Raise `UnmaskError` unless the file is safetensors whose header tells the truth about it."""
    try:
        check_regular(path, "a file of weights")
        _check(path)
    except FileNotFoundError:
        raise UnmaskError(
            f"{path} is missing — a file of weights was expected — fetch the folder again"
        ) from None
    except (ValueError, UnicodeDecodeError) as error:  # BadJson is one
        raise UnmaskError(
            f"{path} cannot be read ({error!s:.200}) — expected safetensors — fetch the file again."
        ) from None


def _check(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
        if length > LARGEST_HEADER:
            raise ValueError(f"a header of {length:,} bytes, more than {LARGEST_HEADER:,}")
        header = parse_json(stream.read(length).decode("utf-8"))
    if not isinstance(header, dict):
        raise BadJson("its header is no object")
    about = header.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise BadJson("its metadata are no texts")
    places = sorted((*_place(name, told), name) for name, told in header.items())
    end = 0
    for begin, stop, name in places:
        if begin != end:
            raise ValueError(f'tensor "{name:.60}" begins at byte {begin} where {end} was expected')
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"its tensors take {end:,} bytes, and it holds {size - 8 - length:,}")


def _place(name: str, told: Any) -> tuple[int, int]:
    """Where a tensor begins and ends. Raises `ValueError` unless its shape takes just that."""
    if not isinstance(told, dict) or told.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadJson(f'tensor "{name:.60}" is not told by dtype, shape and data_offsets')
    shape, offsets, kind = told["shape"], told["data_offsets"], told["dtype"]
    whole = (
        isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and isinstance(kind, str)
    )
    if not whole or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**48 for n in (*shape, *offsets)):
        raise BadJson(f'tensor "{name:.60}" has a shape or a place that is none')
    if kind not in WIDTHS:
        raise ValueError(f'tensor "{name:.60}" is of type {kind[:20]}, which is not read here')
    if math.prod(shape) * WIDTHS[kind] != 8 * (offsets[1] - offsets[0]):
        raise ValueError(
            f'tensor "{name:.60}" of shape {shape} does not take its {offsets[1] - offsets[0]:,} bytes'
        )
    return offsets[0], offsets[1]
