"""Shares over processes: alone there is nobody to share with; two processes are in test_processes.py."""

import pytest
import torch

from unmask.errors import UnmaskError
from unmask.recipes import RECIPES
from unmask.sharded import Sharded
from unmask.tokens import train_tokenizer


def test_alone_it_is_refused_and_says_how_to_start() -> None:
    vocab = train_tokenizer(["the cat sat on the mat"] * 9, "wordpiece", 64).vocab
    recipe = RECIPES["bert"]()
    network = recipe.network(recipe.shape("tiny", vocab, 32), vocab)
    with pytest.raises(UnmaskError, match="torchrun"):
        Sharded(network, torch.float32)
