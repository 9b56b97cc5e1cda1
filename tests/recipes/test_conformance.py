"""What every recipe must do, over every entry of the table and the settings that change its way.

Pure, JSON and back, targets are the original ids, special tokens untouched where the paper says so, the shares,
micro-batches and packing that change nothing, gradients everywhere, a loss that falls.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch

from unmask.batch import collate
from unmask.errors import UnmaskError
from unmask.models import Shape
from unmask.randomness import generator
from unmask.recipes import HEADINGS, RECIPES, headings, table
from unmask.settings import from_json, to_json
from unmask.tokens import Vocab

SIZE = 48
SPECIAL = np.arange(SIZE) < 5
VOCAB = Vocab(
    size=SIZE, kind="wordpiece", pad=0, unk=1, cls=2, sep=3, mask=4, special=SPECIAL, opens=~SPECIAL
)
LENGTH = 32


class Memory:
    """A corpus in memory with what rows read of a store: random documents of 2 to 9 sentences of 3 to 12 tokens."""

    def __init__(self, documents: int = 40) -> None:
        self.tokenizer = SimpleNamespace(vocab=VOCAB)
        self._stored = []
        for number in range(documents):
            rng = generator(11, "corpus", number)
            ends = np.cumsum(rng.integers(3, 13, size=rng.integers(2, 10)))
            tokens = rng.integers(5, SIZE, size=ends[-1]).astype(np.uint16)
            starts = rng.random(ends[-1]) < 0.7
            self._stored.append(SimpleNamespace(tokens=tokens, sentence_ends=ends, word_starts=starts))
        self.lengths = np.array([len(stored.tokens) for stored in self._stored])
        self.documents, self.tokens = documents, int(self.lengths.sum())

    def document(self, i: int) -> Any:
        return self._stored[i]


STORE: Any = Memory()
CASES: dict[str, Any] = {name: recipe() for name, recipe in RECIPES.items()} | {
    "bert word order": RECIPES["bert"](unit="word", pairs="order", pair_weight=0.5),  # type: ignore[call-arg]
    "bert span none": RECIPES["bert"](unit="span", pairs="none"),  # type: ignore[call-arg]
    "modern word": RECIPES["modern"](unit="word"),  # type: ignore[call-arg]
    "modern span": RECIPES["modern"](unit="span"),  # type: ignore[call-arg]
}
MASKS_SPECIALS = {"roberta"}  # RoBERTa alone; ModernBERT does too, but `modern` says that it differs there

every = pytest.mark.parametrize("name", CASES)


def tiny(recipe: Any) -> Shape:
    return replace(recipe.shape("tiny", VOCAB, LENGTH), width=32, heads=2, inner=64)


def network(recipe: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return recipe.network(tiny(recipe), VOCAB)


def examples(recipe: Any, count: int, seed: int = 0) -> list[Any]:
    rows = recipe.rows(STORE, LENGTH, seed)
    return [recipe.example(rows(n), VOCAB, generator(seed, "noise", n)) for n in range(count)]


def mean_loss(recipe: Any, model: Any, batch: Any, counts: dict[str, int]) -> torch.Tensor:
    parts = recipe.loss(model, batch)
    return torch.stack([parts[term] / counts[term] for term in recipe.TERMS if counts[term]]).sum()


def count(recipe: Any, batch: Any) -> dict[str, int]:
    return {term: len(batch[array]) for term, array in recipe.TERMS.items()}


@every
def test_pure(name: str) -> None:
    recipe = CASES[name]
    first, again = examples(recipe, 4), examples(recipe, 4)
    for a, b in zip(first, again, strict=True):
        assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
    row = recipe.rows(STORE, LENGTH, 0)(0)
    before = row.ids.copy()
    noisy = [recipe.example(row, VOCAB, generator(0, "noise", n))["ids"] for n in range(8)]
    assert (row.ids == before).all() and any(not np.array_equal(noisy[0], other) for other in noisy)


@every
def test_json_and_back(name: str) -> None:
    recipe = CASES[name]
    assert from_json(type(recipe), json.loads(json.dumps(to_json(recipe))), "here") == recipe


@every
def test_every_setting_has_a_help_text_and_changes_something(name: str) -> None:
    recipe = CASES[name]
    other = {"rate": 0.5, "mask": 0.2, "swap": 0.0, "unit": "word", "pairs": "order", "longest": 1}
    if getattr(recipe, "unit", "") == "word":
        other["unit"] = "token"
    if getattr(recipe, "pairs", "") == "order":
        other["pairs"] = "next"
    for field in fields(recipe):
        if field.name == "pair_weight":
            if getattr(recipe, "pairs", "") == "none":
                continue
            batch, model = collate(examples(recipe, 2)), network(recipe)
            term = getattr(recipe, "pairs", "order")
            once, twice = (replace(recipe, pair_weight=w).loss(model, batch)[term] for w in (1.0, 2.0))
            assert torch.allclose(2 * once, twice) and once > 0
            continue
        before = examples(recipe, 40)
        after = examples(replace(recipe, **{field.name: other[field.name]}), 40)
        assert any(
            not np.array_equal(a[key], b[key]) for a, b in zip(before, after, strict=True) for key in a
        )
    hints = get_type_hints(type(recipe), include_extras=True)
    for field in fields(recipe):
        assert len(hints[field.name].__metadata__[0]) > 10


@every
def test_targets_are_the_original_ids(name: str) -> None:
    recipe = CASES[name]
    rows = recipe.rows(STORE, LENGTH, 0)
    for n in range(200):
        row = rows(n)
        example = recipe.example(row, VOCAB, generator(0, "noise", n))
        positions = example["positions"]
        assert (np.diff(positions) > 0).all() and len(example["ids"]) == len(row.ids) <= LENGTH
        assert (example["targets"] == row.ids[positions]).all()
        untouched = np.delete(np.arange(len(row.ids)), positions)
        assert (example["ids"][untouched] == row.ids[untouched]).all()
        assert example["lengths"].sum() == len(row.ids)
        if recipe.NAME not in MASKS_SPECIALS:
            assert len(positions) and not row.special[positions].any()
        assert all(array in example for array in recipe.TERMS.values())


@every
def test_shares_of_the_chosen(name: str) -> None:
    """The shares of mask, swap and keep over 1e4 to 1e5 chosen tokens; the share chosen against its own count."""
    recipe = CASES[name]
    rows = recipe.rows(STORE, LENGTH, 0)
    cached = [rows(n) for n in range(len(rows))]
    chosen = masked = kept = tokens = units = 0
    specials = 0
    for n in range(100_000 // LENGTH):
        row = cached[n % len(cached)]
        example = recipe.example(row, VOCAB, generator(1, "noise", n))
        positions = example["positions"]
        seen = example["ids"][positions]
        chosen += len(positions)
        tokens += len(row.ids) if getattr(recipe, "unit", "token") != "span" else int((~row.special).sum())
        masked += int((seen == VOCAB.mask).sum())
        kept += int((seen == row.ids[positions]).sum())
        units += (
            len(positions)
            if getattr(recipe, "unit", "token") != "span"
            else 1 + int((np.diff(positions) > 1).sum())
        )
        specials += int(row.special[positions].sum())
        if recipe.NAME == "modern":
            assert not SPECIAL[seen[seen != VOCAB.mask]].any()
    spread = 4 * (0.16 / units) ** 0.5 * (1 if units == chosen else 2)  # spans differ in length
    pool = SIZE if recipe.NAME in ("bert", "albert") else SIZE - 4 if recipe.NAME == "roberta" else SIZE - 5
    by_chance = (
        0.0 if recipe.NAME == "modern" else 0.1 / pool
    )  # a random token may be the mask or the original
    assert abs(masked / chosen - 0.8 - by_chance) < spread
    assert abs(kept / chosen - 0.1 - (0.1 / pool)) < spread
    # The exact count rounds a row's number, and words and n-grams may leave a little of it unused.
    if recipe.NAME == "roberta":  # no bias at all: rounded by chance
        assert abs(chosen / tokens - 0.15) < 4 * (0.15 * 0.85 / tokens) ** 0.5
        assert specials > 0
    else:
        assert abs(chosen / tokens - recipe.rate) < (
            0.03 if getattr(recipe, "unit", "token") == "span" else 0.012
        )


@pytest.mark.parametrize("name", ["bert span none", "modern span"])
def test_a_span_has_one_fate(name: str) -> None:
    recipe = replace(CASES[name], swap=0.0)
    runs = 0
    for example in examples(recipe, 100):
        masked = example["ids"][example["positions"]] == VOCAB.mask
        for run in np.split(masked, np.flatnonzero(np.diff(example["positions"]) > 1) + 1):
            assert run.all() or not run.any()
            runs += 0 < len(run) - 1
    assert runs > 100


@every
def test_micro_batches_are_one_batch(name: str) -> None:
    recipe = CASES[name]
    items = examples(recipe, 6)
    whole = collate(items)
    counts = count(recipe, whole)
    assert counts["mlm"] > 0
    gradients = []
    for parts in ([items], [items[:1], items[1:4], items[4:]]):
        model = network(recipe)
        for part in parts:
            mean_loss(recipe, model, collate(part), counts).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    for key, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][key], rtol=1e-4, atol=1e-6), key


@every
def test_packed_equals_alone(name: str) -> None:
    recipe = CASES[name]
    items, model = examples(recipe, 5), network(recipe)
    with torch.no_grad():
        packed = recipe.loss(model, collate(items))
        alone = [recipe.loss(model, collate([item])) for item in items]
    assert set(packed) >= {"mlm", "mlm_correct"} and not set(packed) - {
        *recipe.TERMS,
        *(f"{t}_correct" for t in recipe.TERMS),
    }
    for term in packed:
        assert torch.allclose(packed[term].double(), sum(part[term].double() for part in alone), rtol=1e-5)  # type: ignore[arg-type]


@every
def test_every_parameter_learns(name: str) -> None:
    recipe = CASES[name]
    batch, model = collate(examples(recipe, 8)), network(recipe)
    mean_loss(recipe, model, batch, count(recipe, batch)).backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


@every
def test_the_loss_starts_at_chance_and_falls(name: str) -> None:
    recipe = CASES[name]
    batch, model = collate(examples(recipe, 20)), network(recipe)
    counts = count(recipe, batch)
    first = recipe.loss(model, batch)
    first = {key: value.detach() for key, value in first.items()}
    assert abs(float(first["mlm"]) / counts["mlm"] - np.log(SIZE)) < 0.15
    for term in ("next", "order"):
        if counts.get(term):
            weight = recipe.pair_weight
            assert abs(float(first[term]) / counts[term] - weight * np.log(2)) < 0.1 * weight
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = mean_loss(recipe, model, batch, counts)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert losses[-1] < losses[0] - 0.4
    with torch.no_grad():
        last = recipe.loss(model, batch)
    assert int(last["mlm_correct"]) > int(first["mlm_correct"])


@every
def test_training_values_are_for_every_size(name: str) -> None:
    from unmask.models import SIZES
    from unmask.train import Training

    for size in SIZES:
        values = CASES[name].training(size)
        assert {
            "learning_rate",
            "optimizer",
            "schedule",
            "warmup",
            "decay",
            "batch",
            "weight_decay",
            "beta2",
            "clip",
        } <= set(values)
        Training(**values)  # type: ignore[arg-type]
        assert CASES[name].shape(size, VOCAB, 128).positions >= 128


@every
def test_refusals(name: str) -> None:
    recipe = CASES[name]
    for wrong in ({"rate": 0}, {"rate": 1.5}, {"mask": -0.1}, {"mask": 0.9, "swap": 0.2}):
        with pytest.raises(UnmaskError, match="expected|shares"):
            replace(recipe, **wrong)
    for field, value in (("unit", "letter"), ("pairs", "prev"), ("pair_weight", -1.0), ("longest", 0)):
        if hasattr(recipe, field):
            with pytest.raises(UnmaskError, match=f"{field} is"):
                replace(recipe, **{field: value})


def test_the_table_says_all_of_all() -> None:
    for recipe in RECIPES.values():
        said = headings(recipe)
        assert tuple(said) == HEADINGS and all(said.values())
    assert table().count("\n") == len(RECIPES) + 2
    assert [recipe.NAME for recipe in RECIPES.values()] == list(RECIPES)
