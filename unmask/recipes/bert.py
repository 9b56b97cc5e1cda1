"""BERT: masked tokens and next sentences.

Source: Devlin et al. 2019, sections 3.1 and A.1; google-research/bert, `create_pretraining_data`, for what the paper
leaves open (the exact count, put-back, one-sentence chunks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import numpy as np

from unmask.models import Shape, sized
from unmask.noise import disturb
from unmask.recipes.parts import (
    POST_NORM,
    POST_NORM_SIZES,
    Example,
    Unit,
    check_choice,
    check_noise,
    check_weight,
    chosen,
    example_of,
    pair_of,
)
from unmask.rows import Row, Rows, sentence_pairs, windows

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.recipes.network import Network
    from unmask.store import Store
    from unmask.tokens import Vocab

Pairs = Literal["next", "order", "none"]


@dataclass(frozen=True)
class Bert:
    """Masked language modelling with sentence pairs.

    **Sees** two parts of text as [CLS] A [SEP] B [SEP], 15 % of the tokens chosen: 80 % of those shown as [MASK],
    10 % as a random token, 10 % as they are; half of the second parts are from another document.
    **Says** the original token at every chosen position, and whether the second part follows the first.
    **Scored** by the mean cross-entropy over chosen tokens plus `pair_weight` times that over pairs.
    **Differs** from the original: masks and pairs are drawn anew each epoch, not ten times beforehand; no cap of 20
    chosen tokens a row; no dropout; a wrong partner is never from the same document.
    **Relations** RoBERTa is this without pairs, ALBERT with n-grams and order instead of next. `unit` word is
    whole-word masking (BERT-wwm in Chinese), `unit` span SpanBERT's masking (one fate a span; its
    boundary objective is not here), `pairs` none reads isolated windows of single documents.
    """

    NAME: ClassVar[str] = "bert"
    FAMILY: ClassVar[str] = "bert"
    TERMS: ClassVar[dict[str, str]] = {"mlm": "targets", "next": "next_labels", "order": "order_labels"}

    rate: Annotated[float, "share of the tokens chosen, above 0 to 1"] = 0.15
    mask: Annotated[float, "share of the chosen shown as [MASK], 0 to 1"] = 0.8
    swap: Annotated[float, "share of the chosen shown as a random token, 0 to 1; the rest is kept"] = 0.1
    unit: Annotated[Unit, "what is chosen: a token, a whole word, or a span of 1 to 10 words"] = "token"
    pairs: Annotated[Pairs, "what the second part is: next or random, in order or swapped, or none"] = "next"
    pair_weight: Annotated[float, "weight of the pairs' term, 0 or more; 1 in the paper"] = 1.0

    def __post_init__(self) -> None:
        check_noise(self.rate, self.mask, self.swap)
        check_choice("unit", self.unit, get_args(Unit))
        check_choice("pairs", self.pairs, get_args(Pairs))
        check_weight(self.pair_weight)

    def rows(self, store: Store, length: int, seed: int) -> Rows:
        """Pairs of text parts, or isolated windows."""
        if self.pairs == "none":
            return windows(store, length, seed, isolate=True)
        return sentence_pairs(store, length, seed, self.pairs)

    def example(self, row: Row, vocab: Vocab, rng: np.random.Generator) -> Example:
        """What is seen of the row and what must be said; random tokens are from the whole vocabulary."""
        positions = chosen(row, self.unit, self.rate, rng)
        seen = disturb(
            row.ids, positions, rng, vocab, mask=self.mask, swap=self.swap, together=self.unit == "span"
        )
        return example_of(row, seen, positions) | pair_of(row, self.pairs, ("next", "order"))

    def shape(self, size: str, vocab: Vocab, length: int) -> Shape:
        """BERT's shape: post-norm, learned positions, two segments."""
        return sized(self.FAMILY, size, vocab.size, length)

    def network(self, shape: Shape, vocab: Vocab) -> Network:
        """Encoder, masked-LM head and, with pairs, pooler and two classes."""
        from unmask.recipes.network import Network

        return Network(shape, pair=self.pairs != "none")

    def loss(self, model: Network, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sums of the terms, and how many guesses are right."""
        from unmask.recipes.network import masked_and_pair_loss, masked_loss

        if self.pairs == "none":
            return masked_loss(model, batch)
        return masked_and_pair_loss(model, batch, self.pairs, self.pair_weight)

    def training(self, size: str) -> dict[str, Any]:
        """Base and large: the paper's A.2. Smaller: a post-norm network of few layers bears ten times the rate."""
        return POST_NORM | POST_NORM_SIZES[size]
