"""What stands on the encoder: the masked-LM head, sentence pairs, classes, tags, spans.

Sources: BERT (Devlin et al. 2019, sections 3.1 and 4), ALBERT (Lan et al. 2020, 3.1), RoBERTa's and
ModernBERT's fine-tuning code; "compare" is the sentence-pair head of Mou et al. 2016 and InferSent (Conneau
et al. 2017). Heads take packed states, and a `Layout` where they must know rows. Those that read only first
tokens say so in `asks`, and the encoder then works out no others: `head(encoder(ids, lay,
keep=head.asks(lay)), lay)`.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from unmask.batch import Layout
from unmask.errors import UnmaskError, nearest
from unmask.models import Shape
from unmask.models.encoder import Encoder
from unmask.models.layers import ACTIVATIONS, affine, drop, filler, lengthen, start_small
from unmask.models.losses import classes_loss, tokens_loss

Style = Literal[
    "pooler", "dense", "normed", "normed_mean", "mean", "asked", "compare", "layers_mean", "layers_compare"
]
#: how each family classifies a row
STYLES: dict[str, Style] = {"bert": "pooler", "albert": "pooler", "roberta": "dense", "modernbert": "normed"}


#: this close to 0 GELU is nearly linear, and the norm undoes the scale: a dense layer of so much identity says nothing
AS_IF_ABSENT = 0.1


class TokensHead(nn.Module):
    """Which token stands here: dense, activation, norm, then the encoder's own embedding table and a bias.

    A square dense layer of a post-norm body starts as if it were not there. Differs from BERT, whose starts at random
    and must first be learnt to point where the table points: 6.93 against 6.83 nats after a minute (docs/log.md).
    dense=False leaves the table and bias alone; a shape with a plain head leaves norm, table and bias. The table is
    the encoder's parameter and is not in this module's state, so a saved model holds it once.
    """

    def __init__(self, encoder: Encoder, dense: bool = True) -> None:
        super().__init__()
        shape = encoder.shape
        if not dense and shape.embedding:
            raise UnmaskError(
                f"states are {shape.width} wide, the table {shape.embedding} — without the dense layer they must be "
                "equal — keep the dense layer."
            )
        self.activation = shape.activation
        self._encoder = (encoder,)  # in a tuple, so that it is not a part of this module
        plain = shape.head == "plain"
        self.dense = nn.Linear(shape.width, shape.table_width, shape.bias) if dense and not plain else None
        self.norm = nn.LayerNorm(shape.table_width, shape.eps, bias=shape.bias) if dense else None
        self.bias = nn.Parameter(torch.zeros(shape.vocab))
        if self.dense is not None:
            start_small(self.dense, 0.02 / (2 * shape.layers) ** 0.5 if shape.norm == "pre" else 0.02)
            square, linear = shape.width == shape.table_width, shape.activation != "relu2"
            if shape.norm == "post" and square and linear:
                with torch.no_grad():
                    nn.init.eye_(self.dense.weight).mul_(AS_IF_ABSENT)

    @property
    def matrix(self) -> Tensor:
        """The tied table [V, E]."""
        return self._encoder[0].tokens.weight

    def transform(self, states: Tensor) -> Tensor:
        """What the table is multiplied with: [P, H] -> [P, E]."""
        if self.dense is not None:
            states = affine(states, self.dense.weight, self.dense.bias, self.activation)
        return states if self.norm is None else self.norm(states)

    def forward(self, states: Tensor) -> Tensor:
        """Logits: [P, H] -> [P, V]."""
        return nn.functional.linear(self.transform(states), self.matrix, self.bias)

    def loss(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy in nats and the count of right first guesses: [P, H], [P] -> two scalars."""
        states = lengthen(states, filler(states))
        return tokens_loss(self.transform(states), self.matrix, self.bias, targets)


class Pooler(nn.Module):
    """Dense and tanh on the first token (BERT's [CLS])."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.width, shape.width)
        start_small(self.dense)

    def forward(self, first: Tensor) -> Tensor:
        """[R, H] -> [R, H]."""
        return torch.tanh(self.dense(first))


class PairHead(nn.Module):
    """Next sentence (BERT) or sentence order (ALBERT): pooler, then two classes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.pooler = Pooler(shape)
        self.out = nn.Linear(shape.width, 2)
        start_small(self.out)

    def forward(self, first: Tensor) -> Tensor:
        """States of the first tokens [R, H] -> logits [R, 2]."""
        out: Tensor = self.out(self.pooler(first))
        return out

    def loss(self, first: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy and the count of right guesses: [R, H], [R] -> two scalars."""
        return classes_loss(self(first), targets)


class NormedDense(nn.Module):
    """Dense, activation, norm: what ModernBERT puts before each of its classifiers; of a plain head the norm alone."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.activation = shape.activation
        self.dense = nn.Linear(shape.width, shape.width, shape.bias) if shape.head == "dense" else None
        self.norm = nn.LayerNorm(shape.width, shape.eps, bias=shape.bias)
        if self.dense is not None:
            start_small(self.dense, 0.02 / (2 * shape.layers) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[R, H] -> [R, H]."""
        if self.dense is not None:
            x = ACTIVATIONS[self.activation](self.dense(x))
        out: Tensor = self.norm(x)
        return out


class ClassifyHead(nn.Module):
    """One answer a row (or a row of two segments); one class is a number.

    styles: "pooler" (BERT, ALBERT: pooler, dropout, linear), "dense" (RoBERTa: dropout, dense, tanh, dropout,
    linear), "asked" (one token of the row that the caller names, such as its blank; normed where the encoder is
    pre-norm), "normed" (ModernBERT: dense, activation, norm, dropout, linear; "normed_mean" on the mean of the
    row), "mean" (mean of the row, dropout, linear), "compare" (segment means u and v: [u, v, |u - v|, u * v],
    dropout, linear), "layers_mean" and "layers_compare" (the same over embeddings and last layer together, see
    `Encoder.forward`; "layers_mean" normed where the encoder is pre-norm). Unknown styles raise `UnmaskError`.
    """

    def __init__(self, shape: Shape, classes: int, style: Style, dropout: float = 0.1) -> None:
        super().__init__()
        if style not in get_args(Style):
            raise UnmaskError(
                f'style "{style}" — expected one of {", ".join(get_args(Style))} — choose one.'
                + nearest(style, get_args(Style))
            )
        self.style: Style = style
        self.classes = classes
        self.dropout = dropout
        self.first: Pooler | NormedDense | None = None
        if style in ("pooler", "dense"):
            self.first = Pooler(shape)
        elif style in ("normed", "normed_mean") or (
            style in ("asked", "layers_mean") and shape.norm == "pre"
        ):
            self.first = NormedDense(shape)
        self.out = nn.Linear(shape.width * (4 if self.compares else 1), classes)
        start_small(self.out, shape.width**-0.5 if shape.norm == "pre" else 0.02)

    @property
    def compares(self) -> bool:
        """Whether it reads two parts of a row."""
        return self.style in ("compare", "layers_compare")

    @property
    def mixes(self) -> bool:
        """Whether it wants embeddings and last layer together of the encoder."""
        return self.style in ("layers_mean", "layers_compare")

    def asks(self, lay: Layout) -> Tensor | None:
        """The positions whose states it reads, for the encoder's `keep`; None for all."""
        return lay.starts if self.style in ("pooler", "dense", "normed") else None

    def forward(self, states: Tensor, lay: Layout, segments: Tensor | None = None) -> Tensor:
        """States of the positions in `asks` [R or N, H], segments [N] for two parts -> logits [R, classes]."""
        rate = self.dropout if self.training else 0.0
        if self.compares:
            if segments is None:
                raise UnmaskError(
                    f'style "{self.style}" without segments — it compares two segments — give pairs.'
                )
            u, v = means(states, lay, segments).unbind(1)
            x = torch.cat((u, v, (u - v).abs(), u * v), -1)
        elif self.style in ("mean", "normed_mean", "layers_mean"):
            x = means(states, lay)[:, 0]
        else:
            x = states
        if self.style == "dense":
            x = drop(x, rate)
        if self.first is not None:
            x = self.first(x)
        out: Tensor = self.out(drop(x, rate))
        return out

    def loss(
        self, states: Tensor, lay: Layout, targets: Tensor, segments: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy and the count of right guesses; targets [R]."""
        return classes_loss(self(states, lay, segments), targets)


def means(states: Tensor, lay: Layout, segments: Tensor | None = None) -> Tensor:
    """Means of the rows [R, 1, H], or of their two segments [R, 2, H] (zeros for an empty one), added up in fp32."""
    parts, rows = (1 if segments is None else 2), len(lay.starts)
    sizes = lay.lengths.to(states.device)
    part = (
        torch.repeat_interleave(torch.arange(rows, device=states.device), sizes, output_size=lay.tokens)
        * parts
    )
    if segments is not None:
        part = part + segments
    total = states.new_zeros((rows * parts, states.shape[-1]), dtype=torch.float32).index_add(
        0, part, states.float()
    )
    count = torch.bincount(part, minlength=rows * parts).clamp(min=1)[:, None]
    return (total / count).to(states.dtype).view(rows, parts, -1)


class TagHead(nn.Module):
    """One class a token: dropout and linear; after ModernBERT's dense and norm where the encoder is pre-norm."""

    def __init__(self, shape: Shape, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.classes = classes
        self.dropout = dropout
        self.first = NormedDense(shape) if shape.norm == "pre" else None
        self.out = nn.Linear(shape.width, classes)
        start_small(self.out, shape.width**-0.5 if shape.norm == "pre" else 0.02)

    def forward(self, states: Tensor) -> Tensor:
        """[P, H] -> [P, classes]."""
        x = states if self.first is None else self.first(states)
        out: Tensor = self.out(drop(x, self.dropout if self.training else 0.0))
        return out

    def loss(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy and the count of right guesses: [P, H], [P] -> two scalars."""
        return classes_loss(self(states), targets)


class SpanHead(nn.Module):
    """Where an answer starts and ends: linear to two scores (BERT, section 4.2), pre-norm as in `TagHead`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.first = NormedDense(shape) if shape.norm == "pre" else None
        self.out = nn.Linear(shape.width, 2)
        start_small(self.out, shape.width**-0.5 if shape.norm == "pre" else 0.02)

    def forward(self, states: Tensor) -> Tensor:
        """[N, H] -> scores of start and end [N, 2]."""
        out: Tensor = self.out(states if self.first is None else self.first(states))
        return out
