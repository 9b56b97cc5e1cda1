"""A run of `modern` has a plain head: fill must give what the network itself says."""

from pathlib import Path

import pytest
import torch

from unmask.jobs.fill import fill
from unmask.models.weights import save_pretrained
from unmask.recipes import RECIPES
from unmask.tokens import train_tokenizer


@pytest.mark.parametrize("name", ["modern", "albert", "roberta"])
def test_fill_is_the_networks_own(name: str, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["the cat sat on the mat", "a dog ran home"] * 9, "wordpiece", 64)
    recipe = RECIPES[name]()
    shape = recipe.shape("tiny", tokenizer.vocab, 32)
    torch.manual_seed(4)
    network = recipe.network(shape, tokenizer.vocab).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    save_pretrained(tmp_path, recipe.FAMILY, network, shape, tokenizer, heads="pretraining")
    (guesses,) = fill(tmp_path, "the [MASK] sat", top=3)
    vocab = tokenizer.vocab
    own = tokenizer.encode("the [MASK] sat", specials=True).ids
    ids = torch.tensor([vocab.cls, *own, vocab.sep])
    with torch.no_grad():
        states = network.encoder(ids, torch.tensor([len(ids)]), keep=torch.nonzero(ids == vocab.mask)[:, 0])
        shares = network.head(states).softmax(-1)[0].masked_fill(torch.from_numpy(vocab.special), 0.0)
    best = shares.topk(3)
    assert [p for _, p in guesses] == pytest.approx(best.values.tolist(), rel=1e-4)
