"""A `tokenizer.json` of strangers, looked through before the library builds it.

It is a program: rules that replace text by longer text (twenty of them make a million characters of one), regular
expressions that may run for ever, a limit on the length of words that bounds the quadratic work of WordPiece,
ids that decide how large a table is. What is asked for here holds for the tokenizers of all families that can be
loaded: it keeps the work of a text proportional to its length.

What it cannot hold: a regular expression that is slow on a text made for it alone. Nested repetitions are refused,
the usual traps are tried on a few hundred characters, and where the library gives up on a text, that is an error.
"""

from __future__ import annotations

import base64
import math
import re
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tokenizers

from unmask.bounded import BadJson, parse_json
from unmask.errors import UnmaskError

LARGEST_TOKENIZER = 40 * 1024 * 1024  # bytes of tokenizer.json; the largest in use have 30
LONGEST_PIECE = 256  # characters
LONGEST_WORD = 256  # characters of a word that WordPiece works on; BERT has 100
GROWTH = 64  # times that a text may become longer by the rules of its normalisation
_COMPONENTS = 100
_PROBE_SECONDS = 0.5
# A group with a repetition in it that is repeated itself: (a+)+, (?:a|b*)*, ([ab]{2,})+
_NESTED = re.compile(r"[+*}]\??\+?\|?[^()]*\)(?:[+*]|\{\d*,\d*\})")


def vet(content: str) -> None:
    """Raise `UnmaskError` for a `tokenizer.json` whose work could grow beyond all bounds, or that is none."""
    try:
        data = parse_json(content, density=0.35)
    except BadJson as error:
        raise UnmaskError(f"it is not JSON ({error}) — a tokenizer was expected — fetch it again") from None
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise UnmaskError(
            "it holds no model — a tokenizer of the tokenizers library was expected — fetch it again"
        )
    _vet_pieces(data)
    seen: list[dict[str, Any]] = []
    for name in ("normalizer", "pre_tokenizer", "decoder"):
        growth = _growth(data.get(name), seen)
        if growth > GROWTH:
            raise UnmaskError(
                f"its {name} may make a text {growth:.3g} times as long — at most {GROWTH} was expected — do not"
                " trust it"
            )
    if len(seen) > _COMPONENTS:
        raise UnmaskError(f"it has {len(seen)} rules — at most {_COMPONENTS} were expected — do not trust it")


def probe(inner: tokenizers.Tokenizer) -> None:
    """Raise `UnmaskError` for a tokenizer that is slow, or fails, on runs of a character."""
    began = time.thread_time()  # its own work, not that of a busy machine
    for length in (25, 50, 100, 200):
        for run in ("a", "A", "1", " ", "\n", ".", "é", "中", "a ", "a1", "a.", "ab"):
            with no_panic():
                inner.encode(run * length + "!", add_special_tokens=False)
            if time.thread_time() - began > _PROBE_SECONDS:
                raise UnmaskError(
                    f'it takes more than {_PROBE_SECONDS} s for {length} times "{run!r}" — its regular expressions run'
                    " for ever — do not trust it"
                )


@contextmanager
def no_panic() -> Iterator[None]:
    """Turn a panic of the library, which is no Exception, into an `UnmaskError`."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise UnmaskError(
            f"the tokenizer gave up on a text ({error!s:.100}) — one that reads any text was expected — choose another"
        ) from None


def _vet_pieces(data: dict[str, Any]) -> None:
    model = data["model"]
    longest = model.get("max_input_chars_per_word", 100)
    if not isinstance(longest, int) or not 0 < longest <= LONGEST_WORD:
        raise UnmaskError(
            f"max_input_chars_per_word is {longest!r:.40} — 1 to {LONGEST_WORD} was expected (BERT has 100), since the"
            " work grows with its cube — set it to 100"
        )
    vocab = model.get("vocab")
    pieces: list[Any] = []
    ids: list[Any] = []
    if isinstance(vocab, dict):
        pieces, ids = list(vocab), list(vocab.values())
    elif isinstance(vocab, list):
        pieces = [entry[0] if isinstance(entry, list) and entry else entry for entry in vocab]
        ids = list(range(len(vocab)))
    for token in data.get("added_tokens") or []:
        if not isinstance(token, dict):
            raise UnmaskError("an added token is no object — fetch it again")
        pieces.append(token.get("content"))
        ids.append(token.get("id"))
    if not pieces:
        raise UnmaskError("it has no vocabulary — pieces with ids were expected — fetch it again")
    for piece in pieces:
        if not isinstance(piece, str) or not piece or len(piece) > LONGEST_PIECE:
            raise UnmaskError(
                f"a piece is {piece!r:.60} — a text of 1 to {LONGEST_PIECE} characters was expected — fetch it again"
            )
    most = 2 * len(pieces) + 1024  # a few ids may be free
    for id_ in ids:
        if type(id_) is not int or not 0 <= id_ < most:
            raise UnmaskError(
                f"an id is {id_!r:.40} — 0 to {most - 1:,} was expected for {len(pieces):,} pieces — fetch it again"
            )


def _growth(rule: Any, seen: list[dict[str, Any]], depth: int = 0) -> float:
    """How many times as long a text may become."""
    if rule is None:
        return 1.0
    if not isinstance(rule, dict) or depth > 16:
        raise UnmaskError("a rule is no object, or nested too deep — fetch it again")
    seen.append(rule)
    kind, growth = rule.get("type"), 1.0
    for key in ("normalizers", "pretokenizers", "decoders"):
        parts = rule.get(key) or []
        if not isinstance(parts, list):
            raise UnmaskError(f"{key} is no list — fetch it again")
        growth *= math.prod(_growth(part, seen, depth + 1) for part in parts)
    pattern = rule.get("pattern")
    pattern = pattern if isinstance(pattern, dict) else {"String": pattern}
    expression = pattern.get("Regex")
    if isinstance(expression, str) and (len(expression) > 4096 or _NESTED.search(expression)):
        raise UnmaskError(
            f"the regular expression {expression!r:.80} repeats a repetition — it may run for ever — do not trust it"
        )
    if kind == "Replace":
        text, content = pattern.get("String"), rule.get("content")
        found = len(text) if isinstance(text, str) else 1 if isinstance(expression, str) and expression else 0
        if not found or not isinstance(content, str):
            raise UnmaskError(
                "it replaces nothing, everywhere — a text to replace was expected — do not trust it"
            )
        growth *= max(1.0, len(content) / found)
    if kind == "Prepend" and len(str(rule.get("prepend", ""))) > GROWTH:
        raise UnmaskError("it puts a long text before every text — do not trust it")
    if kind == "Precompiled":
        growth *= _longest_target(rule.get("precompiled_charsmap"))
    return growth


def _longest_target(charsmap: Any) -> float:
    """The longest text that SentencePiece's table puts in the place of a character, in characters of 3 bytes.

    Format: a 32-bit length, so many bytes of a trie, then texts with a zero byte behind each.
    """
    try:
        raw = base64.b64decode(charsmap or "", validate=True)
        begin = 4 + struct.unpack("<I", raw[:4])[0] if raw else 0
        if begin > len(raw):
            raise ValueError("a trie beyond its end")
    except (TypeError, ValueError, struct.error):
        raise UnmaskError("its precompiled_charsmap is damaged — fetch it again") from None
    return max(1.0, max(map(len, raw[begin:].split(b"\0"))) / 3)
