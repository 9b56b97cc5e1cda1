"""The small parts of an encoder: activations, linear maps, table look-ups, moves between packed and binned tokens.

Each move has its own backward because the general ones are slow or inexact here: a gather whose targets are
all different needs no scatter-add, and a table's gradient is added up in fp32 even if the table is bf16, so
that a frequent token's gradient does not stall at 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from unmask.batch import Slots


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _relu2(x: Tensor) -> Tensor:
    return F.relu(x).square()


def _fused() -> Callable[..., Any] | None:
    """The product with a bias that torch's own compiler calls; None where there is no oneDNN or it has no bf16."""
    found: Callable[..., Any] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    able = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return found if able is not None and able() else None


FUSED = _fused()
AMX = torch.cpu._is_amx_tile_supported()
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "relu2": _relu2,
}
GELU = {"gelu": "none", "gelu_tanh": "tanh"}  # what oneDNN's product can end with, and its name there


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape, ctx.dtype = table.shape, table.dtype
        return table.index_select(0, ids)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        rows, width = ctx.shape
        if grad.is_cuda or 4 * len(ids) > rows:
            total = torch.zeros(ctx.shape, dtype=torch.float32, device=grad.device)
            return total.index_add_(0, ids, grad.float()).to(ctx.dtype), None
        # A small batch meets few rows of a large table: the sums of those alone, then one table in its own precision.
        met, place = ids.unique(return_inverse=True)
        total = torch.zeros(len(met), width).index_add_(0, place, grad.float())
        return torch.zeros(ctx.shape, dtype=ctx.dtype).index_copy_(0, met, total.to(ctx.dtype)), None


class _Pick(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = x.shape
        return x.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return grad.new_zeros(ctx.shape).index_add_(0, index, grad), None  # a position may be asked twice


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slots: Slots) -> Tensor:
        ctx.slots = slots
        return x.index_select(0, slots.token)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.slots.slot), None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slots: Slots) -> Tensor:
        ctx.slots = slots
        return x.index_select(0, slots.slot)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        spread = grad.index_select(0, ctx.slots.token)
        if ctx.slots.empty is not None:
            spread.index_fill_(0, ctx.slots.empty, 0.0)
        return spread, None


class _Shorten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int) -> Tensor:
        ctx.more = len(x) - count
        return x[:count]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return lengthen(grad, ctx.more), None


class _Affine(torch.autograd.Function):
    """x · weightᵀ + bias in one product of oneDNN; its gradients are those of `torch.addmm`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        assert FUSED is not None
        return FUSED(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        asked = ctx.needs_input_grad
        return (
            grad @ weight if asked[0] else None,
            grad.t() @ x if asked[1] else None,
            grad.sum(0) if asked[2] else None,
        )


def affine(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None = None) -> Tensor:
    """activation(x · weightᵀ + bias): [N, K], [M, K], [M] -> [N, M]; an activation by its name in `ACTIVATIONS`.

    In bf16 on a processor the bias is added inside oneDNN's product, on fp32 sums, and without gradients GELU is worked
    out there, too. torch's own way first writes the bias to every row of the result, which costs a fifth to a third of
    the product, and reads and writes it once more for GELU (docs/log.md).
    """
    fused = _fusing(x)
    if bias is None or fused is None:
        y = F.linear(x, weight, bias)
    elif activation in GELU and not torch.is_grad_enabled():
        return fused(x, weight, bias, "gelu", [], GELU[activation])  # type: ignore[no-any-return]
    else:
        y = _Affine.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y if activation is None else ACTIVATIONS[activation](y)


def added(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """x + drop(y · weightᵀ + bias): [N, M], [N, K], [M, K], [M] -> [N, M].

    Without gradients one product on AMX; elsewhere, and beside gradients, that product is the slower way (docs/log.md).
    """
    fused = _fusing(x)
    if fused is None or not AMX or dropout or torch.is_grad_enabled():
        return x + drop(affine(y, weight, bias), dropout)
    return fused.binary(y, x, weight, bias, "add")  # type: ignore[attr-defined, no-any-return]


def _fusing(x: Tensor) -> Callable[..., Any] | None:
    """oneDNN's product that ends with more than a product, where it takes x."""
    return FUSED if x.dtype == torch.bfloat16 and not x.is_cuda else None


def filler(x: Tensor) -> int:
    """How many rows of nothing follow these, so that few different numbers of them occur in a run: [N, ...] -> count.

    oneDNN prepares every product in bf16 for its very shape, which may cost as much as the product itself and on AMX
    up to ten times as much. So there are 16 numbers an octave, each prepared once, and at most a sixteenth of the work
    of a large batch is in vain. Attention and losses never see these rows. 0 for fp32 and on a GPU, where nothing is
    prepared, and without gradients where the processor has no AMX: there it costs more than it saves (docs/log.md).
    """
    if x.is_cuda or x.dtype == torch.float32 or not (torch.is_grad_enabled() or AMX):
        return 0
    return -len(x) % max(16, 1 << max(0, len(x).bit_length() - 5))


def lengthen(x: Tensor, more: int) -> Tensor:
    """[N, H] -> [N + more, H], zeros at the end."""
    return torch.cat((x, x.new_zeros(more, x.shape[1]))) if more else x


def shorten(x: Tensor, count: int) -> Tensor:
    """[N, H] -> [count, H], without the last ones: the inverse of `lengthen`."""
    return x if len(x) == count else _Shorten.apply(x, count)  # type: ignore[no-untyped-call]


def look_up(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of a table: [V, E], [N] -> [N, E]; its gradient is summed in fp32."""
    return _Lookup.apply(table, ids)  # type: ignore[no-any-return, no-untyped-call]


def pick(x: Tensor, index: Tensor) -> Tensor:
    """Some tokens of a batch: [N, H], [P] -> [P, H]."""
    return _Pick.apply(x, index)  # type: ignore[no-any-return, no-untyped-call]


def spread(x: Tensor, slots: Slots | None) -> Tensor:
    """Packed tokens into bins: [N, ...] -> [B * T, ...]; empty slots hold any token, and no gradient leaves them."""
    return x if slots is None else _Spread.apply(x, slots)  # type: ignore[no-untyped-call]


def collect(x: Tensor, slots: Slots | None) -> Tensor:
    """Bins into packed tokens: [B * T, ...] -> [N, ...], the inverse of `spread`."""
    return x if slots is None else _Collect.apply(x, slots)  # type: ignore[no-untyped-call]


def drop(x: Tensor, rate: float) -> Tensor:
    """Dropout, or nothing at all at rate 0.

    On a processor four decisions are cut from one random number of 64 bits, so the rate is rounded to 1/65,536; one
    draw for each element, as PyTorch makes it, takes several times as long. NumPy's fastest generator makes the
    numbers, from a seed that torch's gives, so whoever keeps torch's state keeps them all.
    """
    if not rate or x.is_cuda:
        return F.dropout(x, rate, True) if rate else x
    count, cut = x.numel(), round(rate * 65536)
    if cut == 65536:
        return x * 0
    seed = int(torch.randint(2**63 - 1, ()))
    drawn = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.int16)
    kept = torch.from_numpy(drawn)[:count].ge_(cut - 32768)
    scale = torch.tensor(65536 / (65536 - cut), dtype=x.dtype)
    if x.element_size() == 2:  # one or nothing, times the bits of the scale: two quick visits in place
        kept = kept.mul_(scale.view(torch.int16)).view(x.dtype)
    else:
        kept = kept.to(x.dtype).mul_(scale)
    return x * kept.view_as(x)


def start_small(linear: nn.Linear | nn.Embedding, std: float = 0.02) -> None:
    """Truncated normal weights, cut at two deviations, and zero biases (BERT's initialiser)."""
    nn.init.trunc_normal_(linear.weight, std=std, a=-2 * std, b=2 * std)
    if isinstance(linear, nn.Linear) and linear.bias is not None:
        nn.init.zeros_(linear.bias)
