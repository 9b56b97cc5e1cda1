"""Modern: masked tokens at a rate of 30 % in a pre-norm, rotary, gated network without biases.

Source: ModernBERT (Warner et al. 2024, section 2 and appendix A); the rate and its reasons: Wettig et al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

import numpy as np

from unmask.models import Shape, sized
from unmask.noise import disturb
from unmask.recipes.parts import Example, Unit, check_choice, check_noise, chosen, example_of
from unmask.rows import Row, Rows, windows

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.recipes.network import Network
    from unmask.store import Store
    from unmask.tokens import Vocab


@dataclass(frozen=True)
class Modern:
    """Masked language modelling as one would do it now: the quickest to a good model on any text.

    **Sees** windows filled with pieces of documents, each [CLS] piece [SEP] and blind to the others; 30 % of the tokens
    chosen: 80 % of those shown as [MASK], 10 % as a random token, 10 % as they are.
    **Says** the original token at every chosen position.
    **Scored** by the mean cross-entropy over chosen positions.
    **Differs** from the original: the number of chosen tokens is exact, special tokens are never chosen and never drawn
    as random ones, a document goes on in the next window where one is full. The small sizes are our own.
    **Relations** RoBERTa with twice the rate, isolated documents and a later network. `unit` word is whole-word
    masking, `unit` span SpanBERT's masking (one fate a span).
    """

    NAME: ClassVar[str] = "modern"
    FAMILY: ClassVar[str] = "modernbert"
    TERMS: ClassVar[dict[str, str]] = {"mlm": "targets"}

    rate: Annotated[float, "share of the tokens chosen, above 0 to 1"] = 0.3
    mask: Annotated[float, "share of the chosen shown as [MASK], 0 to 1"] = 0.8
    swap: Annotated[float, "share of the chosen shown as a random token, 0 to 1; the rest is kept"] = 0.1
    unit: Annotated[Unit, "what is chosen: a token, a whole word, or a span of 1 to 10 words"] = "token"

    def __post_init__(self) -> None:
        check_noise(self.rate, self.mask, self.swap)
        check_choice("unit", self.unit, get_args(Unit))

    def rows(self, store: Store, length: int, seed: int) -> Rows:
        """Windows of isolated pieces."""
        return windows(store, length, seed, isolate=True)

    def example(self, row: Row, vocab: Vocab, rng: np.random.Generator) -> Example:
        """What is seen of the row and what must be said; random tokens are never special ones."""
        positions = chosen(row, self.unit, self.rate, rng)
        together = self.unit == "span"
        seen = disturb(
            row.ids,
            positions,
            rng,
            vocab,
            mask=self.mask,
            swap=self.swap,
            together=together,
            never=vocab.special,
        )
        return example_of(row, seen, positions)

    def shape(self, size: str, vocab: Vocab, length: int) -> Shape:
        """ModernBERT's shape with a plain head; rotary positions need no table, so 512 tokens are allowed at once.

        The dense layer and activation before the table cost most of a short run: 6.40 against 5.13 nats after 300
        steps of mini (docs/log.md). In a folder for transformers they are the identity.
        """
        return replace(sized(self.FAMILY, size, vocab.size, max(length, 512)), head="plain")

    def network(self, shape: Shape, vocab: Vocab) -> Network:
        """Encoder and masked-LM head."""
        from unmask.recipes.network import Network

        return Network(shape, pair=False)

    def loss(self, model: Network, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sum of the term, and how many guesses are right."""
        from unmask.recipes.network import masked_loss

        return masked_loss(model, batch)

    def training(self, size: str) -> dict[str, Any]:
        """Base and large: the paper's rates, moments and trapezoid. Smaller: ours, for time on small machines.

        Muon is ahead in the loss at equal time, and its bodies are worse at tasks (docs/decisions/0009-muon.md).
        """
        return TRAPEZOID | SIZES[size]


TRAPEZOID: dict[str, Any] = {
    "optimizer": "adamw",
    "schedule": "trapezoid",
    "warmup": 0.02,
    "decay": 0.4,
    "weight_decay": 0.01,  # the paper's 1e-5 is for 2 T tokens; this is BERT's
    "beta1": 0.9,
    "beta2": 0.98,
    "clip": 1.0,
    "length": 128,
}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"learning_rate": 3e-3, "batch": 16},
    "mini": {"learning_rate": 3e-3, "batch": 16},
    "small": {"learning_rate": 2e-3, "batch": 32},
    "medium": {"learning_rate": 1.5e-3, "batch": 64},
    "base": {"learning_rate": 8e-4, "batch": 768},
    "large": {"learning_rate": 5e-4, "batch": 448},
}
