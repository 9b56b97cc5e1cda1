"""Trains a tokenizer on a bounded, seeded sample of the text.

Four kinds. `wordpiece` is BERT's (Devlin et al. 2018; clean-up, CJK characters alone, punctuation alone, `##`),
`bpe` the byte-level one of GPT-2 and RoBERTa, `unigram` SentencePiece's language model (Kudo 2018) with
punctuation cut off, `characters` one token a character, white space dropped, as Chinese BERT reads Chinese.

Three things differ from the `tokenizers` trainers. The alphabet is counted here (it covers all but 1 in 10,000
characters) and handed over in a fixed order, because the library numbers `##` pieces in the order of a hash map:
the same text gives the same vocabulary in every process. Vocabularies are filled up to a multiple of 64 with
`[unused…]`, so that the embedding is exactly that large. And the names of the special tokens can never be found
in text, because their brackets stand alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from unmask.corpus.words import ALONE, HAN, classes
from unmask.errors import UnmaskError, nearest
from unmask.tokens.sample import Sample
from unmask.tokens.tokenizer import SPECIALS, Tokenizer
from unmask.tokens.vet import LONGEST_PIECE

KINDS = ("wordpiece", "bpe", "unigram", "characters")
SAMPLE_BYTES = 32_000_000
LONGEST_WORD = 1_000  # characters without white space between them that the trainers see at once
_LONG = re.compile(rf"\S{{{LONGEST_WORD}}}(?=\S)")
_COVERAGE = 0.9999
UNIGRAM_BYTES = 16_000_000  # its suffix array takes about 20 bytes a character


def train_tokenizer(
    texts: Iterable[str],
    kind: str,
    vocab_size: int,
    seed: int = 0,
    sample_bytes: int = SAMPLE_BYTES,
    lowercase: bool = False,
    language: str = "auto",
) -> Tokenizer:
    """Train a tokenizer of one of `KINDS`.

    `texts` is streamed once; past `sample_bytes` a uniform sample of lines is kept. `vocab_size` is rounded
    up to a multiple of 64; a text that cannot fill it gives the smallest multiple that holds what was found.
    Special tokens are `[PAD] [UNK] [CLS] [SEP] [MASK]`, ids 0 to 4. Raises `UnmaskError` for an unknown
    kind, a size too small, or no text.
    """
    check_kind(kind, vocab_size)
    sample = Sample(
        min(sample_bytes, UNIGRAM_BYTES) if kind == "unigram" else sample_bytes, seed, "tokenizer sample"
    )
    for text in texts:
        for line in text.split("\n"):
            sample.add(line)
    return train_on(sample.texts(), kind, vocab_size, lowercase, language)


def check_kind(kind: str, vocab_size: int) -> None:
    """Raise `UnmaskError` unless `train_tokenizer` takes this kind and size."""
    if kind not in KINDS:
        raise UnmaskError(
            f'unknown kind of tokenizer "{kind}" — expected {", ".join(KINDS)}.{nearest(kind, KINDS)}'
        )
    least = 512 if kind == "bpe" else 64
    if vocab_size < least:
        raise UnmaskError(f"vocab_size {vocab_size} is too small for {kind} — expected at least {least}")


def train_on(lines: list[str], kind: str, vocab_size: int, lowercase: bool, language: str) -> Tokenizer:
    """Train on exactly these lines; words beyond `LONGEST_WORD` come in parts."""
    if not any(line.strip() for line in lines):
        raise UnmaskError("there is no text to train a tokenizer on — expected at least one line with text")
    lines = _bound_words(lines)
    size = _round_up(vocab_size)
    normalizer = _normalizer(kind, lowercase)
    counts = _count_characters(normalizer, lines)
    if kind == "characters":
        alphabet = _alphabet(counts, size - len(SPECIALS), double=False)
        model: dict[str, Any] = {
            "type": "WordLevel",
            "vocab": {piece: i for i, piece in enumerate((*SPECIALS, *alphabet))},
            "unk_token": "[UNK]",
        }
    elif kind == "wordpiece":
        model = _train_wordpiece(lines, normalizer, counts, size)
    elif kind == "bpe":
        model = _train_bpe(lines, normalizer, size)
    else:
        model = _train_unigram(lines, normalizer, counts, size)
    _fill(model)
    whole = _assemble(kind, normalizer)
    data = json.loads(whole.to_str())
    data["model"] = model
    finished = tokenizers.Tokenizer.from_str(json.dumps(data, ensure_ascii=False))
    finished.add_special_tokens(list(SPECIALS))
    return Tokenizer(finished.to_str(), language=language)


def _bound_words(lines: list[str]) -> list[str]:
    """Lines broken where a run without white space is too long: the trainers' time grows with its square."""
    found: list[str] = []
    for line in lines:
        found += _LONG.sub(r"\g<0>\n", line).split("\n") if len(line) > LONGEST_WORD else [line]
    return found


def _normalizer(kind: str, lowercase: bool) -> normalizers.Normalizer:
    parts: list[normalizers.Normalizer] = [normalizers.NFC()]
    if kind == "wordpiece":
        parts.append(normalizers.BertNormalizer(lowercase=lowercase))
    elif lowercase:
        parts.append(normalizers.Lowercase())
    if kind == "unigram":
        parts.append(normalizers.Replace(tokenizers.Regex(r"\s+"), " "))
    return normalizers.Sequence(parts)


def _pre_tokenizer(kind: str) -> pre_tokenizers.PreTokenizer:
    if kind == "wordpiece":
        return pre_tokenizers.BertPreTokenizer()
    if kind == "bpe":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "unigram":
        cut = pre_tokenizers.Split(tokenizers.Regex(r"▁?\p{P}"), "isolated")
        return pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), cut])
    every = pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), every])


def _decoder(kind: str) -> decoders.Decoder:
    if kind == "wordpiece":
        return decoders.WordPiece()
    if kind == "bpe":
        return decoders.ByteLevel()
    return decoders.Metaspace() if kind == "unigram" else decoders.Fuse()


def _assemble(kind: str, normalizer: normalizers.Normalizer) -> tokenizers.Tokenizer:
    """Everything around the model."""
    whole = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    whole.normalizer = normalizer
    whole.pre_tokenizer = _pre_tokenizer(kind)
    whole.decoder = _decoder(kind)
    whole.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIALS.index("[CLS]")), ("[SEP]", SPECIALS.index("[SEP]"))],
    )
    return whole


def _count_characters(normalizer: normalizers.Normalizer, lines: list[str]) -> dict[str, int]:
    """How often each character occurs after normalisation, but for white space and controls."""
    total = np.zeros(0x110000, np.int64)
    for begin in range(0, len(lines), 4096):
        text = "".join(normalizer.normalize_str(line) for line in lines[begin : begin + 4096])
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        found, counts = np.unique(codes, return_counts=True)
        total[found] += counts
    characters = {chr(code): int(total[code]) for code in np.flatnonzero(total)}
    return {c: n for c, n in characters.items() if not c.isspace() and c.isprintable()}


def _alphabet(counts: dict[str, int], limit: int, double: bool) -> list[str]:
    """The most frequent characters, until all but 1 in 10,000 are covered or `limit` pieces are spent.

    With `double` a character that occurs inside of words costs two pieces, `c` and `##c`.
    """
    wanted = _COVERAGE * sum(counts.values())
    chosen: list[str] = []
    covered = spent = 0
    for character, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        spent += 2 if double and not _alone(character) else 1
        if covered >= wanted or spent > limit:
            break
        chosen.append(character)
        covered += count
    return chosen


def _alone(character: str) -> bool:
    return bool(classes(character)[0] in (ALONE, HAN))


def _train_wordpiece(
    lines: list[str], normalizer: normalizers.Normalizer, counts: dict[str, int], size: int
) -> dict[str, Any]:
    alphabet = sorted(_alphabet(counts, (size - len(SPECIALS)) * 3 // 4, double=True))
    inner = ["##" + character for character in alphabet if not _alone(character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*SPECIALS, *inner],  # numbered first, in this order
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    model = _run(models.WordPiece(unk_token="[UNK]"), trainer, "wordpiece", lines, normalizer)
    # This trainer knows no longest piece; BERT reads no word of more than a hundred characters anyway.
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    known = [piece for piece in pieces[:size] if len(piece) <= LONGEST_PIECE]
    model["vocab"] = {piece: id_ for id_, piece in enumerate(known)}
    return model


def _train_bpe(lines: list[str], normalizer: normalizers.Normalizer, size: int) -> dict[str, Any]:
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST_PIECE,
        show_progress=False,
    )
    return _run(models.BPE(), trainer, "bpe", lines, normalizer)


class _Known(dict[int, str]):
    """For `str.translate`: a space for every character outside an alphabet, unseen and unassigned ones too.

    The library takes all characters of its text into the vocabulary, or gives up.
    """

    def __init__(self, alphabet: set[str]) -> None:
        super().__init__({ord(character): character for character in alphabet})

    def __missing__(self, code: int) -> str:
        self[code] = chr(code) if chr(code).isspace() else " "
        return self[code]


def _train_unigram(
    lines: list[str], normalizer: normalizers.Normalizer, counts: dict[str, int], size: int
) -> dict[str, Any]:
    alphabet = set(_alphabet(counts, (size - len(SPECIALS)) * 3 // 4, double=False))
    known = _Known(alphabet)
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=list(SPECIALS), unk_token="[UNK]", show_progress=False
    )
    plain = [normalizer.normalize_str(line).translate(known) for line in lines]
    model = _run(models.Unigram(), trainer, "unigram", plain, normalizer)
    scores = {piece: score for piece, score in model["vocab"] if piece not in SPECIALS}
    ordered = sorted(_settled(scores).items(), key=lambda entry: (-entry[1], entry[0]))
    lowest = ordered[-1][1] if ordered else 0.0
    model["vocab"] = [[name, lowest] for name in SPECIALS] + [[piece, score] for piece, score in ordered]
    model["unk_id"] = SPECIALS.index("[UNK]")
    return model


def _settled(scores: dict[str, float]) -> dict[str, float]:
    """The same scores in every process.

    The library's sums of floats depend on the order of a hash map in the last digits: rounding takes that away.
    And characters that no piece of its own earned get the lowest score plus 0, 0.0001, 0.0002 … in that order:
    they are given these scores again, in the order of their code points.
    """
    rounded = {piece: round(score, 4) for piece, score in scores.items()}
    lowest = min(rounded.values(), default=0.0)
    bound = lowest + 0.0001 * len(rounded)
    tail = sorted(piece for piece, score in rounded.items() if len(piece) == 1 and score <= bound)
    given = sorted(rounded[piece] for piece in tail)
    return rounded | dict(zip(tail, given, strict=True))


def _run(
    model: Any, trainer: Any, kind: str, lines: list[str], normalizer: normalizers.Normalizer
) -> dict[str, Any]:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = _pre_tokenizer(kind)
    tokenizer.train_from_iterator(lines, trainer)
    trained: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return trained


def _fill(model: dict[str, Any]) -> None:
    """Add `[unused…]` pieces up to the next multiple of 64; no text ever becomes one."""
    vocab = model["vocab"]
    for number in range(_round_up(len(vocab)) - len(vocab)):
        name = f"[unused{number}]"
        if isinstance(vocab, list):
            vocab.append([name, vocab[-1][1]])
        else:
            vocab[name] = len(vocab)


def _round_up(size: int) -> int:
    return -(-size // 64) * 64
