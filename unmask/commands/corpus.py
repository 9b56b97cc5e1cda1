"""``unmask corpus TEXT…``: text becomes a corpus folder, ready to be read by any recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unmask.commands.watch import Watch

OPTIONS = (
    "--out --tokenizer --vocab-size --lowercase --language --layout --column --exclude --no-deduplicate "
    "--repeated-line-bytes --heldout --seed --processes"
).split()


def corpus(
    inputs: Annotated[
        list[str],
        Parameter(
            help="files, folders, globs, hf://name, or - for standard input", allow_leading_hyphen=True
        ),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="the corpus folder to make; a stopped build goes on")] = Path(
        "corpus"
    ),
    tokenizer: Annotated[
        str,
        Parameter(help="wordpiece, bpe, unigram or characters to train one, or the path of a tokenizer.json"),
    ] = "wordpiece",
    vocab_size: Annotated[
        int, Parameter(help="pieces of a new tokenizer, rounded up to a multiple of 64")
    ] = 8192,
    lowercase: Annotated[bool, Parameter(help="a new tokenizer ignores case", negative="")] = False,
    language: Annotated[
        str, Parameter(help="for sentences and words, such as en or zh; auto looks")
    ] = "auto",
    layout: Annotated[
        str, Parameter(help="a document of a .txt is: file, blank (up to a blank line), line, or auto")
    ] = "auto",
    column: Annotated[str, Parameter(help="the column with the text, where there are columns")] = "text",
    exclude: Annotated[
        list[Path] | None,
        Parameter(help="files of texts that must not be in the corpus, such as test rows", negative=""),
    ] = None,
    deduplicate: Annotated[bool, Parameter(help="drop exact duplicates of documents and long lines")] = True,
    repeated_line_bytes: Annotated[int, Parameter(help="length from which a repeated line is dropped")] = 100,
    heldout: Annotated[float, Parameter(help="share of the documents that training never sees")] = 0.01,
    seed: Annotated[int, Parameter(help="of the held-out documents and the tokenizer's sample")] = 0,
    processes: Annotated[int | None, Parameter(help="worker processes; all processors if not given")] = None,
) -> None:
    """Make a corpus folder of text: clean, tokenize, store.

    The ledger says what became of every piece of the text.

    Example: unmask corpus texts/ --out corpus --tokenizer wordpiece --vocab-size 8192
    """
    from unmask.errors import UnmaskError, nearest
    from unmask.store.build import build

    for word in inputs:  # a hyphen alone is a name, so the parser leaves words with more of them to us
        if word.startswith("-") and word != "-":
            raise UnmaskError(
                f"Unknown option: {word}.{nearest(word, OPTIONS)} `unmask corpus --help` shows all."
            )

    with Watch() as watch:
        store = build(
            inputs,
            out,
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            lowercase=lowercase,
            language=language,
            layout=layout,
            column=column,
            exclude=exclude or (),
            deduplicate=deduplicate,
            repeated_line_bytes=repeated_line_bytes,
            heldout=heldout,
            seed=seed,
            processes=processes,
            say=watch.say,
        )
        watch.say(f"{out} is made; try: unmask pretrain modern {out} --budget 30m")
    print(
        f"{out}: {store.documents:,} documents, {store.tokens:,} tokens to train on; fingerprint {store.fingerprint}"
    )
