"""Shares over processes: alone there is nobody to share with; two processes are in test_processes.py."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unmask.batch import collate
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


def test_a_batch_that_asks_nothing_passes_all_layers_and_counts_nothing() -> None:
    """Else the other processes, which wait at every layer, would wait for ever."""
    vocab = train_tokenizer(["the cat sat on the mat"] * 9, "wordpiece", 64).vocab
    recipe = RECIPES["roberta"]()
    network = recipe.network(recipe.shape("tiny", vocab, 32), vocab)
    none = np.zeros(0, np.int64)
    batch = collate([{"ids": np.arange(8), "positions": none, "targets": none}])
    parts = Sharded.forward(SimpleNamespace(network=network), recipe, batch)  # type: ignore[arg-type]
    assert parts["mlm"].item() == 0 and parts["mlm_correct"].item() == 0
    parts["mlm"].backward()
    for name, parameter in network.encoder.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name
