"""Muon: matrices are moved along their momentum with all its singular values made about equal.

Sources: Jordan et al. 2024 (the polynomial, Nesterov momentum of 0.95); Liu et al. 2025, section 2.2 (steps as large
as AdamW's, so that one learning rate serves both). Differs from `torch.optim.Muon`: matrices of one shape are worked
out together, in the precision of the working weights, and each is first divided by the fourth root of the sum of the
fourth powers of its singular values, not by its Frobenius norm. Both bound the largest one, this one more tightly: a
flat spectrum of 256 starts four times higher, which saves one of the five rounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # a·x + b·x³ + c·x⁵: steep at 0, near 1 after some rounds
ROUNDS = 4
MOMENTUM = 0.95
VISIT = 2**24  # numbers orthogonalised together, at most


def orthogonal(matrices: Tensor, rounds: int = ROUNDS) -> Tensor:
    """U · S' · Vᵀ for each U · S · Vᵀ, S' between 0.7 and 1.2 but for tiny S: [K, M, N] -> [K, M, N]."""
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonal(matrices.mT, rounds).mT
    a, b, c = POLYNOMIAL
    x = matrices
    for turn in range(rounds):
        gram = x @ x.mT  # [K, M, M]
        if turn == 0:
            size = torch.linalg.vector_norm(gram, dim=(-2, -1), keepdim=True).clamp(min=1e-30)
            gram, x = gram / size, x / size.sqrt()
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Moves matrices [M, N]; the state of each is `momentum_buffer`, in fp32."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], *, weight_decay: float, working: torch.dtype
    ) -> None:
        super().__init__(matrices, {"lr": 0.0, "weight_decay": weight_decay})
        self.working = working

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; a matrix without a gradient stays."""
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(tuple(p.shape), []).append(p)
            for shape, matrices in alike.items():
                some = max(1, VISIT // (shape[0] * shape[1]))
                for at in range(0, len(matrices), some):
                    self._move(matrices[at : at + some], group["lr"], group["weight_decay"])

    def _move(self, matrices: list[nn.Parameter], rate: float, weight_decay: float) -> None:
        updates = torch.stack([self.whole(p, self._momentum(p).to(self.working)) for p in matrices])
        # Fourth powers of very small or large numbers would not be numbers.
        size = updates.abs().amax((-2, -1), keepdim=True).clamp(min=1e-30)
        updates = orthogonal(updates / size)
        step = -rate * 0.2 * max(updates.shape[1:]) ** 0.5
        for p, update in zip(matrices, updates, strict=True):
            own = self.part(p, p)
            own.mul_(1 - rate * weight_decay).add_(self.part(p, update), alpha=step)

    def _momentum(self, p: nn.Parameter) -> Tensor:
        """The gradient after its running mean moved, half a step ahead of it (Nesterov)."""
        assert p.grad is not None
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        gradient, mean = self.part(p, p.grad), self.part(p, state["momentum_buffer"])
        mean.lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(mean, MOMENTUM)

    def whole(self, p: nn.Parameter, part: Tensor) -> Tensor:
        """The whole of a matrix of which this process has a part (here: all of it)."""
        return part

    def part(self, p: nn.Parameter, whole: Tensor) -> Tensor:
        """This process's part of what belongs to a parameter (here: all of it)."""
        return whole
