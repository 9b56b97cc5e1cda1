"""The sentences of the viewer: lines with a mask, or the blanks that the run itself was asked."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError
from unmask.tasks.read import read_text
from unmask.yardstick.embryo.bodies import Body

MOST = 20
MASKS = re.compile(r"\[MASK\]|<mask>")


def sentences_of(body: Body, path: Path | None) -> list[str]:
    """Texts with the tokenizer's mask in them. Raises UnmaskError, with the line, where one has none or is too long."""
    tokenizer = body.source.tokenizer
    mask = tokenizer.token(tokenizer.vocab.mask)
    if path is None:
        known = body.run.evaluations().get("fills", [])
        lines = [(0, str(item["text"])) for item in known if isinstance(item, dict) and item.get("text")]
    else:
        lines = [(n, row.strip()) for n, row in enumerate(read_text(path).split("\n"), 1) if row.strip()]
        if len(lines) > MOST:
            raise UnmaskError(
                f"{path} has {len(lines)} sentences — at most {MOST} are shown — leave some out"
            )
    found = []
    for line, text in lines:
        text = MASKS.sub(lambda _: mask, text)
        ids, _ = body.source.frame.row(tokenizer.encode(text, specials=True).ids)
        good = len(ids) <= body.shape.positions and bool(np.any(ids == tokenizer.vocab.mask))
        if not good and path is not None:
            raise UnmaskError(
                f'{path}, line {line}: "{text[:60]}" has no {mask}, or more than {body.shape.positions - 2} pieces — '
                "expected a sentence with a mask — mend or remove it"
            )
        if good:
            found.append(text)
    return found
