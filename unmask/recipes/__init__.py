"""Recipes: what a model sees of a text, what it must say, and how that is scored. One frozen dataclass a file.

A recipe's fields are its settings, its flags and its JSON; their types and help texts are read from the annotations.
Importing this needs no torch: only `network` and `loss` do.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from unmask.models import Shape
from unmask.recipes.albert import Albert
from unmask.recipes.bert import Bert
from unmask.recipes.modern import Modern
from unmask.recipes.parts import Example
from unmask.recipes.roberta import Roberta
from unmask.rows import Row, Rows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.store import Store
    from unmask.tokens import Vocab


class Recipe(Protocol):
    """The contract. Everything but `network` and `loss` is NumPy; everything is pure."""

    NAME: ClassVar[str]
    FAMILY: ClassVar[str]  # how its model/ is written: "bert", "roberta", "albert", "modernbert"
    TERMS: ClassVar[dict[str, str]]  # loss term → the array of the example whose entries it is averaged over

    def rows(self, store: Store, length: int, seed: int) -> Rows:
        """The rows it reads, of at most `length` tokens."""
        ...

    def example(self, row: Row, vocab: Vocab, rng: np.random.Generator) -> Example:
        """What the model sees of a row, and what it must say."""
        ...

    def shape(self, size: str, vocab: Vocab, length: int) -> Shape:
        """The network's shape at a size, for rows of `length` tokens."""
        ...

    def network(self, shape: Shape, vocab: Vocab) -> nn.Module:
        """Encoder (`.encoder`) and heads (`.head`, `.pair`), with fresh weights."""
        ...

    def loss(self, model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sums by term, never means; entries not in TERMS ("mlm_correct") are counts to report."""
        ...

    def training(self, size: str) -> dict[str, Any]:
        """Its values for the fields of the training settings that are left open."""
        ...


RECIPES: dict[str, type[Bert] | type[Roberta] | type[Albert] | type[Modern]] = {
    "bert": Bert,
    "roberta": Roberta,
    "albert": Albert,
    "modern": Modern,
}

HEADINGS = ("Sees", "Says", "Scored", "Differs", "Relations")


def headings(recipe: type) -> dict[str, str]:
    """What a recipe's docstring says under each heading, as one line of text."""
    parts = re.split(r"^\*\*(\w+)\*\*", inspect.getdoc(recipe) or "", flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def table() -> str:
    """Which recipe sees, says and is scored by what: a Markdown table from the recipes' docstrings."""
    lines = [
        "| recipe | " + " | ".join(h.lower() for h in HEADINGS) + " |",
        "|---" * (len(HEADINGS) + 1) + "|",
    ]
    for name, recipe in RECIPES.items():
        said = headings(recipe)
        lines.append(f"| `{name}` | " + " | ".join(said[h].replace("|", "\\|") for h in HEADINGS) + " |")
    return "\n".join(lines) + "\n"
