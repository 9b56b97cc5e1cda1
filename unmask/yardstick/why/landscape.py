"""Losses between and around two sets of weights: the straight way from start to solution, and a plane that holds it.

Source: Hao et al. 2019, section 3 (the way J(α) = L(θ0 + α(θ1 − θ0)) and the plane through start and solution; no code
was published) and Li et al. 2018, section 4 (filter normalisation; tomgoldstein/loss-landscape). It differs: the ends
of the way are exact (an interpolation whose ends are the weights themselves, to the bit); the trajectory is projected
onto the plane that is drawn, by least squares, with the share of its length that lies in it, where Hao et al. turn the
distance from the first axis into a second coordinate; and their second direction, another task's solution, is not asked
for: it is random and filter-normalised, or the direction in which the trajectory bends most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Weights = dict[str, Tensor]
Loss = Callable[[Weights], float]

ALPHAS = tuple(n / 20 for n in range(-10, 31))  # of the way: 0 is the start, 1 the solution
ACROSS = tuple(n / 8 for n in range(-4, 13))  # of the plane, along the way
UP = tuple(n / 8 for n in range(-8, 9))  # of the plane, in its second direction


def between(start: Weights, end: Weights, alpha: float) -> Weights:
    """start + alpha · (end − start); exactly start at 0 and exactly end at 1."""
    return {name: torch.lerp(start[name], end[name], alpha) for name in start}


def along(loss: Loss, start: Weights, end: Weights, alphas: Sequence[float] = ALPHAS) -> list[float | None]:
    """Losses on the straight way; None where it is no finite number."""
    return [_finite(loss(between(start, end, alpha))) for alpha in alphas]


def filter_normalised(direction: Weights, weights: Weights) -> Weights:
    """Rows of matrices and tables scaled to the norm of the same row of `weights`; nothing for what has one dimension.

    A row is a filter: the weights into one output, or one token of a table.
    """
    out = {}
    for name, d in direction.items():
        w = weights[name]
        if w.ndim < 2:
            out[name] = torch.zeros_like(w)
            continue
        norms = w.flatten(1).norm(dim=1), d.flatten(1).norm(dim=1)
        out[name] = d * (norms[0] / (norms[1] + 1e-10)).view(-1, *[1] * (w.ndim - 1))
    return out


def random_direction(weights: Weights, seed: int) -> Weights:
    """A Gaussian direction, filter-normalised to these weights."""
    rng = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(w.shape, generator=rng).to(w.device) for name, w in weights.items()}
    return filter_normalised(drawn, weights)


def bend(first: Weights, steps: Sequence[Weights]) -> Weights:
    """The direction in which way points (differences from the start) leave the line `first` most, as long as `first`.

    It is the first principal component of what is left of them beside that line; at right angles to it.
    """
    length = dot(first, first)
    rest = [add(step, first, -dot(step, first) / length) for step in steps]
    gram = torch.tensor([[dot(a, b) for b in rest] for a in rest], dtype=torch.float64)
    values, vectors = torch.linalg.eigh(gram)
    if float(values[-1]) <= 1e-12 * length:
        return {name: torch.zeros_like(value) for name, value in first.items()}
    out = {name: torch.zeros_like(value) for name, value in first.items()}
    for share, part in zip(vectors[:, -1].tolist(), rest, strict=True):
        out = add(out, part, share)
    return {name: value * math.sqrt(length / dot(out, out)) for name, value in out.items()}


def project(
    first: Weights, second: Weights, steps: Sequence[Weights]
) -> tuple[list[tuple[float, float]], float]:
    """Coordinates of way points in the plane of two directions, by least squares; the share of their squared lengths
    that lies in it."""
    aa, ab, bb = dot(first, first), dot(first, second), dot(second, second)
    points, inside, whole = [], 0.0, 0.0
    for step in steps:
        a, b, length = dot(step, first), dot(step, second), dot(step, step)
        free = aa * bb - ab * ab
        x, y = (
            ((a * bb - b * ab) / free, (b * aa - a * ab) / free) if free > 1e-12 * aa * bb else (a / aa, 0.0)
        )
        points.append((x, y))
        inside += x * a + y * b
        whole += length
    return points, inside / whole if whole else 0.0


def surface(
    loss: Loss,
    start: Weights,
    end: Weights,
    second: Weights,
    across: Sequence[float] = ACROSS,
    up: Sequence[float] = UP,
) -> list[list[float | None]]:
    """Losses at start + α(end − start) + β·second, a row for each β."""
    return [[_finite(loss(add(between(start, end, a), second, b))) for a in across] for b in up]


def dot(a: Weights, b: Weights) -> float:
    """The inner product, added up in fp64 a tensor at a time."""
    return math.fsum(float(torch.dot(a[name].flatten().double(), b[name].flatten().double())) for name in a)


def add(a: Weights, b: Weights, factor: float) -> Weights:
    return {name: value + factor * b[name] for name, value in a.items()} if factor else dict(a)


def difference(a: Weights, b: Weights) -> Weights:
    """a − b."""
    return {name: value - b[name] for name, value in a.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
