"""Thirty steps of every recipe in fp32 give the losses in `tests/golden/thirty.json`, and a small change does not.

Rows, masks, weights, rates and the optimizer are those of a run with the recipe's own settings; the corpus is drawn
into memory, so no tokenizer's training can move the curve. Processors add in other orders, and the difference grows
from step to step: `TOLERANCE` is relative, for the first ten steps and for the rest. That it is tight enough is a
test too: a mask drawn elsewhere, a rate 2 % higher, weights 1 % wider or rows in another order all leave the curve
by far more.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from unmask.jobs.feed import updates
from unmask.optim import Optimizer, rate
from unmask.randomness import generator
from unmask.recipes import RECIPES, Recipe
from unmask.tokens import Vocab
from unmask.train import steps
from unmask.training import Training, resolved

FILE = Path(__file__).resolve().parents[1] / "golden" / "thirty.json"
STEPS, BATCH, LENGTH, SIZE, SEED = 30, 4, 32, 96, 5
TOLERANCE = (2e-5, 1e-3)  # relative: of the first ten steps, of the rest
SPECIAL = np.arange(SIZE) < 5
VOCAB = Vocab(
    size=SIZE, kind="wordpiece", pad=0, unk=1, cls=2, sep=3, mask=4, special=SPECIAL, opens=~SPECIAL
)


class Memory:
    """A corpus in memory: documents of 3 to 9 sentences, in which some tokens are far more frequent."""

    def __init__(self, documents: int = 60) -> None:
        self.tokenizer = SimpleNamespace(vocab=VOCAB)
        self._stored = []
        for number in range(documents):
            rng = generator(7, "corpus", number)
            ends = np.cumsum(rng.integers(3, 13, size=rng.integers(3, 10)))
            drawn = 5 + (SIZE - 5) * rng.random(ends[-1]) ** 4
            self._stored.append(
                SimpleNamespace(
                    tokens=drawn.astype(np.uint16), sentence_ends=ends, word_starts=rng.random(ends[-1]) < 0.7
                )
            )
        self.lengths = np.array([len(stored.tokens) for stored in self._stored])
        self.documents, self.tokens = documents, int(self.lengths.sum())

    def document(self, i: int) -> Any:
        return self._stored[i]


def curve(
    recipe: Recipe,
    *,
    noise: int = 0,
    faster: float = 1.0,
    wider: float = 1.0,
    order: int = SEED,
    count: int = STEPS,
) -> list[float]:
    """The losses of a run; the options are the changes that must be seen."""
    store: Any = Memory()
    training = resolved(recipe, "tiny", Training(steps=STEPS, batch=BATCH, length=LENGTH, seed=SEED))
    torch.manual_seed(SEED)
    model = recipe.network(recipe.shape("tiny", VOCAB, LENGTH), VOCAB).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(wider if parameter.dim() > 1 else 1.0)
    optimizer = Optimizer(
        model.named_parameters(), kind=training.optimizer, weight_decay=training.weight_decay, beta1=training.beta1,
        beta2=training.beta2, working=torch.float32,
    )  # fmt: skip
    plan = {"warmup": training.warmup or 0.0, "decay": training.decay or 0.0}
    losses = steps(
        lambda batch: recipe.loss(model, batch),
        updates(
            recipe,
            recipe.rows(store, LENGTH, order),
            VOCAB,
            batch=BATCH,
            accumulate=1,
            seed=SEED + noise,
            start=0,
        ),
        terms=recipe.TERMS,
        optimizer=optimizer,
        rate=lambda n: faster * training.learning_rate * rate(training.schedule, (n - 0.5) / STEPS, **plan),
        clip=training.clip,
    )
    return [step.loss() for step in islice(losses, count)]


def apart(found: list[float], golden: list[float]) -> tuple[float, float]:
    """The largest relative difference of the first ten steps, and of the rest."""
    differences = np.abs(np.array(found) / np.array(golden[: len(found)]) - 1)
    return float(differences[:10].max()), float(differences[10:].max(initial=0.0))


GOLDEN: dict[str, list[float]] = json.loads(FILE.read_text()) if FILE.exists() else {}


def test_every_recipe_has_a_curve_that_falls() -> None:
    assert GOLDEN.keys() == RECIPES.keys()
    for losses in GOLDEN.values():
        assert len(losses) == STEPS and np.mean(losses[-5:]) < 0.97 * np.mean(losses[:5])


@pytest.mark.parametrize("name", RECIPES)
def test_thirty_steps(name: str) -> None:
    early, late = apart(curve(RECIPES[name]()), GOLDEN[name])
    assert early < TOLERANCE[0] and late < TOLERANCE[1], (early, late)


CHANGES: dict[str, dict[str, Any]] = {
    "masks drawn elsewhere": {"noise": 1},
    "a rate 2 % higher": {"faster": 1.02},
    "weights 1 % wider": {"wider": 1.01},
    "rows in another order": {"order": SEED + 1},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", RECIPES)
def test_a_small_change_is_seen(name: str, change: str) -> None:
    early, _ = apart(curve(RECIPES[name](), count=10, **CHANGES[change]), GOLDEN[name])
    assert early > 5 * TOLERANCE[0], early


def test_another_share_of_masks_is_seen() -> None:
    recipe: Any = RECIPES["modern"]()
    early, _ = apart(curve(replace(recipe, rate=recipe.rate * 1.05), count=10), GOLDEN["modern"])
    assert early > 5 * TOLERANCE[0], early
