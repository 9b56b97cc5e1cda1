"""Masks in a text, and the pieces that a pre-trained model would put there."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from unmask.errors import UnmaskError
from unmask.jobs.adapt import frame_of, model_folder
from unmask.models.heads import TokensHead
from unmask.models.weights import load_pretrained

Guess = tuple[str, float]  # a piece, and its probability


def fill(run: Path, text: str, *, top: int = 5) -> list[list[Guess]]:
    """For every [MASK] or <mask> in the text, the `top` likeliest pieces with probabilities, likeliest first.

    `run` is a run of `pretrain` or a model folder. Several masks are asked at once, each without knowing what
    fills the others. Raises `UnmaskError` if the text has no mask, is longer than the model, or the model has no
    masked-LM head.
    """
    source = model_folder(Path(run))
    loaded = load_pretrained(source)
    if loaded.tokenizer is None or not any(name.startswith("tokens.") for name in loaded.state):
        raise UnmaskError(
            f"{source} holds no masked-LM head or no tokenizer — expected a pre-trained model, not a fine-tuned one"
        )
    tokenizer, vocab = loaded.tokenizer, loaded.tokenizer.vocab
    mask = tokenizer.token(vocab.mask)
    text = re.sub(r"\[MASK\]|<mask>", lambda _: mask, text)
    ids, _ = frame_of(vocab, loaded.shape, loaded.family).row(tokenizer.encode(text, specials=True).ids)
    asked = torch.from_numpy(ids).eq(vocab.mask).nonzero()[:, 0]
    if not len(asked):
        raise UnmaskError(f'"{text[:60]}" has no mask — expected {mask} where a word is wanted')
    if len(ids) > loaded.shape.positions:
        raise UnmaskError(
            f"{len(ids)} tokens — the model reads {loaded.shape.positions} at once — shorten the text"
        )
    encoder = loaded.encoder().eval()
    head = TokensHead(encoder, dense="tokens.dense.weight" in loaded.state).eval()
    own = {k.removeprefix("tokens."): v for k, v in loaded.state.items() if k.startswith("tokens.")}
    head.load_state_dict(own)
    with torch.no_grad():
        states = encoder(torch.from_numpy(ids), torch.tensor([len(ids)]), keep=asked)
        shares = head(states).softmax(-1)  # [masks, V]
    shares[:, : vocab.size][:, torch.from_numpy(vocab.special)] = 0.0  # never text
    found = shares[:, : vocab.size].topk(min(top, vocab.size))
    return [
        [(tokenizer.token(i), float(p)) for i, p in zip(ids_, ps, strict=True)]
        for ids_, ps in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]
