"""Parameters, their masters, and what moves them: AdamW and Muon, with schedules by steps or by time.

The working weights may be bf16; the masters, the moments and the gradients that are summed over
micro-batches are fp32 and lie in one flat buffer a group, so that an update is a handful of large
operations. What decays is decided by dimension: matrices and embedding tables do, norm gains and biases
do not (BERT's rule by name comes to the same, encoder families without biases included).

Sources: AdamW, Loshchilov & Hutter 2017 (with bias correction, which the original BERT code leaves out);
`unmask.muon` for Muon, which moves the matrices of the encoder's layers; AdamW moves the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unmask.muon import Muon
from unmask.training import Kind, Schedule

Named = list[tuple[str, nn.Parameter]]
_NORMED = 1 << 20  # gradients whose norm is taken at once


class Mover(Protocol):
    """What the loop asks of an optimizer, whether its weights lie here or in shares over the processes."""

    @property
    def device(self) -> torch.device: ...
    def set_rate(self, rate: float) -> None: ...
    def gather(self) -> None:
        """Add the gradients of the last backward to the sums."""

    def add_up(self) -> None:
        """Add the sums over the processes, where that was not done before."""

    def clip(self, norm: float) -> Tensor:
        """Scale the sums to a global 2-norm of at most `norm` (0: leave them); return their norm before, []."""
        ...

    def step(self) -> None: ...
    def clear(self) -> None:
        """Forget the gradients."""

    def weights(self) -> dict[str, Tensor]:
        """The fp32 weights by name. All processes must ask; the first one gets them."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The moments and the step count by name. All processes must ask; the first one gets them."""
        ...

    def load(self, weights: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Put saved weights and moments in place, on every process."""


def grouped(parameters: Iterable[tuple[str, nn.Parameter]], kind: Kind) -> dict[str, Named]:
    """Which parameter is moved how: "muon" (matrices of the layers), "decay" (other matrices, tables), "plain"."""
    groups: dict[str, Named] = {"muon": [], "decay": [], "plain": []}
    for name, p in parameters:
        if p.requires_grad:
            hidden = kind == "muon" and p.ndim == 2 and ".layers." in f".{name}"
            groups["muon" if hidden else "decay" if p.ndim >= 2 else "plain"].append((name, p))
    if not any(groups.values()):
        raise ValueError("an optimizer needs at least one parameter that asks for a gradient")
    return groups


class Optimizer:
    """Moves the parameters of a module.

    The parameters are cast to `working` in place (their fp32 values become the masters), so give the module
    in fp32. After each backward call `gather()`, which adds the gradients to the fp32 sums and frees them;
    after the last of an update `add_up()` adds those over the processes; `step()` moves the masters and copies
    them to the working weights.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        kind: Kind = "adamw",
        weight_decay: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.98,
        epsilon: float = 1e-8,
        working: torch.dtype = torch.float32,
    ) -> None:
        groups = grouped(parameters, kind)
        ordered = groups["muon"] + groups["decay"] + groups["plain"]
        self.names = [name for name, _ in ordered]
        self.parameters = [p for _, p in ordered]
        device = self.parameters[0].device
        sizes = [p.numel() for p in self.parameters]
        total = sum(sizes)
        self.masters = torch.empty(total, device=device)
        self.gradients = torch.zeros(total, device=device)
        self._begun = False  # whether the sums hold something of the update that is being made
        shapes = [p.shape for p in self.parameters]
        self._master_views = [
            v.view(s) for v, s in zip(torch.split(self.masters, sizes), shapes, strict=True)
        ]
        self._gradient_views = [
            v.view(s) for v, s in zip(torch.split(self.gradients, sizes), shapes, strict=True)
        ]
        weights = torch.empty(total, device=device, dtype=working)
        for view, p, w in zip(self._master_views, self.parameters, torch.split(weights, sizes), strict=True):
            view.copy_(p.detach())
            p.data = w.view(p.shape)
        self._weights = weights
        self._copy()
        counts = [sum(p.numel() for _, p in groups[g]) for g in ("muon", "decay", "plain")]
        muon, decay, plain = torch.split(self.masters, counts)
        gradients = torch.split(self.gradients, counts)
        self._flat = [nn.Parameter(t) for t in (decay, plain) if t.numel()]
        for flat, g in zip(self._flat, [g for g in gradients[1:] if g.numel()], strict=True):
            flat.grad = g
        decays = [d for d, t in ((weight_decay, decay), (0.0, plain)) if t.numel()]
        self._optimizers: list[torch.optim.Optimizer] = []
        if self._flat:
            self._optimizers.append(
                torch.optim.AdamW(
                    [{"params": [f], "weight_decay": d} for f, d in zip(self._flat, decays, strict=True)],
                    lr=0.0,
                    betas=(beta1, beta2),
                    eps=epsilon,
                    fused=True,
                )
            )
        self._matrices: list[nn.Parameter] = []
        if muon.numel():
            n = len(groups["muon"])
            for view, g in zip(self._master_views[:n], self._gradient_views[:n], strict=True):
                matrix = nn.Parameter(view)
                matrix.grad = g
                self._matrices.append(matrix)
            self._optimizers.append(Muon(self._matrices, weight_decay=weight_decay, working=working))
        self._slots = list(zip(self.names, sizes, shapes, strict=True))
        self._muon_names = [name for name, _ in groups["muon"]]

    def _copy(self) -> None:
        self._weights.copy_(self.masters)

    def set_rate(self, rate: float) -> None:
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def clear(self) -> None:
        """Forget the gradients."""
        self._begun = False
        for p in self.parameters:
            p.grad = None

    def gather(self) -> None:
        """Add the gradients of the last backward to the fp32 sums and free them."""
        for view, p in zip(self._gradient_views, self.parameters, strict=True):
            if not self._begun:  # the first of an update is copied: neither zeros are written nor read
                view.zero_() if p.grad is None else view.copy_(p.grad)
            elif p.grad is not None:
                view.add_(p.grad)
            p.grad = None
        self._begun = True

    @property
    def device(self) -> torch.device:
        return self.masters.device

    def add_up(self) -> None:
        """Add the sums over the processes, in one collective."""
        if not self._begun:  # there was no micro-batch
            self.gradients.zero_()
        if dist.is_initialized():
            dist.all_reduce(self.gradients)

    def clip(self, norm: float) -> Tensor:
        """Scale the gradients to a global 2-norm of at most `norm` (0: leave them); return their norm before, []."""
        # Of parts: over one long buffer fp32 loses the small summands, a hundredth of the norm at 110 M parameters.
        parts = torch._foreach_norm(torch.split(self.gradients, _NORMED))
        total: Tensor = torch.linalg.vector_norm(torch.stack(parts))
        if norm > 0:
            scale = (norm / (total + 1e-6)).clamp(max=1.0)
            # A GPU is not waited for; a processor is spared a walk that changes nothing.
            if total.is_cuda or scale < 1:
                self.gradients.mul_(scale)
        return total

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()
        self._copy()
        self._begun = False

    def weights(self) -> dict[str, Tensor]:
        """The masters by name: views, fp32."""
        return dict(zip(self.names, self._master_views, strict=True))

    def _moments(self) -> dict[str, Tensor]:
        """Every running mean by `kind/name`, as views; made first if no step was taken."""
        moments: dict[str, Tensor] = {}
        adam = [s for s in self._slots if s[0] not in set(self._muon_names)]
        for kind in ("exp_avg", "exp_avg_sq"):
            flat: list[Tensor] = []
            for parameter in self._flat:
                state = self._optimizers[0].state[parameter]
                if not state:
                    state["step"] = torch.zeros((), device=parameter.device)
                    state["exp_avg"] = torch.zeros_like(parameter.detach())
                    state["exp_avg_sq"] = torch.zeros_like(parameter.detach())
                flat.append(state[kind])
            if not flat:
                continue
            pieces = [p for f in flat for p in torch.split(f, _sizes_within(f.numel(), adam, flat, f))]
            for (name, _, shape), piece in zip(adam, pieces, strict=True):
                moments[f"{kind}/{name}"] = piece.view(shape)
        for name, matrix in zip(self._muon_names, self._matrices, strict=True):
            state = self._optimizers[-1].state[matrix]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(matrix.detach())
            moments[f"momentum/{name}"] = state["momentum_buffer"]
        return moments

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs beside the weights: moments by name, fp32, and the step count."""
        tensors = self._moments()
        count = self._optimizers[0].state[self._flat[0]]["step"] if self._flat else torch.zeros(())
        return {**tensors, "steps": count.detach().reshape(1).cpu()}

    def load(self, weights: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Put saved masters and moments in place. Raises KeyError where a name is missing."""
        with torch.no_grad():
            for name, view in self.weights().items():
                view.copy_(weights[name])
            for name, moment in self._moments().items():
                moment.copy_(state[name])
            for parameter in self._flat:
                self._optimizers[0].state[parameter]["step"].fill_(float(state["steps"].item()))
        self._copy()


def _sizes_within(
    total: int, slots: list[tuple[str, int, torch.Size]], flats: list[Tensor], this: Tensor
) -> list[int]:
    """The sizes of the slots that lie in one of the flat tensors, in their order."""
    start = 0
    for flat in flats:
        if flat is this:
            break
        start += flat.numel()
    sizes, at = [], 0
    for _, size, _ in slots:
        if start <= at < start + total:
            sizes.append(size)
        at += size
    return sizes


def rate(schedule: Schedule, place: float, *, warmup: float, decay: float) -> float:
    """The factor of the learning rate at `place`, the share of the run that is over (0 to 1), by steps or by time.

    `warmup` and `decay` are shares of the run. linear: up, then straight down to 0; cosine: up, then a half wave
    down; trapezoid: up, level, then straight down over the last `decay` (the schedule of ModernBERT, with a linear
    fall); constant: up, then level. Unlike BERT's own code the fall starts where the rise ends, so the nominal
    rate is reached.
    """
    place = min(max(place, 0.0), 1.0)
    if place < warmup:
        fall = (1.0 - place) / decay if schedule == "trapezoid" and decay > 0 else 1.0
        return min(place / warmup, fall)  # where rise and fall overlap the lower counts
    if schedule == "constant":
        return 1.0
    if schedule == "trapezoid":
        return min(1.0, (1.0 - place) / decay) if decay > 0 else 1.0
    rest = (place - warmup) / (1.0 - warmup) if warmup < 1 else 1.0
    return 1.0 - rest if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * rest))
