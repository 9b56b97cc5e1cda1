"""What every task must do, over every entry of the table and the settings that change its way.

JSON and back, pure, micro-batches and packing that change nothing, gradients everywhere, twenty repeated rows learnt.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch

from unmask.batch import collate
from unmask.models import Shape
from unmask.randomness import generator
from unmask.settings import from_json, to_json
from unmask.tasks import TASKS, Frame, Labels
from unmask.tasks.examples import Example, Examples
from unmask.tokens import Tokenizer

WORDS = "the cat sat on mat in Rome and Paris a dog ran home".split()
CLASSES = Labels("classes", ("0", "1"), (0.5, 2.0))
SCORES = Labels("score", ("score",), (1.0,), centre=1.0, scale=2.0)
TAGS = Labels("tags", ("O", "B-LOC"), (1.0, 1.0), "BIO")
SPANS = Labels("spans", scheme="squad", threshold=0.0)


#: every task, and the settings that change its network or its windows
CASES: dict[str, tuple[Any, Labels]] = {
    "classify": (TASKS["classify"](), CLASSES),
    "classify first": (replace(TASKS["classify"](), head="first"), CLASSES),
    "classify mask": (replace(TASKS["classify"](), head="mask"), CLASSES),
    "classify score": (TASKS["classify"](), SCORES),
    "pair": (TASKS["pair"](), CLASSES),
    "classify layers": (replace(TASKS["classify"](), head="layers"), CLASSES),
    "pair layers": (replace(TASKS["pair"](), head="layers"), CLASSES),
    "pair first": (replace(TASKS["pair"](), head="first"), CLASSES),
    "tag": (TASKS["tag"](), TAGS),
    "answer": (TASKS["answer"](), SPANS),
}
#: another value of each setting
OTHER = {
    "text": "body", "label": "stars", "group": "document", "regression": True, "class_weight": "sqrt", "head": "first",
    "choose_by": "macro_f1", "text_a": "a", "text_b": "b", "metric": "cmrc", "max_answer": 7,
}  # fmt: skip

every = pytest.mark.parametrize("name", CASES)


def made(
    name: str, tokenizer: Tokenizer, frame: Frame, visit: int = 0
) -> tuple[Any, Labels, list[dict[str, np.ndarray]]]:
    """Twenty examples of a case, of many lengths."""
    task, labels = CASES[name]
    rng = np.random.default_rng(5)
    items = []
    for n in range(20):
        words = [str(w) for w in rng.choice(WORDS, int(rng.integers(3, 9)))]
        if name == "classify mask":
            words[1] = "[MASK]"
        text, gold = " ".join(words), str(n % 2)
        if task.NAME == "tag":
            tags = tuple("B-LOC" if w in ("Rome", "Paris") else "O" for w in words)
            items.append(Example(str(n), n, tuple(words), tags))
        elif task.NAME == "answer":
            answers = ((words[1], text.index(words[1])),) if n % 4 else ()
            items.append(Example(str(n), n, ("the cat", text), answers))
        else:
            texts = (text, " ".join(words[:2])) if task.NAME == "pair" else (text,)
            items.append(Example(str(n), n, texts, f"{n % 5}.5" if labels.kind == "score" else gold))
    examples = Examples("f", tuple(items))
    rows = task.rows(examples, tokenizer, labels, frame, length=48, overlap=9, training=True).rows
    draw = [generator(0, "window", 100 * visit + n) for n in range(len(rows))]
    return task, labels, [task.example(r, tokenizer.vocab, g) for r, g in zip(rows, draw, strict=True)]


def network(name: str, tokenizer: Tokenizer, shape: Shape) -> Any:
    """Without dropout, and with a head that starts nowhere near zero."""
    task, labels = CASES[name]
    torch.manual_seed(0)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    torch.nn.init.normal_(model.head.out.weight)
    return model


def test_no_task_is_left_out() -> None:
    assert {task.NAME for task, _ in CASES.values()} == set(TASKS)
    assert [task.NAME for task in TASKS.values()] == list(TASKS)


@every
def test_json_and_back(name: str) -> None:
    task, _ = CASES[name]
    assert from_json(type(task), json.loads(json.dumps(to_json(task))), "here") == task
    hints = get_type_hints(type(task), include_extras=True)
    for field in fields(task):
        assert len(hints[field.name].__metadata__[0]) > 8, f"{field.name} has no help text"
        other = replace(task, **{field.name: OTHER[field.name]})
        assert from_json(type(task), json.loads(json.dumps(to_json(other))), "here") == other
        assert other != task or getattr(task, field.name) == OTHER[field.name]


@every
def test_pure(name: str, tokenizer: Tokenizer, frame: Frame) -> None:
    first, again = made(name, tokenizer, frame)[2], made(name, tokenizer, frame)[2]
    for a, b in zip(first, again, strict=True):
        assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@every
def test_micro_batches_are_one_batch(name: str, tokenizer: Tokenizer, frame: Frame, shape: Shape) -> None:
    task, _, examples = made(name, tokenizer, frame)
    whole = collate(examples)
    counts = {term: len(whole[array]) for term, array in task.TERMS.items()}
    gradients = []
    for parts in ([examples], [examples[:1], examples[1:8], examples[8:]]):
        model = network(name, tokenizer, shape)
        for part in parts:
            sums = task.loss(model, collate(part))
            torch.stack([sums[term] / n for term, n in counts.items()]).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-4, atol=1e-6)


@every
def test_packed_equals_alone(name: str, tokenizer: Tokenizer, frame: Frame, shape: Shape) -> None:
    task, labels, examples = made(name, tokenizer, frame)
    model = network(name, tokenizer, shape)
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


@every
def test_every_parameter_gets_a_gradient_and_repeated_rows_are_learnt(
    name: str, tokenizer: Tokenizer, frame: Frame, shape: Shape
) -> None:
    task, labels, examples = made(name, tokenizer, frame)
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
