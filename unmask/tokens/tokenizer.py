"""Text to token ids and back, by a tokenizer that was loaded or trained.

The work is done by the `tokenizers` library, and `tokenizer.json` is the exchange format: what is saved here
opens in `transformers.AutoTokenizer`. Three things are added. The roles of the special tokens (pad, unk, cls,
sep, mask) are found and demanded. Words are found in the text (`corpus/words.py`) and laid over the tokens,
which is right for every script. And special tokens that occur as plain text in a document (`[MASK]`) stay
text, unless `specials=True` asks for them.

`train.py` trains new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from unmask.bounded import load_json, read_bounded
from unmask.corpus.words import ALONE, HAN, UNSPACED, classes, word_starts
from unmask.errors import UnmaskError
from unmask.tokens.characters import character_table, encode_characters
from unmask.tokens.known import LEAST, Known, known_cuts
from unmask.tokens.vet import LARGEST_TOKENIZER, no_panic, probe, vet

ROLES = ("pad", "unk", "cls", "sep", "mask")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # of the tokenizers trained here: ids 0 to 4
_NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<cls>"),
    "sep": ("[SEP]", "</s>", "<sep>"),
    "mask": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True)
class Vocab:
    """What a recipe needs to know of a tokenizer.

    `special` `[V]` bool: ids that are never text: the special tokens, `unk` too, and the fillers. `opens` `[V]`
    bool: the piece can open a word (no `##`; in byte-level and unigram vocabularies a piece with `Ġ` or `▁`, or
    one that needs no space before it, such as punctuation and Chinese characters).
    """

    size: int
    kind: str
    pad: int
    unk: int
    cls: int
    sep: int
    mask: int
    special: NDArray[np.bool_]  # [V]
    opens: NDArray[np.bool_]  # [V]


@dataclass(frozen=True)
class Encoded:
    """The tokens of one text, without special tokens around them."""

    ids: NDArray[np.int32]  # [n]
    offsets: NDArray[np.int32]  # [n, 2] characters of the original text, end exclusive
    text: str
    language: str

    @cached_property
    def word_starts(self) -> NDArray[np.bool_]:
        """The first token of every word: `[n]`. Worked out when it is asked for; most tasks never do."""
        return token_starts(word_starts(self.text, self.language), self.offsets)


class Tokenizer:
    """A `tokenizers.Tokenizer` with its special tokens known and its words found.

    Built by `load_tokenizer` and `train_tokenizer`; `Tokenizer(tokenizer_json, roles)` takes the text of a
    `tokenizer.json` and the names of the five roles. Raises `UnmaskError` when a role is missing.
    """

    def __init__(self, content: str, roles: dict[str, str] | None = None, language: str = "auto") -> None:
        inner = tokenizers.Tokenizer.from_str(content)
        inner.no_padding()
        inner.no_truncation()
        inner.encode_special_tokens = True  # "[MASK]" in a document is text
        self._inner = inner
        self.language = language
        self.roles = _find_roles(inner, roles or {})

    @cached_property
    def content(self) -> str:
        """The text of `tokenizer.json`."""
        return str(self._inner.to_str())

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with whatever changes the ids of a text."""
        parts = {key: value for key, value in json.loads(self.content).items() if key not in ("version",)}
        canonical = json.dumps([parts, self.roles], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @cached_property
    def vocab(self) -> Vocab:
        """Size, roles and the kinds of pieces."""
        data = json.loads(self.content)
        pieces: dict[str, int] = self._inner.get_vocab(with_added_tokens=True)
        size = max(pieces.values()) + 1
        special = np.zeros(size, np.bool_)
        opens = np.zeros(size, np.bool_)
        kind = _kind(data)
        marked = {token["id"] for token in data.get("added_tokens", []) if token.get("special")}
        special[np.setdiff1d(np.arange(size), np.fromiter(pieces.values(), np.int64))] = True
        for piece, id_ in pieces.items():
            special[id_] = id_ in marked or piece.startswith("[unused") or piece in self.roles.values()
            opens[id_] = not special[id_] and _opens(piece, kind)
        ids = {role: pieces[name] for role, name in self.roles.items()}
        return Vocab(size=size, kind=kind, **ids, special=special, opens=opens)

    @property
    def separators(self) -> int:
        """How many [SEP] stand between two texts: 2 with RoBERTa's own, else 1, also where the file does not say."""
        return max(1, self._inner.num_special_tokens_to_add(True) - 2)

    def probe(self) -> None:
        """Raises `UnmaskError` if a short text takes it long: it may be of strangers."""
        probe(self._inner)

    @cached_property
    def keeps_newlines(self) -> bool:
        """Whether a newline becomes a token (byte-level vocabularies) or is dropped as white space."""
        return "\n" in self.decode(self.encode("a\na").ids)

    @cached_property
    def _characters(self) -> NDArray[np.int32] | None:
        return character_table(json.loads(self.content))

    @cached_property
    def _known(self) -> Known | None:
        kind = known_cuts(json.loads(self.content))
        return Known(self._inner, kind) if kind else None

    def _holds_a_name(self, texts: Sequence[str]) -> bool:
        """Whether the name of a special token may stand in a text."""
        names = [token["content"].lower() for token in json.loads(self.content)["added_tokens"]]
        whole = "\n".join(texts).lower()
        return any(name in whole for name in names)

    @cached_property
    def _with_specials(self) -> tokenizers.Tokenizer:
        inner = tokenizers.Tokenizer.from_str(self.content)
        inner.encode_special_tokens = False
        return inner

    def encode(self, text: str, *, specials: bool = False) -> Encoded:
        """The tokens of a text; nothing is put around them. See `encode_batch`."""
        return self.encode_batch([text], specials=specials)[0]

    def encode_batch(self, texts: Sequence[str], *, specials: bool = False) -> list[Encoded]:
        """The tokens of many texts.

        With `specials`, names of special tokens in the text (`[MASK]`) become those tokens; without, they are
        ordinary text.
        """
        ids, offsets, counts = self.encode_flat(texts, specials=specials)
        ends = np.cumsum(counts)
        found = []
        for text, begin, end in zip(texts, ends - counts, ends, strict=True):
            found.append(Encoded(ids[begin:end], offsets[begin:end], text, self.language))
        return found

    @no_panic()
    def encode_flat(
        self, texts: Sequence[str], *, specials: bool = False
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """The tokens of many texts laid end to end: ids `[n]`, offsets `[n, 2]` within each text, counts `[texts]`."""
        if (
            self._characters is not None
            and not specials
            and (found := encode_characters(texts, self._characters))
        ):
            return found
        known = self._known
        if known is not None and sum(map(len, texts)) >= LEAST:
            plain = not specials or not self._holds_a_name(texts)
            if plain and (found := known.encode(list(texts))):
                return found
        inner = self._with_specials if specials else self._inner
        encodings = inner.encode_batch(list(texts), add_special_tokens=False)
        ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32)
        flat = chain.from_iterable(chain.from_iterable(e.offsets for e in encodings))
        offsets = np.fromiter(flat, np.int32, 2 * len(ids)).reshape(-1, 2)
        return ids, offsets, np.fromiter((len(e) for e in encodings), np.int64, len(encodings))

    @no_panic()
    def decode(self, ids: Iterable[int]) -> str:
        """The text of some tokens; special tokens are left out."""
        return str(self._inner.decode([int(i) for i in ids], skip_special_tokens=True))

    def token(self, id_: int) -> str:
        """The piece of an id. Raises `UnmaskError` for an id outside the vocabulary."""
        piece = self._inner.id_to_token(int(id_))
        if piece is None:
            raise UnmaskError(f"token id {id_} is not in the vocabulary of {self.vocab.size}")
        return str(piece)

    def id(self, token: str) -> int | None:
        """The id of a piece, or None."""
        found = self._inner.token_to_id(token)
        return None if found is None else int(found)

    def save(self, folder: Path, longest: int | None = None, segments: bool = True) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `transformers.AutoTokenizer` opens.

        `longest` is the longest row of the model (`model_max_length` there); `segments` says whether the model
        takes segment ids (`token_type_ids` there).
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self.content, encoding="utf-8")
        config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
        config |= {f"{role}_token": self.roles[role] for role in ROLES}
        config |= {"clean_up_tokenization_spaces": False}
        inputs = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
        config |= {"model_input_names": inputs}
        if longest is not None:
            config["model_max_length"] = longest
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def token_starts(starts: NDArray[np.bool_], offsets: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Lay the starts of words `[characters]` over tokens with `offsets` `[n, 2]`: `[n]` bool.

    A token opens a word if a word starts in the characters that it covers and the tokens before it do not. So of
    several pieces of one character only the first does, and white space that the tokenizer drops is no matter.
    """
    if not len(offsets):
        return np.zeros(0, np.bool_)
    before = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(starts, out=before[1:])
    covered = np.maximum.accumulate(offsets[:, 1])
    seen = before[covered]
    opened = np.empty(len(offsets), np.bool_)
    opened[0] = True
    opened[1:] = seen[1:] > seen[:-1]
    return opened


def load_tokenizer(path: Path, language: str = "auto") -> Tokenizer:
    """Open a `tokenizer.json`, or the folder that holds one.

    The names of the special tokens are read from `tokenizer_config.json` and `special_tokens_map.json` beside it,
    or known (`[MASK]`, `<mask>` …). Raises `UnmaskError` if the file is missing, is not a tokenizer, or lacks a
    special token.
    """
    path = Path(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise UnmaskError(f"{path} has no tokenizer — expected a tokenizer.json or the folder that holds one")
    try:
        content = read_bounded(file, "a tokenizer.json", LARGEST_TOKENIZER).decode("utf-8")
        vet(content)
        tokenizer = Tokenizer(content, _named_roles(file.parent), language)
        tokenizer.probe()
        return tokenizer
    except UnmaskError as error:
        raise UnmaskError(f"{file}: {error}") from None
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        raise UnmaskError(f"{file} is not a tokenizer.json of the tokenizers library: {error}") from error


def _named_roles(folder: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for file in (folder / "special_tokens_map.json", folder / "tokenizer_config.json"):
        if not file.is_file():
            continue
        data = load_json(file, "names of special tokens", "fetch it again")
        for role in ROLES:
            value = data.get(f"{role}_token") if isinstance(data, dict) else None
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                names[role] = value
    return names


def _find_roles(inner: tokenizers.Tokenizer, named: dict[str, str]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for role in ROLES:
        for name in (*([named[role]] if role in named else []), *_NAMES[role]):
            if inner.token_to_id(name) is not None:
                roles[role] = name
                break
    missing = [role for role in ROLES if role not in roles]
    if missing:
        tried = "; ".join(f"{role}: {' or '.join(_NAMES[role])}" for role in missing)
        raise UnmaskError(
            f"the tokenizer has no special token for {', '.join(missing)} — expected {tried} — choose a tokenizer"
            " of a BERT-like model, or name the tokens in tokenizer_config.json beside it"
        )
    return roles


def _kind(data: dict[str, Any]) -> str:
    kind = str(data["model"].get("type", "")).lower()
    return "characters" if kind == "wordlevel" else kind


def _opens(piece: str, kind: str) -> bool:
    if kind in ("wordpiece", "characters"):
        return not piece.startswith("##")
    if kind == "bpe":
        text = _bytes_to_text(piece)
        return piece[0] in "Ġ▁" or text[:1] in (" ", "\n", "�") or _stands_alone(text)
    return piece.startswith("▁") or _stands_alone(piece)


def _stands_alone(text: str) -> bool:
    return bool(text) and classes(text[0])[0] in (ALONE, HAN, UNSPACED)


@cache
def byte_letters() -> dict[str, int]:
    """The byte of every letter of the byte-level alphabet: printable ones themselves, others shifted to U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def _bytes_to_text(piece: str) -> str:
    """A piece of a byte-level vocabulary as it reads; others as they are."""
    codes = [byte_letters().get(character) for character in piece]
    if None in codes:
        return piece
    return bytes(code for code in codes if code is not None).decode("utf-8", "replace")
