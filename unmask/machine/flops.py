"""How many floating-point operations a step really does: its matrix products, each counted as 2 · m · k · n.

Norms, activations, softmax and the optimiser are left out, as is usual (Chowdhery et al. 2022, appendix B), so a
share of a machine's matrix rate can never reach 1. It differs from the usual estimate "6 · parameters · tokens" in
that only what is computed counts: no look-up of an embedding, no logits but at the targets, the last layer's queries
and feed-forward at the asked positions alone, and attention over the bins that rows lie in, their empty slots
included, since they are multiplied too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from unmask.batch import layout
from unmask.errors import UnmaskError
from unmask.models import Shape

TRAINED = 3  # a product y = x · W, and in the backward pass the gradients of x and of W


def flops(
    shape: Shape,
    *,
    tokens: int,
    targets: int,
    lengths: Sequence[int] | np.ndarray | torch.Tensor | None = None,
    kept: int | None = None,
    ragged: bool = False,
) -> float:
    """Operations of one training step, forward and backward: three times `forward`, since every product is trained."""
    return TRAINED * forward(shape, tokens=tokens, targets=targets, lengths=lengths, kept=kept, ragged=ragged)


def forward(
    shape: Shape,
    *,
    tokens: int,
    targets: int,
    lengths: Sequence[int] | np.ndarray | torch.Tensor | None = None,
    kept: int | None = None,
    ragged: bool = False,
) -> float:
    """Operations of one pass of the encoder and the masked-LM head.

    tokens: N, of the batch. targets: P, positions that the head works on; 0 for a pass without it. lengths: [R] of
    the isolated pieces, sum N; if None, N is cut into rows of `shape.positions`. kept: positions asked of the last
    layer where they are not the targets (sentence pairs ask more, a classifier asks one a row, N asks all).
    ragged: attention as a kernel for packed rows does it (on a GPU), seeing only what a row and its window hold,
    and not in bins. The last layer's queries count as often as they are asked; bins are filled up to the most
    asked one, which is not counted. Raises `UnmaskError` if the lengths do not add up to the tokens.
    """
    rows = _lengths(shape, tokens, lengths)
    asked = targets if kept is None else kept
    width, wide = shape.width, shape.inner * (2 if shape.gate else 1)
    after = width * width + width * wide + shape.inner * width  # a token: output, up and down
    lay = layout(torch.from_numpy(rows))
    products = 0.0
    for layer in range(shape.layers):
        window = shape.window if shape.local(layer) else 0
        pairs = float(_seen(rows, window).sum()) if ragged else float(lay.bins * lay.span**2)
        last = layer == shape.layers - 1
        queries = asked if last else tokens
        if last:
            pairs *= asked / tokens if ragged else asked / (lay.bins * lay.span)
        products += (queries + 2 * tokens) * width * width  # queries, keys and values
        products += 2 * pairs * width  # scores, and values by their shares
        products += queries * after
    if shape.embedding:
        products += tokens * shape.embedding * width
    if targets:
        dense = width if shape.head == "dense" else 0
        products += targets * shape.table_width * (dense + shape.vocab)
    return 2.0 * products


def _lengths(
    shape: Shape, tokens: int, lengths: Sequence[int] | np.ndarray | torch.Tensor | None
) -> np.ndarray:
    """[R] int64."""
    if lengths is None:
        whole, rest = divmod(tokens, shape.positions)
        return np.array([shape.positions] * whole + [rest] * (rest > 0), np.int64)
    rows = np.asarray(lengths, np.int64)
    if int(rows.sum()) != tokens:
        raise UnmaskError(
            f"rows of {int(rows.sum())} tokens together and {tokens} tokens — expected as many — give the lengths of "
            "this batch."
        )
    return rows


def _seen(rows: np.ndarray, window: int) -> np.ndarray:
    """Pairs of positions that see each other in each row: all, or those with |i - j| <= window / 2.  # [R]"""
    if not window:
        return np.asarray(np.square(rows))
    near = np.minimum(rows - 1, window // 2)  # neighbours to one side at most
    return np.asarray(rows * (2 * near + 1) - near * (near + 1))
