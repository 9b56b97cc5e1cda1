"""Which labelled rows a number of rows means: nested, seeded subsets, classes in proportion. Imports no torch.

Every seed has an order of all training rows; n rows are its first n. So a larger subset holds the smaller one, and the
spread over seeds holds the luck of the draw. Where labels are classes the order is stratified: row j of class c stands
at (j + u)/n_c, u uniform, so that every beginning has the classes nearly in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unmask.randomness import generator
from unmask.tasks import Examples, Labels, Window


def ordered(examples: Examples, labels: Labels, seed: int) -> np.ndarray:
    """The order of the rows for a seed.  # [rows] int64"""
    rng = generator(seed, "labelled rows", len(examples))
    order = rng.permutation(len(examples))
    if labels.kind != "classes":
        return order
    number = {name: n for n, name in enumerate(labels.names)}
    classes = np.array([number[x.gold] for x in examples.items])[order]
    keys = np.empty(len(order))
    for c in range(len(labels.names)):
        own = np.flatnonzero(classes == c)
        keys[own] = (np.arange(len(own)) + rng.random(len(own))) / max(1, len(own))
    return order[np.argsort(keys, kind="stable")]


def taken(examples: Examples, chosen: Sequence[int]) -> Examples:
    """These examples, in this order."""
    return replace(examples, items=tuple(examples.items[n] for n in chosen))


def windows_of(windows: Sequence[Window], chosen: Sequence[int]) -> list[Window]:
    """The windows of these examples, in their old order and with their old numbers."""
    wanted = set(map(int, chosen))
    return [window for window in windows if window.example in wanted]
