"""Body and head of a task, its losses and outputs over packed rows; the only file of the tasks that needs torch.

Sums, never means: `unmask.train` divides by the number of targets. The softmax of span scores runs within each row
(a segmented log-sum-exp), over [CLS] and the pieces of the passage.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.batch import Layout, layout
from unmask.models import Shape
from unmask.models.encoder import Encoder
from unmask.models.heads import ClassifyHead, SpanHead, Style, TagHead

Batch = dict[str, Tensor]

GAIN = 8.0


class TaskModel(nn.Module):
    """An encoder and one head; `gain` multiplies the head's output until `fold` puts it into the weights."""

    def __init__(self, encoder: Encoder, head: ClassifyHead | TagHead | SpanHead, gain: float = 1.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.gain = gain

    def fold(self, scale: float = 1.0, shift: float = 0.0) -> None:
        """Put gain, and the unit of a score (output · scale + shift), into the last layer."""
        with torch.no_grad():
            self.head.out.weight.mul_(self.gain * scale)
            self.head.out.bias.mul_(self.gain * scale).add_(shift)
        self.gain = 1.0


Reads = Literal["first", "mean", "asked", "compare", "layers_mean", "layers_compare"]


def classifier(shape: Shape, outputs: int, reads: Reads) -> TaskModel:
    """One output a row: from its first token as the family does it, its mean, an asked token, or two parts compared.

    "layers_…": over embeddings and last layer together.

    Comparing starts at zero with a gain, as `tagger` does: the scale of its four features is the pre-trained
    body's, and a random layer over them starts far above chance (4 nats): some seeds lose all their steps to that.
    """
    pre = shape.norm == "pre"
    style: Style
    if reads == "first":
        style = "normed" if pre else "dense" if shape.segments == 1 else "pooler"
    elif reads == "mean":
        style = "normed_mean" if pre else "mean"
    else:
        style = reads
    head = ClassifyHead(shape, outputs, style)
    if not head.compares:
        return TaskModel(Encoder(shape), head)
    nn.init.zeros_(head.out.weight)
    return TaskModel(Encoder(shape), head, gain=GAIN)


def few(shape: Shape) -> bool:
    """Whether a body is so small (up to the size *small*) that few steps do not teach its first token to sum up."""
    return shape.layers <= 4 and shape.width <= 512


def tagger(shape: Shape, outputs: int) -> TaskModel:
    """One output an asked token. The layer starts at zero with a gain, so it learns faster than the body.

    With AdamW a gain of 8 is a rate 8 times as high for this layer alone; few steps need it, many do not mind.
    """
    head = TagHead(shape, outputs)
    nn.init.zeros_(head.out.weight)
    return TaskModel(Encoder(shape), head, gain=GAIN)


def reader(shape: Shape) -> TaskModel:
    """Start and end scores of every token."""
    head = SpanHead(shape)  # before the encoder, as everywhere: a seed draws it alike for every start
    return TaskModel(Encoder(shape), head)


# -- classes and scores ------------------------------------------------------------------------------------------


def label_logits(model: nn.Module, batch: Batch) -> Tensor:  # [R, C]
    assert isinstance(model, TaskModel) and isinstance(model.head, ClassifyHead)
    lay = layout(batch["lengths"], batch["ids"].device)
    keep = batch["asked_positions"] if model.head.style == "asked" else model.head.asks(lay)
    states = model.encoder(batch["ids"], lay, batch.get("segments"), keep, mix=model.head.mixes)
    logits: Tensor = model.head(states, lay, batch.get("parts"))
    return logits.float() * model.gain


def label_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropy of classes, or squared error where the labels are scores; weighted, summed over the rows."""
    logits, labels = label_logits(model, batch), batch["labels"]
    each = (
        (logits[:, 0] - labels.float()).square()
        if labels.is_floating_point()
        else F.cross_entropy(logits, labels, reduction="none")
    )
    return {"label": (each * batch["label_weights"]).sum()}


def label_outputs(model: nn.Module, batch: Batch) -> list[np.ndarray]:
    """Log-probabilities [C] of each row, or its score [1]."""
    logits = label_logits(model, batch)
    return list((logits if logits.shape[1] == 1 else logits.log_softmax(-1)).cpu().numpy())


# -- tags --------------------------------------------------------------------------------------------------------


def tag_logits(model: nn.Module, batch: Batch) -> Tensor:  # [W, tags]
    assert isinstance(model, TaskModel)
    states = model.encoder(batch["ids"], batch["lengths"], batch.get("segments"), batch["tag_positions"])
    logits: Tensor = model.head(states)
    return logits.float() * model.gain


def tag_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Weighted cross-entropy, summed over the words."""
    each = F.cross_entropy(tag_logits(model, batch), batch["tags"], reduction="none")
    return {"tag": (each * batch["tag_weights"]).sum()}


def tag_outputs(model: nn.Module, batch: Batch) -> list[np.ndarray]:
    """Log-probabilities [u, tags] of the asked words of each row."""
    said = tag_logits(model, batch).log_softmax(-1).cpu().numpy()
    ends = batch["lengths"].cumsum(0)
    asked = torch.searchsorted(batch["tag_positions"].cpu(), ends)  # words before each row's end
    return np.split(said, asked.numpy()[:-1])


# -- spans -------------------------------------------------------------------------------------------------------


def span_scores(model: nn.Module, batch: Batch) -> tuple[Tensor, Layout]:
    """Log-probabilities of start and end within each row [N, 2]; −inf outside [CLS] and the passage."""
    assert isinstance(model, TaskModel)
    lay = layout(batch["lengths"], batch["ids"].device)
    scores = model.head(model.encoder(batch["ids"], lay, batch.get("segments"))).float() * model.gain
    device = scores.device
    rows, sizes = len(batch["lengths"]), batch["lengths"].to(device)
    row = torch.repeat_interleave(torch.arange(rows, device=device), sizes, output_size=lay.tokens)  # [N]
    first, end = batch["passage_positions"].view(-1, 2)[row].unbind(-1)
    place = torch.arange(lay.tokens, device=device)
    allowed = (lay.positions == 0) | ((place >= first) & (place < end))
    scores = scores.masked_fill(~allowed[:, None], float("-inf"))
    index = row[:, None].expand(-1, 2)
    top = scores.new_full((rows, 2), float("-inf")).scatter_reduce(
        0, index, scores.detach(), "amax"
    )  # [R, 2]
    total = scores.new_zeros(rows, 2).index_add(0, row, (scores - top[row]).exp())
    return scores - (top + total.log())[row], lay


def span_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Half the cross-entropy of the first and half that of the last piece, summed over the rows."""
    said, _ = span_scores(model, batch)
    return {
        "start": -0.5 * said[batch["start_positions"], 0].sum(),
        "end": -0.5 * said[batch["end_positions"], 1].sum(),
    }


def span_outputs(model: nn.Module, batch: Batch) -> list[np.ndarray]:
    """Log-probabilities [2, 1 + u] of each row: [CLS], then the passage's pieces."""
    said, lay = span_scores(model, batch)
    table = said.cpu().numpy().T
    starts = lay.starts.tolist()
    return [
        np.concatenate([table[:, start : start + 1], table[:, first:end]], axis=1)
        for start, (first, end) in zip(starts, batch["passage_positions"].view(-1, 2).tolist(), strict=True)
    ]
