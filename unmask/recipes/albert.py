"""ALBERT: masked n-grams and sentence order, in a network of one shared layer and a narrow table.

Source: Lan et al. 2020, sections 3.1 and 4.1; google-research/albert, `create_pretraining_data`, for what the paper
leaves open (one-sentence chunks, how n-grams are made to fit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from unmask.errors import UnmaskError
from unmask.models import Shape, sized
from unmask.noise import choose_ngrams, disturb, exact_count, words_of
from unmask.recipes.parts import (
    POST_NORM,
    POST_NORM_SIZES,
    Example,
    check_noise,
    check_weight,
    example_of,
    pair_of,
)
from unmask.rows import Row, Rows, sentence_pairs

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.recipes.network import Network
    from unmask.store import Store
    from unmask.tokens import Vocab


@dataclass(frozen=True)
class Albert:
    """Masked n-grams with sentence order.

    **Sees** two neighbouring parts of a document, [CLS] A [SEP] B [SEP], half of them in the wrong order; 15 % of the
    tokens chosen as n-grams of 1 to 3 words: 80 % shown as [MASK], 10 % as a random token, 10 % as they are.
    **Says** the original token at every chosen position, and whether the two parts are in order.
    **Scored** by the mean cross-entropy over chosen tokens plus `pair_weight` times that over pairs.
    **Differs** from the original: no cap of 20 chosen tokens a row, and no dropout (as in its version 2); words are the
    tokenizer's; AdamW instead of LAMB, which is for batches of thousands of rows. A lone sentence gets a
    partner from another document and counts as not in order, as in the original code, not in the paper.
    **Relations** BERT with order instead of next, n-grams instead of tokens, all layers one layer, and tables of
    width 128: `bert` with `pairs` order and `unit` word is this recipe on BERT's network, but for the n-grams.
    """

    NAME: ClassVar[str] = "albert"
    FAMILY: ClassVar[str] = "albert"
    TERMS: ClassVar[dict[str, str]] = {"mlm": "targets", "order": "order_labels"}

    rate: Annotated[float, "share of the tokens chosen, above 0 to 1"] = 0.15
    mask: Annotated[float, "share of the chosen shown as [MASK], 0 to 1"] = 0.8
    swap: Annotated[float, "share of the chosen shown as a random token, 0 to 1; the rest is kept"] = 0.1
    longest: Annotated[
        int, "words of the longest n-gram, 1 or more; n has probability in proportion to 1/n"
    ] = 3
    pair_weight: Annotated[float, "weight of the order term, 0 or more; 1 in the paper"] = 1.0

    def __post_init__(self) -> None:
        check_noise(self.rate, self.mask, self.swap)
        check_weight(self.pair_weight)
        if self.longest < 1:
            raise UnmaskError(f"longest is {self.longest} — 1 word or more was expected — mend longest.")

    def rows(self, store: Store, length: int, seed: int) -> Rows:
        """Pairs of neighbouring parts, in order or swapped."""
        return sentence_pairs(store, length, seed, "order")

    def example(self, row: Row, vocab: Vocab, rng: np.random.Generator) -> Example:
        """What is seen of the row and what must be said; random tokens are from the whole vocabulary."""
        words = words_of(row.special, row.word_starts)
        positions = choose_ngrams(words, exact_count(len(row.ids), self.rate), self.longest, rng)
        seen = disturb(row.ids, positions, rng, vocab, mask=self.mask, swap=self.swap)
        return example_of(row, seen, positions) | pair_of(row, "order", ("order",))

    def shape(self, size: str, vocab: Vocab, length: int) -> Shape:
        """ALBERT's shape: one post-norm layer used again and again, tables of width 128."""
        return sized(self.FAMILY, size, vocab.size, length)

    def network(self, shape: Shape, vocab: Vocab) -> Network:
        """Encoder, masked-LM head, pooler and two classes."""
        from unmask.recipes.network import Network

        return Network(shape, pair=True)

    def loss(self, model: Network, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sums of both terms, and how many guesses are right."""
        from unmask.recipes.network import masked_and_pair_loss

        return masked_and_pair_loss(model, batch, "order", self.pair_weight)

    def training(self, size: str) -> dict[str, Any]:
        """BERT's values: the paper's 1.76e-3 is LAMB's, for 4096 rows."""
        return POST_NORM | POST_NORM_SIZES[size]
