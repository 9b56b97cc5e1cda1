"""A seed draws a task's head alike, whether the body is drawn, too, or loaded: starts are compared pairwise."""

import pytest
import torch

from unmask.models import sized
from unmask.models.encoder import undrawn
from unmask.tasks.networks import classifier, reader, tagger

MAKERS = {
    "first": lambda shape: classifier(shape, 3, "first"),
    "layers_compare": lambda shape: classifier(shape, 3, "layers_compare"),
    "tag": lambda shape: tagger(shape, 3),
    "span": reader,
}


@pytest.mark.parametrize("family", ["bert", "modernbert"])
@pytest.mark.parametrize("name", MAKERS)
def test_a_head_is_drawn_alike_for_all_starts(family: str, name: str) -> None:
    shape = sized(family, "tiny", 50, 32)
    torch.manual_seed(7)
    scratch = MAKERS[name](shape).head.state_dict()
    torch.manual_seed(7)
    with undrawn():
        loaded = MAKERS[name](shape).head.state_dict()
    assert scratch.keys() == loaded.keys()
    for key, value in scratch.items():
        assert torch.equal(value, loaded[key])
