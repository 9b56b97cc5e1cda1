"""The loop: an iterator of steps, the same for pre-training and for fine-tuning.

A step is a list of micro-batches. Before the first backward the targets of every loss term are counted over all
of them and over all processes; each sum is divided by its count once. So k micro-batches, or k processes, are one
big batch, whatever lies in each of them (the mean of means that most loops take is another loss as soon as the
counts differ). What happens between steps (evaluating, saving, printing) is ordinary code of the caller: there
are no hooks. An update whose loss or gradient is not finite is left out (a loss can be so with a finite gradient, where
what made it so was cut off from the weights); what that means for a run is the caller's decision too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from unmask.optim import Mover
from unmask.training import Precision, Training

__all__ = ["Batch", "Clock", "Step", "Training", "steps", "working_precision"]

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """One update. Tensors stay on the device; reading them is the caller's decision."""

    number: int  # 1 for the first
    sums: dict[
        str, Tensor
    ]  # loss term → sum over its targets, and counts such as "mlm_correct", over all processes
    counts: dict[str, int]  # loss term → targets over all micro-batches and processes
    gradient_norm: Tensor  # [] before clipping
    tokens: int  # real tokens, over all processes
    finite: bool  # False: the loss or the gradient was not, and the update was left out

    def loss(self) -> float:
        """The sum of the terms' means, in nats."""
        return sum(float(self.sums[t]) / n for t, n in self.counts.items() if n)


def _totals(values: list[float], device: torch.device) -> list[float]:
    """Numbers added over the processes."""
    if not dist.is_initialized():
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(tensor)
    return [float(v) for v in tensor.tolist()]


def steps(
    loss: Callable[[Batch], dict[str, Tensor]],
    batches: Iterable[list[Batch]],
    *,
    terms: Mapping[str, str],
    optimizer: Mover,
    rate: Callable[[int], float],
    clip: float = 1.0,
    start: int = 0,
) -> Iterator[Step]:
    """Train, and yield after each update.

    `loss(batch)` returns sums by term; entries that are not in `terms` are counts to report. `terms` names for each
    term the array of the batch whose length is its number of targets. Each item of `batches` holds the
    micro-batches of one update on this process. `rate(number)` is the learning rate of update `number`. `start` is
    the number of updates that were taken before.
    """
    device = optimizer.device
    number = start
    for micro in batches:
        number += 1
        local = [float(sum(len(b[array]) for b in micro)) for array in terms.values()]
        *targets, tokens = _totals([*local, float(sum(len(b["ids"]) for b in micro))], device)
        counts = {term: int(n) for term, n in zip(terms, targets, strict=True)}
        optimizer.set_rate(rate(number))
        sums: dict[str, Tensor] = {}
        for batch in micro:
            parts = loss(batch)
            means = [parts[t] / counts[t] for t in terms if counts[t] and t in parts]
            if means:
                torch.stack([m.float() for m in means]).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.gather()
            for name, value in parts.items():
                value = value.detach().float()
                sums[name] = sums[name] + value if name in sums else value
        optimizer.add_up()
        if dist.is_initialized():
            names = sorted(sums)
            packed = torch.stack([sums[n] for n in names])
            dist.all_reduce(packed)
            sums = dict(zip(names, packed.unbind(), strict=True))
        norm = optimizer.clip(clip)
        # One answer for the losses and the gradient together: the only wait for the device in an update.
        judged = torch.stack(
            [norm.float(), *(sums[t].to(norm.device) for t in terms if counts[t] and t in sums)]
        )
        finite = bool(torch.isfinite(judged).all())
        if finite:
            optimizer.step()
        else:
            optimizer.clear()
        yield Step(number, sums, counts, norm, int(tokens), finite)


def working_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """bf16 where the processor multiplies it natively, else fp32. Asking for bf16 elsewhere is allowed, and slow."""
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


class Clock:
    """Where a run stands in its schedule: by steps, by time, or by the recorded places of another run.

    By time, `used` seconds of earlier sittings count. `place(number)` is the share of the run that is over when
    update `number` starts, and is remembered, so that a replay gives the same bytes.
    """

    def __init__(
        self, *, total: int | None, budget: float | None, used: float = 0.0, places: list[float] | None = None
    ):
        self.total, self.budget, self.recorded = total, budget, places
        self._started = time.perf_counter() - used
        self.last = 0.0
        self._slowest = 0.0
        self._before: float | None = None

    def seconds(self) -> float:
        """Seconds of training so far, earlier sittings included."""
        return time.perf_counter() - self._started

    def place(self, number: int) -> float:
        if self.recorded is not None:
            self.last = self.recorded[number - 1]
        elif self.total is not None:
            self.last = (number - 0.5) / self.total
        else:
            assert self.budget is not None
            self.last = min(1.0, self.seconds() / self.budget)
        return self.last

    def over(self, done: int) -> bool:
        """Whether no further update fits after `done` of them."""
        if self.recorded is not None:
            return done >= len(self.recorded)
        if self.total is not None:
            return done >= self.total
        assert self.budget is not None
        now = self.seconds()
        if self._before is not None:
            self._slowest = max(0.9 * self._slowest, now - self._before)
        self._before = now
        return now + self._slowest > self.budget

    def left(self, done: int) -> float:
        """Seconds that are probably left."""
        if self.budget is not None and self.recorded is None:
            return max(0.0, self.budget - self.seconds())
        total = len(self.recorded) if self.recorded is not None else self.total or done
        return self.seconds() / max(done, 1) * max(0, total - done)
