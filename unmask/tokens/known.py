"""Every word is put through the tokenizer once: the ids and offsets of a batch from those of its different words.

The `tokenizers` library works each word of a text out anew (250,000 to 400,000 a second), yet a megabyte of text
holds few different ones. So a text is cut where the tokenizer surely cuts too, each cut piece ("word") is looked up
by a hash with array operations, and the library is asked for those words alone that never came before. What is found
is what the library gives, id by id and offset by offset: words are compared character by character, not by their
hashes alone, and a tokenizer that is not known to cut there is left to the library.

Two kinds are known. With BERT's pre-tokenizer white space is dropped, and punctuation and Chinese characters stand
alone. With a byte-level one a word begins at a single space; ASCII punctuation behind a letter and a newline behind
either begin one, too.
A mark (an accent) is never cut from what stands before it, since the two may be written as one character.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from unmask.bounded import portions
from unmask.corpus.words import MARK as WORD_MARK
from unmask.corpus.words import classes as word_classes

LEAST = 20_000  # characters of a batch from which on this pays
_TOGETHER = 1 << 18  # characters that are worked out at once: some dozens of bytes each
_ASKED = 1 << 11  # new words that the library is asked for at once: it takes some kilobytes for each
_SLOTS = 19  # bits of the table in which hashes are looked up
_MOST = 1 << 18  # words that are kept; then it starts anew
_MOST_CHARACTERS = 1 << 22  # of them together: some texts have words without end
_MOST_TOKENS = 4 * _MOST_CHARACTERS  # a character has four bytes at most
_LONGEST = (1 << 16) - 1  # characters of a word
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2⁶⁴

SPACE, LETTER, ALONE, MARK = range(4)
_ALONE = (
    *((0x21, 0x30), (0x3A, 0x41), (0x5B, 0x61), (0x7B, 0x7F)),  # ASCII punctuation
    *((0x2010, 0x2028), (0x3001, 0x3004), (0x3008, 0x3012), (0xFF01, 0xFF04), (0xFF05, 0xFF0B), (0xFF0C, 0xFF10)),
    *((0xFF1A, 0xFF1C), (0xFF1F, 0xFF21)),  # dashes and quotes, Chinese and full-width punctuation
    *((0x4E00, 0xA000), (0x3400, 0x4DC0), (0x20000, 0x2A6E0)),  # Chinese characters
)  # fmt: skip

Flat = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]


def known_cuts(data: dict[str, Any]) -> str:
    """How a `tokenizer.json` surely cuts a text: "bert", "bytes", or "" where it is not known."""
    post = data.get("post_processor") or {"type": None}
    if post["type"] not in (None, "TemplateProcessing", "BertProcessing"):  # others move offsets
        return ""
    if not all(token["special"] for token in data["added_tokens"]):  # they are looked for in the raw text
        return ""
    pre, kinds = data["pre_tokenizer"] or {}, _normalizers(data["normalizer"])
    if data["model"].get("type") == "WordPiece" and pre == {"type": "BertPreTokenizer"}:
        bert = data["normalizer"] if kinds == ["BertNormalizer"] else None
        bert = data["normalizer"]["normalizers"][1] if kinds == ["NFC", "BertNormalizer"] else bert
        return "bert" if bert and bert["clean_text"] and bert["handle_chinese_chars"] else ""
    if data["model"].get("type") == "BPE" and pre.get("type") == "ByteLevel":
        plain = not pre["add_prefix_space"] and pre.get("use_regex", True)
        whole = data["model"].get("ignore_merges") or data["model"].get("dropout")
        return "bytes" if plain and not whole and kinds in ([], ["NFC"]) else ""
    return ""


def _normalizers(normalizer: dict[str, Any] | None) -> list[str]:
    if normalizer is None:
        return []
    return [part["type"] for part in normalizer.get("normalizers", [normalizer])]


@cache
def _classes() -> NDArray[np.uint8]:
    """The class of every code point."""
    table = np.full(0x110000, LETTER, np.uint8)
    for begin, end in _ALONE:
        table[begin:end] = ALONE
    table[[0x09, 0x0A, 0x0D, 0x20, 0x3000]] = SPACE
    kinds = word_classes("".join(map(chr, range(0x20000))))
    table[:0x20000][kinds == WORD_MARK] = (
        MARK  # and what is unseen, such as a joiner, which is not cut off either
    )
    table[0xE0100:0xE01F0] = MARK  # variation selectors
    return table


@cache
def _spaces() -> NDArray[np.bool_]:
    """Whether a code point is white space to a regular expression."""
    table = np.zeros(0x110000, np.bool_)
    table[[*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F]] = (
        True
    )
    table[[0x1C, 0x1D, 0x1E, 0x1F, 0x205F, 0x3000]] = True
    return table


def _slots(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The two places of the table where a hash may lie."""
    return hashes >> np.uint64(64 - _SLOTS), hashes >> np.uint64(16) & np.uint64((1 << _SLOTS) - 1)


class Known:
    """The words that a tokenizer was asked for, and their tokens. `kind` is what `known_cuts` says."""

    def __init__(self, inner: tokenizers.Tokenizer, kind: str) -> None:
        self._inner, self._kind = inner, kind
        self._powers = self._inverses = np.ones(1, np.uint64)
        self._hashes = np.zeros(1 << _SLOTS, np.uint64)
        self._words = np.full(1 << _SLOTS, -1, np.int32)  # the word in every slot
        # As long as they may ever be: what nothing was written to takes no memory, and nothing is ever moved.
        self._first = np.zeros(_MOST + 1, np.int32)  # [words + 1, …] first token of every word
        self._begin = np.zeros(_MOST + 1, np.int32)  # [words + 1, …] first character
        self._characters = np.empty(_MOST_CHARACTERS, np.uint32)
        self._ids = np.empty(_MOST_TOKENS, np.int32)
        self._offsets = np.empty((_MOST_TOKENS, 2), np.uint16)
        self._count = 0

    def _forget(self) -> None:
        self._hashes.fill(0)
        self._count = 0

    def encode(self, texts: list[str]) -> Flat | None:
        """Ids `[n]`, offsets `[n, 2]` within each text and counts `[texts]`; None where the library must do it."""
        parts: list[Flat] = []
        for some in list(portions(texts, len, _TOGETHER)) or [[]]:
            part = self._encode(some)
            if part is None:
                return None
            parts.append(part)
        ids, offsets, counts = zip(*parts, strict=True)
        return np.concatenate(ids), np.concatenate(offsets), np.concatenate(counts)

    def _encode(self, texts: list[str]) -> Flat | None:
        joined = "".join(texts)
        try:
            codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
        except UnicodeEncodeError:  # lone surrogates
            return None
        sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        ends = np.cumsum(sizes)
        begins, lengths = self._cut(codes, ends)
        hashes = self._hash(codes, begins, lengths)
        found = self._find(joined, codes, begins, lengths, hashes)
        if found is None:
            return None
        counts = self._first[found + 1] - self._first[found]  # [words of the texts] tokens
        upto = np.concatenate([[0], np.cumsum(counts)])
        place = np.arange(upto[-1]) + np.repeat(self._first[found] - upto[:-1], counts)
        bounds = upto[np.searchsorted(begins, ends, "left")]
        tokens = np.diff(bounds, prepend=0)
        shift = np.repeat(begins, counts) - np.repeat(ends - sizes, tokens)
        offsets = self._offsets[place] + shift[:, None]
        return self._ids[place], offsets.astype(np.int32), tokens

    def _cut(
        self, codes: NDArray[np.uint32], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the words begin, and their lengths; white space that is dropped is in none of them."""
        starts = np.zeros(len(codes) + 1, np.bool_)
        if self._kind == "bert":
            kinds = _classes()[codes]
            before, after = kinds[:-1], kinds[1:]
            marked = bool((kinds == MARK).any())
            if marked:  # "<" with a stroke upon it is no punctuation
                before[(before == ALONE) & (after == MARK)] = LETTER
            starts[1:-1] = ((before != after) | (after == ALONE)) & (after != MARK)
            if marked:
                starts[1:-1] &= ~((before == MARK) & (after == LETTER))
        else:
            space, ascii_ = _spaces()[codes], np.minimum(codes, 127).astype(np.uint8)
            word = np.append(~space[1:], False)  # a word character comes next, in this text
            word[ends[ends > 0] - 1] = False
            starts[:-1] = (ascii_ == 0x20) & word
            letter = ((ascii_ | 0x20) >= 0x61) & ((ascii_ | 0x20) <= 0x7A)
            closing = (_classes()[ascii_] == ALONE) & (ascii_ != 0x27)  # not the apostrophe: 's is a word
            starts[1:-1] |= letter[:-1] & closing[1:]
            seen = (ascii_ > 0x20) & (ascii_ < 0x7F)
            starts[1:-1] |= seen[:-1] & (ascii_[1:] == 0x0A)
        starts[ends] = True
        starts[0] = True
        bounds = np.flatnonzero(starts)
        begins, lengths = bounds[:-1], np.diff(bounds)
        if self._kind == "bert":
            worded = (kinds[begins] != SPACE) | (kinds[begins + lengths - 1] != SPACE)
            begins, lengths = begins[worded], lengths[worded]
        return begins, lengths

    def _hash(
        self, codes: NDArray[np.uint32], begins: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.uint64]:
        """A polynomial of the characters of every word, from two sums over the whole text."""
        if len(self._powers) <= len(codes):
            size = len(codes) + len(codes) // 4 + 1
            for name, base in (("_powers", _BASE), ("_inverses", pow(_BASE, -1, 1 << 64))):
                factors = np.full(size, base, np.uint64)
                factors[0] = 1
                setattr(self, name, np.cumprod(factors, dtype=np.uint64))
        sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * self._powers[: len(codes)], out=sums[1:])
        hashes = (sums[begins + lengths] - sums[begins]) * self._inverses[begins]
        hashes ^= hashes >> np.uint64(29)
        return np.asarray(hashes * np.uint64(0xBF58476D1CE4E5B9) | np.uint64(1))  # 0 is an empty slot

    def _find(
        self,
        joined: str,
        codes: NDArray[np.uint32],
        begins: NDArray[np.int64],
        lengths: NDArray[np.int64],
        hashes: NDArray[np.uint64],
    ) -> NDArray[np.int32] | None:
        """The number of every word, new ones learnt. None if two words have one hash."""
        words = np.full(len(hashes), -1, np.int32)
        for slots in _slots(hashes):
            words = np.where(self._hashes[slots] == hashes, self._words[slots], words)
        missing = np.flatnonzero(words < 0)
        if len(missing):
            _, chosen, which = np.unique(hashes[missing], return_index=True, return_inverse=True)
            plain = self._plain(codes, begins[missing[chosen]], lengths[missing[chosen]])
            order = np.argsort(~plain, kind="stable")
            fresh = missing[chosen[order]]
            if lengths[fresh].max() > _LONGEST:
                return None
            words[missing] = (self._count + np.argsort(order)[which]).astype(np.int32)
            together = int(plain.sum())
            if not self._learn(joined, codes, begins[fresh], lengths[fresh], hashes[fresh], together):
                if self._count == 0:
                    return None
                self._forget()
                return self._find(joined, codes, begins, lengths, hashes)
        at = np.concatenate([[0], np.cumsum(lengths)])
        own = np.arange(at[-1]) + np.repeat(begins - at[:-1], lengths)
        held = np.arange(at[-1]) + np.repeat(self._begin[words] - at[:-1], lengths)
        alike = np.array_equal(lengths, self._begin[words + 1] - self._begin[words])
        return words if alike and np.array_equal(codes[own], self._characters[held]) else None

    def _learn(
        self,
        joined: str,
        codes: NDArray[np.uint32],
        begins: NDArray[np.int64],
        lengths: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        together: int,
    ) -> bool:
        """Keep some words that were not known; false if there is no room for them. `together`: see `_ask`."""
        count, at = self._count, np.concatenate([[0], np.cumsum(lengths)])
        first, begin = int(self._first[count]), int(self._begin[count])
        until, end = count + len(hashes), begin + int(at[-1])
        if until > _MOST or end > _MOST_CHARACTERS:
            return False
        spans = zip(begins.tolist(), (begins + lengths).tolist(), strict=True)
        ids, offsets, counts = self._ask([joined[a:b] for a, b in spans], lengths, together)
        if first + len(ids) > _MOST_TOKENS:
            return False
        self._characters[begin:end] = codes[np.arange(at[-1]) + np.repeat(begins - at[:-1], lengths)]
        self._ids[first : first + len(ids)], self._offsets[first : first + len(ids)] = ids, offsets
        self._first[count + 1 : until + 1] = first + np.cumsum(counts)
        self._begin[count + 1 : until + 1] = begin + at[1:]
        left = np.arange(len(hashes))
        for slots in _slots(hashes):  # a word whose two slots are taken is learnt again whenever it comes
            left = left[self._hashes[slots[left]] == 0]
            self._hashes[slots[left]] = hashes[left]
            self._words[slots[left]] = (count + left).astype(np.int32)
            left = np.flatnonzero(self._hashes[slots] != hashes)
        self._count = until
        return True

    def _plain(
        self, codes: NDArray[np.uint32], begins: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which words are read as they are alone in a text of such words, too."""
        first = codes[begins]
        if self._kind == "bert":
            return ~np.isin(_classes()[first], (SPACE, MARK))
        after = np.minimum(begins + 1, len(codes) - 1)
        return np.asarray((first == 0x20) & (lengths > 1) & ~_spaces()[codes[after]])

    def _ask(self, words: list[str], lengths: NDArray[np.int64], together: int) -> Flat:
        """What the library says of the words; the first `together` of them it may read as one text."""
        parts = []
        for begin, end in ((0, together), (together, len(words))):
            for at in range(begin, end, _ASKED):
                some = slice(at, min(at + _ASKED, end))
                parts.append(self._say(words[some], lengths[some], together=end == together))
        ids, offsets, counts = zip(*parts, strict=True)
        return np.concatenate(ids), np.concatenate(offsets), np.concatenate(counts)

    def _say(self, words: list[str], lengths: NDArray[np.int64], *, together: bool) -> Flat:
        gap = " " if self._kind == "bert" else ""  # byte-level words bring their own
        texts = [gap.join(words)] if together else words
        encodings = self._inner.encode_batch(texts, add_special_tokens=False)
        ids = np.array([i for e in encodings for i in e.ids], np.int32)
        offsets = np.array([o for e in encodings for o in e.offsets], np.int32).reshape(-1, 2)
        if not together:
            return ids, offsets, np.fromiter(map(len, encodings), np.int64, len(encodings))
        ends = np.cumsum(lengths + len(gap))
        owner = np.searchsorted(ends, offsets[:, 0], "right")
        shift = (ends - lengths - len(gap))[owner]
        return ids, offsets - shift[:, None].astype(np.int32), np.bincount(owner, minlength=len(words))
