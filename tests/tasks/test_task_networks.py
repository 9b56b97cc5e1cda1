"""What single tasks promise beyond the conformance of all: weights, the span softmax, folding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_task_conformance import made

from unmask.batch import collate
from unmask.models import Shape
from unmask.tasks import Frame
from unmask.tokens import Tokenizer


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
    task, labels, examples = made("classify score", tokenizer, frame)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    with torch.no_grad():
        before = task.predict(model, collate(examples))
        model.fold(scale=2.0, shift=1.0)
        after = task.predict(model, collate(examples))
    np.testing.assert_allclose(np.concatenate(after), np.concatenate(before) * 2 + 1, atol=1e-5)
