"""Losses are sums, packed rows equal rows alone, every parameter learns, and twenty repeated rows are learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from unmask.batch import collate
from unmask.models import Shape
from unmask.randomness import generator
from unmask.tasks import Answer, Classify, Frame, Labels, Pair, Tag
from unmask.tasks.examples import Example, Examples
from unmask.tokens import Tokenizer

WORDS = "the cat sat on mat in Rome and Paris a dog ran home".split()
CLASSES = Labels("classes", ("0", "1"), (0.5, 2.0))
SCORES = Labels("score", ("score",), (1.0,), centre=1.0, scale=2.0)
TAGS = Labels("tags", ("O", "B-LOC"), (1.0, 1.0), "BIO")
SPANS = Labels("spans", scheme="squad", threshold=0.0)


def made(kind: str, tokenizer: Tokenizer, frame: Frame) -> tuple[Any, Labels, list[dict[str, np.ndarray]]]:
    """Twenty examples of a task, of many lengths."""
    rng = np.random.default_rng(5)
    task: Any = {
        "classify": Classify(),
        "score": Classify(),
        "pair": Pair(),
        "tag": Tag(),
        "answer": Answer(),
    }[kind]
    labels = {"classify": CLASSES, "score": SCORES, "pair": CLASSES, "tag": TAGS, "answer": SPANS}[kind]
    items = []
    for n in range(20):
        words = [str(w) for w in rng.choice(WORDS, int(rng.integers(3, 9)))]
        text, gold = " ".join(words), str(n % 2)
        if kind == "tag":
            tags = tuple("B-LOC" if w in ("Rome", "Paris") else "O" for w in words)
            items.append(Example(str(n), n, tuple(words), tags))
        elif kind == "answer":
            items.append(
                Example(str(n), n, ("the cat", text), ((words[1], text.index(words[1])),) if n % 4 else ())
            )
        else:
            texts = (text, " ".join(words[:2])) if kind == "pair" else (text,)
            items.append(Example(str(n), n, texts, f"{n % 5}.5" if kind == "score" else gold))
    rows = task.rows(
        Examples("f", tuple(items)), tokenizer, labels, frame, length=48, overlap=9, training=True
    ).rows
    return (
        task,
        labels,
        [task.example(r, tokenizer.vocab, generator(0, "window", n)) for n, r in enumerate(rows)],
    )


KINDS = ["classify", "score", "pair", "tag", "answer"]


@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_alone(kind: str, tokenizer: Tokenizer, frame: Frame, shape: Shape) -> None:
    task, labels, examples = made(kind, tokenizer, frame)
    torch.manual_seed(0)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    torch.nn.init.normal_(model.head.out.weight)
    with torch.no_grad():
        together = task.loss(model, collate(examples))
        alone = [task.loss(model, collate([e])) for e in examples]
        said = task.predict(model, collate(examples))
        single = [task.predict(model, collate([e]))[0] for e in examples]
    assert set(together) == set(task.TERMS)
    for term in together:
        assert float(together[term]) == pytest.approx(sum(float(a[term]) for a in alone), rel=1e-4)
    assert len(said) == len(examples)
    for x, y in zip(said, single, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient_and_repeated_rows_are_learnt(
    kind: str, tokenizer: Tokenizer, frame: Frame, shape: Shape
) -> None:
    task, labels, examples = made(kind, tokenizer, frame)
    torch.manual_seed(1)
    model = task.network(shape, tokenizer.vocab, labels).train()
    batch = collate(examples)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = torch.stack([v / len(batch[task.TERMS[k]]) for k, v in task.loss(model, batch).items()]).sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert not still, still


def test_class_weights_weigh_the_loss(tokenizer: Tokenizer, frame: Frame, shape: Shape) -> None:
    task, labels, examples = made("classify", tokenizer, frame)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    with torch.no_grad():
        said = task.predict(model, collate(examples))
        loss = float(task.loss(model, collate(examples))["label"])
    assert loss == pytest.approx(sum(-said[n][n % 2] * labels.weights[n % 2] for n in range(20)), rel=1e-4)


def test_span_softmax_is_within_rows_and_without_the_question(
    tokenizer: Tokenizer, frame: Frame, shape: Shape
) -> None:
    task, labels, examples = made("answer", tokenizer, frame)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    with torch.no_grad():
        for scores, example in zip(task.predict(model, collate(examples)), examples, strict=True):
            first, end = example["passage_positions"]
            assert scores.shape == (2, 1 + end - first)
            np.testing.assert_allclose(np.exp(scores).sum(1), [1, 1], atol=1e-5)


def test_folding_changes_nothing_but_the_unit(tokenizer: Tokenizer, frame: Frame, shape: Shape) -> None:
    task, labels, examples = made("tag", tokenizer, frame)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    assert model.gain == 8.0 and not model.head.out.weight.any()
    torch.nn.init.normal_(model.head.out.weight)
    torch.nn.init.normal_(model.head.out.bias)
    with torch.no_grad():
        before = task.predict(model, collate(examples))
        model.fold()
        after = task.predict(model, collate(examples))
    assert model.gain == 1.0
    for x, y in zip(before, after, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4)
    task, labels, examples = made("score", tokenizer, frame)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    with torch.no_grad():
        before = task.predict(model, collate(examples))
        model.fold(scale=2.0, shift=1.0)
        after = task.predict(model, collate(examples))
    np.testing.assert_allclose(np.concatenate(after), np.concatenate(before) * 2 + 1, atol=1e-5)
