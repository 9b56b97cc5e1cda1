"""Cross-entropy over the vocabulary in one visit: loss and gradients are made together, logits are not kept.

The usual way writes the logits [P, V] of the asked positions, reads them for the loss, and reads them again
for the gradient. Here the gradient replaces the logits, a few rows at a time while they are in the cache, and
the backward pass only scales what is ready (the idea of Liger's fused linear cross-entropy, Hsu et al. 2024).

With bf16 states the products are bf16, but nothing is added up in bf16: the logits of the target and of the first
guess, which weigh most, are worked out again in fp32, and the softmax is fp32. The mean loss is then within 1e-3 of
fp32's on the same weights; a cross-entropy on bf16 logits is off by 1e-2 and more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

BLOCK = 2**24  # logits held at once
GROUP = 128  # values among which the greatest is sought at once
CACHED = 2**17  # logits of one visit on a processor, 512 KiB in fp32


class _TokensLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, matrix: Tensor, bias: Tensor, targets: Tensor, learning: bool
    ) -> tuple[Tensor, Tensor]:
        count, vocab = len(states), len(matrix)
        loss = states.new_zeros((), dtype=torch.float32)
        correct = torch.zeros((), dtype=torch.int64, device=states.device)
        rows = max(1, BLOCK // vocab)
        whole = count <= rows  # else the blocks' gradients are added up in fp32
        visit = max(1, (BLOCK if states.is_cuda else CACHED) // vocab)
        to_states = torch.empty_like(states) if learning else None
        to_matrix = None if whole else torch.zeros_like(matrix, dtype=torch.float32)
        to_bias = torch.zeros_like(bias, dtype=torch.float32)
        shift = bias.float()
        for start in range(0, count, rows):
            x, y = states[start : start + rows], targets[start : start + rows]
            logits = F.linear(x, matrix)  # [rows, V]
            logits[len(y) :] = 0.0  # of rows that follow the targets, see `tokens_loss`
            judged, read = logits[: len(y)], x[: len(y)]
            sharp = logits.dtype != torch.float32
            for at in range(0, len(y), visit):
                seen = slice(at, at + visit)
                part, answer = judged[seen], y[seen, None]
                full = part.float().add_(shift)  # faster than one sum of two precisions
                best = highest(full)
                if sharp:  # the two logits that weigh most, exactly
                    heavy = torch.cat((best, answer), 1)  # [visit, 2]
                    exact = (matrix[heavy].float() * read[seen, None].float()).sum(-1) + shift[heavy]
                    full.scatter_(1, heavy, exact)
                top, own = full.gather(1, best), full.gather(1, answer)
                shares = full.softmax(-1)
                loss += (top - shares.gather(1, best).log() - own).sum()
                correct += ((best == answer) | (own > top)).sum()
                if learning:
                    shares.scatter_add_(1, answer, shares.new_full(answer.shape, -1.0))
                    to_bias += shares.sum(0)
                    part.copy_(shares)
            if to_states is not None:
                torch.mm(logits, matrix, out=to_states[start : start + rows])
                more = logits.T @ x
                to_matrix = more if to_matrix is None else to_matrix.add_(more)
        if to_states is not None:
            made = torch.zeros_like(matrix) if to_matrix is None else to_matrix.to(matrix.dtype)
            ctx.save_for_backward(to_states, made, to_bias.to(bias.dtype))
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad
        return (
            *(made * grad if need else None for made, need in zip(ctx.saved_tensors, needed, strict=False)),
            None,
            None,
        )


def highest(x: Tensor) -> Tensor:
    """The first index of every row's greatest value: [n, V] -> [n, 1], V at least 1.

    On a processor `argmax` compares value by value: the greatest of every group of `GROUP` is found with vector
    instructions, then the group, then the place in it.
    """
    size = x.shape[1]
    whole = size - size % GROUP
    if x.is_cuda or not whole:
        return x.argmax(-1, keepdim=True)
    most = x[:, :whole].reshape(len(x), -1, GROUP).amax(-1)
    if whole < size:
        most = torch.cat((most, x[:, whole:].amax(-1, keepdim=True)), 1)
    start = most.argmax(-1, keepdim=True) * GROUP
    places = (start + torch.arange(GROUP)).clamp_(max=size - 1)  # [n, GROUP]
    found: Tensor = places.gather(1, x.gather(1, places).argmax(-1, keepdim=True))
    return found


def tokens_loss(states: Tensor, matrix: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy (nats, fp32) of softmax(states · matrixᵀ + bias), and how many targets come first.

    states [P, H], matrix [V, H], bias [V], targets [P] int64 -> two scalars. States that follow those of the targets
    count for nothing (see `filler`). Differentiable once, in the first three, for any upstream gradient; at most
    `BLOCK` logits are held at a time.
    """
    learning = torch.is_grad_enabled() and (
        states.requires_grad or matrix.requires_grad or bias.requires_grad
    )
    return _TokensLoss.apply(states, matrix, bias, targets, learning)  # type: ignore[no-any-return, no-untyped-call]


def classes_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy (nats, in fp32) over few classes, and how many are right: [R, C], [R] -> two scalars."""
    full = logits.float()
    return F.cross_entropy(full, targets, reduction="sum"), (full.argmax(-1) == targets).sum()
