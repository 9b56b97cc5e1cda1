"""A class read at the blank of a text: the asked token alone decides, and a text without one is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from unmask.batch import collate, layout
from unmask.errors import UnmaskError
from unmask.models import sized
from unmask.models.heads import ClassifyHead
from unmask.randomness import generator
from unmask.tasks import Classify, Frame
from unmask.tasks.networks import TaskModel, label_logits
from unmask.tokens import train_tokenizer

TEXTS = ["the cat sat on the mat", "a dog ran to the house", "the [MASK] sat here", "a dog [MASK] fast"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 5, "wordpiece", 128)


def rows(task: Classify, tokenizer, tmp_path: Path, lines: list[str]):
    path = tmp_path / "rows.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{x}\t{n % 2}\n" for n, x in enumerate(lines)))
    examples = task.read(path)
    labels, _ = task.labels(examples)
    frame = Frame(tokenizer.vocab, segments=False)
    return task.rows(examples, tokenizer, labels, frame, length=16, overlap=4, training=True), labels


def test_the_state_of_the_blank_is_what_is_read(tokenizer, tmp_path: Path) -> None:
    task = Classify(head="mask")
    windows, labels = rows(task, tokenizer, tmp_path, ["the [MASK] sat here", "a dog [MASK] fast"])
    examples = [task.example(w, tokenizer.vocab, generator(0, "window", 0)) for w in windows.rows]
    batch = collate(examples)
    assert (batch["ids"][batch["asked_positions"]] == tokenizer.vocab.mask).all()
    torch.manual_seed(0)
    shape = sized("modernbert", "tiny", tokenizer.vocab.size, 32)
    model = task.network(shape, tokenizer.vocab, labels).eval()
    assert (
        isinstance(model, TaskModel) and isinstance(model.head, ClassifyHead) and model.head.style == "asked"
    )
    states = model.encoder(batch["ids"], layout(batch["lengths"]))
    expected = model.head.out(model.head.first(states[batch["asked_positions"]]))
    torch.testing.assert_close(label_logits(model, batch), expected.float(), rtol=1e-5, atol=1e-5)


def test_only_the_window_with_the_blank_is_used(tokenizer, tmp_path: Path) -> None:
    long = " ".join(["the cat sat"] * 12) + " [MASK] " + " ".join(["a dog ran"] * 12)
    windows, _ = rows(Classify(head="mask"), tokenizer, tmp_path, [long, "the [MASK] sat"])
    for window in windows.rows:
        assert window.ids[window.positions[0]] == tokenizer.vocab.mask
    assert {w.example for w in windows.rows} == {0, 1}
    np.testing.assert_allclose(sum(w.weights for w in windows.rows if w.example == 0), 1.0, rtol=1e-6)


def test_a_text_without_a_blank_is_refused_with_its_line(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match=r"line 3: no \[MASK\]"):
        rows(Classify(head="mask"), tokenizer, tmp_path, ["the [MASK] sat", "a dog ran"])
