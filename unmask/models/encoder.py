"""The encoder: embeddings, layers, perhaps a last norm; one module for four families.

Source: BERT (Devlin et al. 2019, section 3), and for the other families the differences that `Shape` names.
It differs from the originals in what is computed, never in the result: rows lie end to end without padding,
queries, keys and values are one product, and the last layer works only on the positions that are asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.batch import Alike, Layout, layout
from unmask.errors import UnmaskError
from unmask.models import Shape
from unmask.models.attention import angles, attend, attend_from, attend_states, few, rotate
from unmask.models.layers import (
    ACTIVATIONS,
    added,
    affine,
    drop,
    filler,
    lengthen,
    look_up,
    pick,
    shorten,
    start_small,
)


class Layer(nn.Module):
    """Attention and feed-forward, each with its addition and norm (after it, or before it)."""

    def __init__(self, shape: Shape, first: bool = False) -> None:
        super().__init__()
        width, bias = shape.width, shape.bias
        self.shape = shape
        self.attention_norm = (
            nn.LayerNorm(width, shape.eps, bias=bias) if not (first and shape.norm == "pre") else None
        )
        self.qkv = nn.Linear(width, 3 * width, bias)
        self.out = nn.Linear(width, width, bias)
        self.inner_norm = nn.LayerNorm(width, shape.eps, bias=bias)
        self.up = nn.Linear(width, shape.inner * (2 if shape.gate else 1), bias)
        self.down = nn.Linear(shape.inner, width, bias)

    def forward(
        self,
        x: Tensor,
        lay: Layout,
        turn: tuple[Tensor, Tensor] | None,
        window: int,
        keep: Tensor | None,
        dropout: float,
        alike: Alike | None = None,
    ) -> Tensor:
        """[N, H] -> [N, H], or for the tokens in keep [P, H] and their `filler`; where some of x are `alike`, once."""
        pre = self.shape.norm == "pre"
        y = self.attention_norm(x) if pre and self.attention_norm is not None else x
        if keep is None:
            y = self._attend(y, lay, turn, window, dropout, alike)
        else:
            y = self._attend_from(y, lay, turn, window, keep, dropout)
            x = pick(x, keep)
            x = lengthen(x, filler(x))
        x = added(x, y, self.out.weight, self.out.bias, dropout)
        if not pre and self.attention_norm is not None:
            x = self.attention_norm(x)
        y, activation = self.inner_norm(x) if pre else x, self.shape.activation
        if self.shape.gate:
            left, right = affine(y, self.up.weight, self.up.bias).chunk(2, -1)
            y = ACTIVATIONS[activation](left) * right
        else:
            y = affine(y, self.up.weight, self.up.bias, activation)
        x = added(x, y, self.down.weight, self.down.bias, dropout)
        return x if pre else self.inner_norm(x)

    def _attend(
        self,
        x: Tensor,
        lay: Layout,
        turn: tuple[Tensor, Tensor] | None,
        window: int,
        dropout: float,
        alike: Alike | None,
    ) -> Tensor:
        heads = self.shape.heads
        if alike is None:
            qkv = shorten(affine(x, self.qkv.weight, self.qkv.bias), lay.tokens)
        else:
            some = x[alike.first]
            qkv = affine(lengthen(some, filler(some)), self.qkv.weight, self.qkv.bias)
            qkv = qkv.index_select(0, alike.which)
        qkv = qkv.view(lay.tokens, 3, -1)
        if turn is not None:
            qkv = rotate(qkv, turn, heads, turned=2)
        return lengthen(attend(qkv, heads, lay, window, dropout), len(x) - lay.tokens)

    def _attend_from(
        self,
        x: Tensor,
        lay: Layout,
        turn: tuple[Tensor, Tensor] | None,
        window: int,
        keep: Tensor,
        dropout: float,
    ) -> Tensor:
        heads, width = self.shape.heads, self.shape.width
        weight, bias = self.qkv.weight, self.qkv.bias
        q = pick(x, keep)
        more = filler(q)
        q = affine(lengthen(q, more), weight[:width], None if bias is None else bias[:width])
        able = turn is None and not dropout and not torch.is_grad_enabled() and not x.is_cuda
        asked = lay.ask(keep) if able else None
        if asked is not None and few(asked, keep, lay, heads, width):
            key, value = weight[width:].view(2, heads, -1, width)
            y = attend_states(q, x[: lay.tokens], key, value, lay, window, asked)
            return y if bias is None else y + bias[2 * width :]
        q = shorten(q, len(keep))
        kv = affine(x, weight[width:], None if bias is None else bias[width:])
        kv = shorten(kv, lay.tokens).view(lay.tokens, 2, -1)
        if turn is not None:
            cos, sin = turn
            q = rotate(q[:, None], (cos[keep], sin[keep]), heads, turned=1)[:, 0]
            kv = rotate(kv, turn, heads, turned=1)
        return lengthen(attend_from(q, kv, heads, lay, window, keep, dropout, asked), more)


def mixed(first: Tensor, last: Tensor) -> Tensor:
    """The mean of the embeddings' and the last layer's states, each normed without weights: [..., H] twice -> [..., H].

    The last layer is made for guessing tokens, and what a token itself is lies deep in it: a head that sums up a row
    learns slowly from it alone (docs/log.md). The sum over layers of ELMo (Peters et al. 2018, section 3.2), its
    weights fixed and the middle left out.
    """
    width = first.shape[-1:]
    return 0.5 * (F.layer_norm(first, width) + F.layer_norm(last, width))


_drawn = ContextVar("drawn", default=True)


@contextmanager
def undrawn() -> Iterator[None]:
    """Encoders made within hold memory that nothing was written to: for weights that are loaded next, every one.

    Drawing 110 M numbers takes seconds, which nobody needs who loads as many.
    """
    token = _drawn.set(False)
    try:
        yield
    finally:
        _drawn.reset(token)


class Encoder(nn.Module):
    """Tokens to states, for rows that lie end to end.

    `dropout` acts while training on embeddings, attention probabilities and both additions, as in BERT; at 0
    (the start) no dropout is computed at all.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = 0.0
        self._angles: dict[tuple[float, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
        if _drawn.get():
            self._build(shape)
            self._draw(shape)
        else:
            with torch.device("meta"):
                self._build(shape)
            self.to_empty(device=torch.get_default_device())

    def _build(self, shape: Shape) -> None:
        width = shape.table_width
        self.tokens = nn.Embedding(shape.vocab, width)
        self.places = None if shape.rotary else nn.Embedding(shape.positions + shape.offset, width)
        self.segments = nn.Embedding(shape.segments, width) if shape.segments else None
        self.norm = nn.LayerNorm(width, shape.eps, bias=shape.bias)
        self.lift = nn.Linear(width, shape.width) if shape.embedding else None
        self.layers = nn.ModuleList(
            Layer(shape, first=i == 0) for i in range(1 if shape.shared else shape.layers)
        )
        self.last_norm = (
            nn.LayerNorm(shape.width, shape.eps, bias=shape.bias) if shape.norm == "pre" else None
        )

    def _draw(self, shape: Shape) -> None:
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                start_small(part)
        if shape.norm == "pre":  # what enters the sum of 2L additions starts smaller (ModernBERT, appendix)
            for layer in self.layers:
                assert isinstance(layer, Layer)
                start_small(layer.out, 0.02 / (2 * shape.layers) ** 0.5)
                start_small(layer.down, 0.02 / (2 * shape.layers) ** 0.5)

    def forward(
        self,
        ids: Tensor,
        lengths: Tensor | Layout,
        segments: Tensor | None = None,
        keep: Tensor | None = None,
        *,
        mix: bool = False,
        alike: Alike | None = None,
    ) -> Tensor:
        """States of all tokens, or of those in keep.

        ids [N] int64; lengths [R] int64 on the host, or their `Layout`; segments [N] or None for zeros; keep
        [P] sorted token indices -> [N, H] or [P, H]. With `mix` what `mixed` makes of the embeddings and the last
        layer, of all tokens. `alike` saves the first layer work, without dropout. Raises `UnmaskError` for rows
        longer than `shape.positions`.
        """
        lay = lengths if isinstance(lengths, Layout) else layout(lengths, ids.device)
        if lay.tokens != len(ids):
            raise UnmaskError(
                f"{len(ids)} ids for rows of {lay.tokens} tokens — expected as many — mend the lengths."
            )
        if lay.longest > self.shape.positions:
            raise UnmaskError(
                f"a row of {lay.longest} tokens — the model has {self.shape.positions} positions — cut the rows or "
                "train with longer ones."
            )
        dropout = self.dropout if self.training else 0.0
        assert alike is None or not dropout
        x = self._embed(ids, lay, segments, dropout)
        x = lengthen(x, filler(x))
        first = x
        turns = self._turns(lay, x) if self.shape.rotary else (None, None)
        shape, last = self.shape, self.shape.layers - 1
        for i in range(shape.layers):
            local = shape.local(i)
            layer = self.layers[0 if shape.shared else i]
            asked = keep if i == last else None
            same = alike if i == 0 else None
            x = layer(x, lay, turns[local], shape.window if local else 0, asked, dropout, same)
        if mix:
            return mixed(first[: lay.tokens], x[: lay.tokens])
        x = shorten(x, lay.tokens if keep is None else len(keep))
        return x if self.last_norm is None else self.last_norm(x)

    def _embed(self, ids: Tensor, lay: Layout, segments: Tensor | None, dropout: float) -> Tensor:
        x = look_up(self.tokens.weight, ids)  # [N, E]
        if self.places is not None:
            table = self.places.weight
            if lay.even:  # a broadcast: its gradient is a sum, not a scatter
                x = (
                    x.view(-1, lay.longest, x.shape[-1]) + table[self.shape.offset :][: lay.longest]
                ).view_as(x)
            else:
                x = x + look_up(table, lay.positions + self.shape.offset)
        if self.segments is not None:
            table = self.segments.weight
            x = x + (table[0] if segments is None or len(table) == 1 else look_up(table, segments))
        x = drop(self.norm(x), dropout)
        return x if self.lift is None else self.lift(x)

    def _turns(self, lay: Layout, x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Cosines and sines at every token's place, for global and for local layers."""
        assert self.shape.rotary is not None
        turns = []
        for base in self.shape.rotary:
            key = (base, x.device, x.dtype)
            if key not in self._angles:
                self._angles[key] = angles(
                    self.shape.positions, self.shape.head_width, base, x.device, x.dtype
                )
            cos, sin = self._angles[key]
            turns.append((cos[lay.positions], sin[lay.positions]))
        return turns[0], turns[1]
