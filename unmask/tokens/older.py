"""Tokenizers in the older files of a model folder: `vocab.txt`, or `vocab.json` with `merges.txt`.

Before `tokenizer.json` a BERT had a list of pieces and a setting for case, and a RoBERTa its pieces and merges. Both
say all that is needed (Devlin et al. 2019, the released code's BasicTokenizer and WordpieceTokenizer; Radford et al.
2019 for byte-level pairs), so `unmask import` makes the newer file of them. A SentencePiece model (`spiece.model`)
is not read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, BertWordPieceTokenizer, ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing

from unmask.errors import UnmaskError


def older_tokenizer(folder: Path) -> str | None:
    """The text of a `tokenizer.json` made from a folder's older files; None where it holds none of them.

    Raises `UnmaskError` for files that cannot be read as such.
    """
    settings = _settings(folder / "tokenizer_config.json")
    try:
        if (folder / "vocab.txt").is_file():
            return _wordpiece(folder / "vocab.txt", settings)
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return _byte_pairs(folder, settings)
    except UnmaskError:
        raise
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        raise UnmaskError(
            f"the vocabulary in {folder} cannot be read ({error}) — expected vocab.txt, or vocab.json and merges.txt — "
            "fetch it again"
        ) from error
    return None


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnmaskError(f"{path} is not JSON ({error}) — an object was expected — fetch it again") from None
    return found if isinstance(found, dict) else {}


def _wordpiece(path: Path, settings: dict[str, Any]) -> str:
    pieces = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    vocab = {piece.removesuffix("\r"): number for number, piece in enumerate(pieces)}
    if "[UNK]" not in vocab:
        raise UnmaskError(f"{path} has no [UNK] — expected the pieces of a BERT, one a line — fetch it again")
    lower = bool(settings.get("do_lower_case", True))
    accents = settings.get("strip_accents")
    made = BertWordPieceTokenizer(
        vocab,
        lowercase=lower,
        strip_accents=accents if isinstance(accents, bool) else None,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
    )
    return str(made.to_str())


def _byte_pairs(folder: Path, settings: dict[str, Any]) -> str:
    space = bool(settings.get("add_prefix_space", False))
    made = ByteLevelBPETokenizer.from_file(
        str(folder / "vocab.json"), str(folder / "merges.txt"), add_prefix_space=space, trim_offsets=True
    )
    names = [name for name in ("<s>", "<pad>", "</s>", "<unk>") if made.token_to_id(name) is not None]
    made.add_special_tokens(names)
    if made.token_to_id("<mask>") is not None:  # takes the space before it along, as a word does
        made.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    ends = {name: made.token_to_id(name) for name in ("</s>", "<s>")}
    if None not in ends.values():
        made._tokenizer.post_processor = RobertaProcessing(
            ("</s>", ends["</s>"]), ("<s>", ends["<s>"]), add_prefix_space=space
        )
    return str(made.to_str())
