"""``unmask corpus TEXT…``: text becomes a corpus folder, ready to be read by any recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def corpus(
    inputs: Annotated[list[str], Parameter(help="files, folders or - for standard input")],
    /,
    *,
    out: Annotated[Path, Parameter(help="the corpus folder to make")] = Path("corpus"),
    tokenizer: Annotated[
        str, Parameter(help="wordpiece, bpe, unigram, characters, or a folder with one that exists")
    ] = "wordpiece",
    vocab_size: Annotated[int, Parameter(help="tokens of a new tokenizer")] = 8192,
) -> None:
    """Make a corpus folder of text: clean, tokenize, store.

    The ledger says what became of every piece of the text.

    Example: unmask corpus texts/ --out corpus --tokenizer wordpiece --vocab-size 8192
    """
    from unmask.store.build import build

    store = build(list(inputs), out, tokenizer=tokenizer, vocab_size=vocab_size)
    print(f"{out}: {store.documents:,} documents, {store.tokens:,} tokens")
