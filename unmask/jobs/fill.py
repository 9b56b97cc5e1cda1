"""Masks in a text, and the pieces that a pre-trained model would put there."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from unmask.errors import UnmaskError
from unmask.jobs.source import open_source
from unmask.models.heads import TokensHead

Guess = tuple[str, float]  # a piece, and its probability


class Filler:
    """A pre-trained model, loaded once. `run` is a run of `pretrain` or a model folder."""

    def __init__(self, run: Path) -> None:
        self._source = open_source(Path(run))
        loaded = self._source.loaded
        own = {k.removeprefix("tokens."): v for k, v in loaded.state.items() if k.startswith("tokens.")}
        if not own:
            raise UnmaskError(
                f"{self._source.folder} holds no masked-LM head — expected a pre-trained model, not a fine-tuned one — "
                "give the run it started from"
            )
        self._encoder = loaded.encoder().eval()
        self._head = TokensHead(self._encoder, dense="norm.weight" in own).eval()
        self._head.load_state_dict(own)

    def fill(self, text: str, *, top: int = 5) -> list[list[Guess]]:
        """For every [MASK] or <mask> in the text, the `top` likeliest pieces with probabilities, likeliest first.

        Several masks are asked at once, each without knowing what fills the others. Raises `UnmaskError` if the text
        has no mask or is longer than the model.
        """
        if top < 1:
            raise UnmaskError(f"top is {top} — at least 1 guess a mask is needed — give more")
        tokenizer, vocab, shape = (
            self._source.tokenizer,
            self._source.tokenizer.vocab,
            self._source.loaded.shape,
        )
        mask = tokenizer.token(vocab.mask)
        text = re.sub(r"\[MASK\]|<mask>", lambda _: mask, text)
        ids, _ = self._source.frame.row(tokenizer.encode(text, specials=True).ids)
        asked = torch.from_numpy(ids).eq(vocab.mask).nonzero()[:, 0]
        if not len(asked):
            raise UnmaskError(
                f'"{text[:60]}" has no mask — expected {mask} where a word is wanted — write one there'
            )
        if len(ids) > shape.positions:
            raise UnmaskError(
                f"{len(ids)} tokens — the model reads {shape.positions} at once — shorten the text"
            )
        with torch.no_grad():
            states = self._encoder(torch.from_numpy(ids), torch.tensor([len(ids)]), keep=asked)
            shares = self._head(states).softmax(-1)  # [masks, V]
        shares[:, : vocab.size][:, torch.from_numpy(vocab.special)] = 0.0  # never text
        found = shares[:, : vocab.size].topk(min(top, vocab.size))
        return [
            [(tokenizer.token(i), float(p)) for i, p in zip(ids_, ps, strict=True)]
            for ids_, ps in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]


def fill(run: Path, text: str, *, top: int = 5) -> list[list[Guess]]:
    """What a model puts in the place of every mask of one text; see `Filler`, which answers many."""
    return Filler(run).fill(text, top=top)
