"""What the machine itself can do: matrix products a second, memory moved a second; measured, a moment each.

A rate is the median over repetitions of one product y = x · Wᵀ, as a linear layer does it, so that one lucky or
disturbed repetition does not count. The matrix rate that shares refer to is the best over the shapes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch

#: rows, inputs, outputs: squares, and the first feed-forward product of mini and of base on 4,096 tokens
SHAPES = (
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (4096, 256, 1024),
    (4096, 768, 3072),
)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LEAST = 3  # repetitions, however long they take
COPIED = 256 * 1024 * 1024  # bytes: more than any cache holds


@dataclass(frozen=True)
class Rate:
    """One shape: `operations` a second, 2 · rows · inputs · outputs each time."""

    precision: str
    rows: int
    inputs: int
    outputs: int
    operations: float


def matrix_rates(
    device: torch.device, precision: str, seconds: float, shapes: tuple[tuple[int, int, int], ...] = SHAPES
) -> list[Rate]:
    """The rate of every shape, in about so many seconds together."""
    found = []
    for rows, inputs, outputs in shapes:
        x = torch.randn(rows, inputs, device=device, dtype=DTYPES[precision])
        weight = torch.randn(outputs, inputs, device=device, dtype=DTYPES[precision])
        work = 2.0 * rows * inputs * outputs
        taken = _repeat(lambda x=x, w=weight: torch.nn.functional.linear(x, w), device, seconds / len(shapes))  # type: ignore[misc]
        found.append(Rate(precision, rows, inputs, outputs, work / taken))
    return found


def best(rates: list[Rate]) -> float:
    """The matrix rate of the machine in floating-point operations a second."""
    return max(rate.operations for rate in rates)


def bandwidth(device: torch.device, seconds: float = 1.0) -> float:
    """Bytes a second that a copy reads and writes together."""
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    return 2.0 * COPIED / _repeat(lambda: target.copy_(source), device, seconds)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _repeat(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The median time of a repetition; the first is left out."""

    def timed() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    timed()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < LEAST or time.perf_counter() < until:
        taken.append(timed())
    return median(taken)
