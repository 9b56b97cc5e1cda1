"""RoBERTa: masked tokens alone, over rows full of sentences.

Source: Liu et al. 2019, sections 3 and 4; fairseq, `token_block_utils`, `mask_tokens_dataset` and the roberta
configurations, for what the paper leaves open (the rounding, maskable special tokens, the pool of random tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from unmask.models import Shape, sized
from unmask.noise import choose_tokens, disturb, rounded_count
from unmask.recipes.parts import POST_NORM, POST_NORM_SIZES, Example, check_noise, example_of
from unmask.rows import Row, Rows, full_sentences

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.recipes.network import Network
    from unmask.store import Store
    from unmask.tokens import Vocab


@dataclass(frozen=True)
class Roberta:
    """Masked language modelling without sentence pairs.

    **Sees** whole sentences until the row is full, over the ends of documents, [SEP] between those; 15 % of all
    tokens chosen, [CLS] and [SEP] too: 80 % of those shown as [MASK], 10 % as a random token, 10 % as they are.
    **Says** the original token at every chosen position.
    **Scored** by the mean cross-entropy over chosen positions.
    **Differs** from the original: no dropout; a sentence longer than a row is split; [SEP] stands between documents, as
    the paper says, not after every line.
    **Relations** BERT without its pairs, with masks drawn anew each epoch (here BERT's are, too). The number of
    chosen tokens is rounded up or down by chance, so a very short row may have none.
    """

    NAME: ClassVar[str] = "roberta"
    FAMILY: ClassVar[str] = "roberta"
    TERMS: ClassVar[dict[str, str]] = {"mlm": "targets"}

    rate: Annotated[float, "share of the tokens chosen, above 0 to 1"] = 0.15
    mask: Annotated[float, "share of the chosen shown as [MASK], 0 to 1"] = 0.8
    swap: Annotated[float, "share of the chosen shown as a random token, 0 to 1; the rest is kept"] = 0.1

    def __post_init__(self) -> None:
        check_noise(self.rate, self.mask, self.swap)

    def rows(self, store: Store, length: int, seed: int) -> Rows:
        """FULL-SENTENCES."""
        return full_sentences(store, length, seed)

    def example(self, row: Row, vocab: Vocab, rng: np.random.Generator) -> Example:
        """What is seen of the row and what must be said. As in fairseq, a random token may be the mask itself."""
        positions = choose_tokens(np.arange(len(row.ids)), rounded_count(len(row.ids), self.rate, rng), rng)
        never = np.zeros(vocab.size, dtype=bool)
        never[[vocab.cls, vocab.pad, vocab.sep, vocab.unk]] = True
        seen = disturb(row.ids, positions, rng, vocab, mask=self.mask, swap=self.swap, never=never)
        return example_of(row, seen, positions)

    def shape(self, size: str, vocab: Vocab, length: int) -> Shape:
        """RoBERTa's shape: post-norm, learned positions from number 2 on, one segment."""
        return sized(self.FAMILY, size, vocab.size, length)

    def network(self, shape: Shape, vocab: Vocab) -> Network:
        """Encoder and masked-LM head."""
        from unmask.recipes.network import Network

        return Network(shape, pair=False)

    def loss(self, model: Network, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sum of the term, and how many guesses are right."""
        from unmask.recipes.network import masked_loss

        return masked_loss(model, batch)

    def training(self, size: str) -> dict[str, Any]:
        """Rates for small batches are BERT's (the paper's 6e-4 goes with 8192 rows); second moment .98 (table 9)."""
        return POST_NORM | POST_NORM_SIZES[size] | {"beta2": 0.98}
