"""One token a character, by one look into a table: the ids of the `characters` tokenizers that are trained here.

For text in NFC such a tokenizer does nothing but drop white space and look every character up. The `tokenizers`
library makes an object of each on its way (a million characters take it more than a second); a table of all code
points gives the same ids and offsets in a hundredth of that. Any other text or tokenizer is left to the library.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NORMALIZER = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
_PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "WhitespaceSplit"},
        {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False},
    ],
}
_SPACE = (
    *range(0x09, 0x0E),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
)


def character_table(data: dict[str, Any]) -> NDArray[np.int32] | None:
    """The id of every code point, -1 for white space: `[0x110000]`; None unless the tokenizer is such a one.

    `data` is the content of a `tokenizer.json`.
    """
    model = data["model"]
    if (
        model.get("type") != "WordLevel"
        or model["unk_token"] not in model["vocab"]
        or data["normalizer"] != _NORMALIZER
        or data["pre_tokenizer"] != _PRE_TOKENIZER
        or not all(token["special"] for token in data["added_tokens"])
    ):
        return None
    table = np.full(0x110000, model["vocab"][model["unk_token"]], np.int32)
    for piece, id_ in model["vocab"].items():
        if len(piece) == 1:
            table[ord(piece)] = id_
    table[list(_SPACE)] = -1
    return table


def encode_characters(
    texts: Sequence[str], table: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]] | None:
    """Ids `[n]`, offsets `[n, 2]` within each text and counts `[texts]`; None for text that is not in NFC."""
    if not all(unicodedata.is_normalized("NFC", text) for text in texts):
        return None
    try:
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    except UnicodeEncodeError:  # lone surrogates
        return None
    ids = table[codes]
    kept = np.flatnonzero(ids >= 0)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths)
    counts = np.diff(np.searchsorted(kept, ends), prepend=0)
    begins = kept - np.repeat(ends - lengths, counts)
    return ids[kept], np.stack([begins, begins + 1], axis=1).astype(np.int32), counts.astype(np.int64)
