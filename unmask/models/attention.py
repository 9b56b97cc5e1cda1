"""Attention over packed rows (Vaswani et al. 2017, section 3.2), with rotary positions (Su et al. 2021).

On a processor it is two batched products and a softmax over the bins of `Layout`: the fused kernel's backward
is several times slower there in bf16. Long rows without gradients are taken one by one. On a GPU in half
precision a ragged kernel takes the packed rows as they are; otherwise the fused kernel takes bins and a mask. Queries
may be fewer than keys: the last layer is asked for some positions only, and gives what it would have given for all,
up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from unmask.batch import Layout, Slots
from unmask.models.layers import AMX, collect, drop, lengthen, spread

LONG = 256  # mean tokens of a row from which a kernel call for each costs less than bins and their mask
Asked = tuple[int, Slots, Tensor]  # what `Layout.ask` says


class _Rotate(torch.autograd.Function):
    """Turns the pairs (i, i + D/2) of every head; backward is the opposite turn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, turned: int) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.turned = turned
        return _turn(x, cos, sin, turned)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, -sin, ctx.turned), None, None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, turned: int) -> Tensor:
    out = torch.empty_like(x)
    left, right = x[:, :turned].chunk(2, -1)
    first, second = out[:, :turned].chunk(2, -1)
    torch.addcmul(left * cos, right, sin, value=-1, out=first)
    torch.addcmul(right * cos, left, sin, out=second)
    out[:, turned:] = x[:, turned:]
    return out


def angles(
    positions: int, width: int, base: float, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, [positions, width / 2] each, computed in fp32."""
    rates = base ** -(torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    turns = torch.arange(positions, dtype=torch.float32, device=device)[:, None] * rates
    return turns.cos().to(dtype), turns.sin().to(dtype)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor], heads: int, turned: int) -> Tensor:
    """Rotary positions in the first `turned` of K slices: x [N, K, H], cosines and sines [N, D / 2] -> [N, K, H]."""
    cos, sin = (table[:, None, None] for table in turn)  # [N, 1, 1, D / 2]
    split = x.view(*x.shape[:2], heads, -1)  # [N, K, A, D]
    return _Rotate.apply(split, cos, sin, turned).view_as(x)  # type: ignore[no-any-return, no-untyped-call]


def attend(qkv: Tensor, heads: int, layout: Layout, window: int, dropout: float) -> Tensor:
    """Every token over its row: [N, 3, H] (queries, keys, values; already turned) -> [N, H].

    window: see `Layout.mask`. dropout: of the attention probabilities.
    """
    width = qkv.shape[-1]
    if _ragged(qkv, dropout):
        q, k, v = qkv.view(layout.tokens, 3, heads, -1).unbind(1)
        return _varlen(q, k, v, layout.bounds, layout, window).reshape(layout.tokens, width)
    long = layout.tokens >= LONG * len(layout.lengths)
    if long and not (qkv.is_cuda or window or dropout or torch.is_grad_enabled()):
        return _by_row(qkv, heads, layout)
    boxes = spread(qkv, layout.slots).view(layout.bins, layout.span, 3, heads, width // heads)
    q, k, v = boxes.permute(2, 0, 3, 1, 4).contiguous().unbind(0)  # [B, A, T, D] each
    out = _boxed(q, k, v, layout.mask(window, qkv.dtype), dropout)
    return collect(out.transpose(1, 2).reshape(-1, width), layout.slots)


def _by_row(qkv: Tensor, heads: int, layout: Layout) -> Tensor:
    """`attend` a row at a time, which needs no bins and no mask over all pairs.

    By torch's fused kernel where there is AMX, and in fp32; in bf16 without AMX that kernel takes twice as long as two
    products and a softmax, whose scores of one row stay in the caches (docs/log.md).
    """
    out = torch.empty_like(qkv[:, 0])  # [N, H]
    split = qkv.view(len(qkv), 3, heads, -1).permute(1, 2, 0, 3)  # [3, A, N, D]
    one = _fused_row if AMX or qkv.dtype != torch.bfloat16 else _plain_row
    for begin, size in zip(layout.starts.tolist(), layout.lengths.tolist(), strict=True):
        out[begin : begin + size].view(size, heads, -1).copy_(one(split, begin, size).transpose(0, 1))
    return out


def _plain_row(split: Tensor, begin: int, size: int) -> Tensor:
    """Attention of one row of packed queries, keys and values: [3, A, N, D] -> [A, T, D]."""
    q, k, v = split[:, :, begin : begin + size].contiguous().unbind(0)
    return torch.bmm(torch.bmm(q * q.shape[-1] ** -0.5, k.mT).softmax(-1), v)


def _fused_row(split: Tensor, begin: int, size: int) -> Tensor:
    """`_plain_row` by the fused kernel, which reads the packed tokens where they lie.

    It takes up to three times as long for odd numbers of keys in bf16, so some keys of the neighbours are read with a
    row's own, and masked; so a state that is not finite would spoil its neighbours, too.
    """
    end, count = begin + size, split.shape[2]
    keys = min(count, size + -size % 16)
    at = min(begin, count - keys)
    q = split[:1, :, begin:end]  # [1, A, T, D]
    k, v = split[1:2, :, at : at + keys], split[2:, :, at : at + keys]
    mask = None
    if keys > size:
        mask = torch.full((1, 1, 1, keys), float("-inf"), dtype=q.dtype)
        mask[..., begin - at : end - at] = 0.0
    return F.scaled_dot_product_attention(q, k, v, mask)[0]


def attend_from(
    q: Tensor,
    kv: Tensor,
    heads: int,
    layout: Layout,
    window: int,
    keep: Tensor,
    dropout: float,
    asked: Asked | None = None,
) -> Tensor:
    """The asked tokens over their rows: q [P, H], kv [N, 2, H], keep [P] sorted -> [P, H]. asked: of `Layout.ask`."""
    width = q.shape[-1]
    if _ragged(q, dropout) and not (
        window and layout.longest > window // 2 + 1
    ):  # its windows count from the end
        k, v = kv.view(layout.tokens, 2, heads, -1).unbind(1)
        bounds = torch.searchsorted(keep, layout.bounds.long()).int()  # [R + 1]
        return _varlen(q.view(len(q), heads, -1), k, v, bounds, layout, 0).reshape(-1, width)
    size, slots, places = asked or layout.ask(keep)
    boxes = spread(kv, layout.slots).view(layout.bins, layout.span, 2, heads, width // heads)
    k, v = boxes.permute(2, 0, 3, 1, 4).contiguous().unbind(0)  # [B, A, T, D]
    asking = spread(q, slots).view(layout.bins, size, heads, -1).transpose(1, 2).contiguous()  # [B, A, Q, D]
    mask = layout.lines(window, q.dtype, places)
    mask = None if mask is None else mask[:, None]  # [B, 1, Q, T]
    return collect(_boxed(asking, k, v, mask, dropout).transpose(1, 2).reshape(-1, width), slots)


def few(asked: Asked, keep: Tensor, layout: Layout, heads: int, width: int) -> bool:
    """Whether `attend_states` is less work for the asked tokens than a key and a value for every token.

    It multiplies 2 · P · H² for 2 · N · H², and over the states A times what attention over keys does, in as many slots
    of every bin as the fullest has; small products of many boxes run at half the speed of one large one, or less.
    """
    slots = layout.bins * asked[0]
    return 2 * (slots * heads * layout.span + len(keep) * width) <= layout.tokens * width


def attend_states(
    q: Tensor, x: Tensor, key: Tensor, value: Tensor, layout: Layout, window: int, asked: Asked
) -> Tensor:
    """The asked tokens (P) over their rows' states: q [P', H], x [N, H], key and value [A, D, H] -> [P', H].

    Rows from P on are `filler`; asked is what `Layout.ask` says.

    q · (K x) is (Kᵀ q) · x, and a mean of V x is V times the mean of x: so a token's key and value need not be worked
    out, which saves two products over N rows for two over P. A key's bias falls out of the softmax; the value's is
    the caller's to add. Without rotary positions, dropout or gradients.
    """
    heads, width = key.shape[0], x.shape[-1]
    size, slots, places = asked
    count = len(slots.slot)
    turned = torch.bmm(q.view(len(q), heads, -1).transpose(0, 1), key).transpose(0, 1)[:count]  # [P, A, H]
    boxes = spread(x, layout.slots).view(layout.bins, layout.span, width)
    asking = spread(turned.reshape(count, -1), slots).view(layout.bins, size * heads, width)
    scores = torch.bmm(asking, boxes.mT).view(layout.bins, size, heads, layout.span) * key.shape[1] ** -0.5
    mask = layout.lines(window, x.dtype, places)
    scores = scores if mask is None else scores + mask[:, :, None]
    means = torch.bmm(scores.softmax(-1).view(layout.bins, -1, layout.span), boxes)
    means = lengthen(collect(means.view(-1, heads * width), slots), len(q) - count)
    means = means.view(-1, heads, width)  # [P', A, H]
    return torch.bmm(means.transpose(0, 1), value.mT).transpose(0, 1).reshape(len(q), -1)


def _boxed(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Attention in bins: q [B, A, Q, D], k and v [B, A, T, D], mask [B or 1, 1, Q, T] -> [B, A, Q, D]."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout)
    boxes, width = q.shape[:2], q.shape[-1]
    scores = torch.bmm(q.flatten(0, 1) * width**-0.5, k.flatten(0, 1).mT)  # [B * A, Q, T]
    if mask is not None:
        with torch.no_grad():  # in place, and nothing to differentiate: a product's gradient needs no result
            scores.view(*boxes, *scores.shape[1:]).add_(mask)
    shares = drop(scores.softmax(-1), dropout)
    return torch.bmm(shares, v.flatten(0, 1)).view(q.shape)


def _ragged(x: Tensor, dropout: float) -> bool:
    if not x.is_cuda or dropout or x.dtype not in (torch.float16, torch.bfloat16):
        return False
    return torch.cuda.get_device_capability(x.device) >= (8, 0)  # the kernel knows no older GPU


def _varlen(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, layout: Layout, window: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # loads GPU code

    side = window // 2 if window else -1
    longest = layout.longest  # also bounds the asked ones, with no wait for the device
    out = varlen_attn(q, k, v, bounds, layout.bounds, longest, longest, window_size=(side, side))
    assert isinstance(out, Tensor)  # a pair only where more than the states is asked
    return out
