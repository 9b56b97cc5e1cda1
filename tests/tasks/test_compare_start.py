"""The comparing head starts at chance, whatever the body says, and what it learns is folded into its weights."""

from __future__ import annotations

import math

import torch
from test_task_conformance import made

from unmask.batch import collate
from unmask.models import Shape
from unmask.tasks import Frame
from unmask.tokens import Tokenizer


def test_a_pair_starts_at_a_coin_toss(tokenizer: Tokenizer, frame: Frame, shape: Shape) -> None:
    task, labels, examples = made("pair", tokenizer, frame)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.mul_(5.0)  # a body of another scale
        batch = collate(examples)
        weights = float(batch["label_weights"].sum())
        assert abs(float(task.loss(model, batch)["label"]) / weights - math.log(2)) < 1e-6
        torch.nn.init.normal_(model.head.out.weight)
        before = task.predict(model, batch)
        model.fold()
        after = task.predict(model, batch)
    assert model.gain == 1.0
    for x, y in zip(before, after, strict=True):
        torch.testing.assert_close(torch.from_numpy(x), torch.from_numpy(y), atol=1e-4, rtol=1e-4)
