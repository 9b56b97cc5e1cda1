"""A tokenizer and a tiny model that the tests of the tasks share."""

from __future__ import annotations

import pytest

from unmask.models import Shape
from unmask.tasks import Frame
from unmask.tokens import Tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """English WordPiece, small enough that most words have several pieces."""
    return train_tokenizer(
        ["the cat sat on the mat in Rome and Paris", "a dog ran home", "unbelievable"] * 5, "wordpiece", 120
    )


@pytest.fixture(scope="session")
def frame(tokenizer: Tokenizer) -> Frame:
    return Frame(tokenizer.vocab)


@pytest.fixture(scope="session")
def shape(tokenizer: Tokenizer) -> Shape:
    return Shape(tokenizer.vocab.size, 16, 2, 2, 32, 48)
