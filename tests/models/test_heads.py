"""Heads: worked means, what they ask of the encoder, ties, and what they refuse."""

import copy
from dataclasses import replace

import pytest
import torch

from unmask.batch import layout
from unmask.errors import UnmaskError
from unmask.models import sized
from unmask.models.encoder import Encoder
from unmask.models.heads import STYLES, ClassifyHead, PairHead, SpanHead, TagHead, TokensHead, means

SHAPE = sized("bert", "tiny", 40, 16)


def test_means_worked():
    states = torch.tensor([[1.0], [3.0], [5.0], [10.0], [2.0], [4.0]])
    lay = layout(torch.tensor([3, 1, 2]))
    assert means(states, lay)[:, 0, 0].tolist() == [3.0, 10.0, 3.0]
    pairs = means(states, lay, torch.tensor([0, 1, 1, 0, 0, 1]))
    assert pairs[..., 0].tolist() == [[1.0, 4.0], [10.0, 0.0], [2.0, 4.0]]


def test_compare_reads_u_v_difference_and_product():
    head = ClassifyHead(SHAPE, 2, "compare").eval()
    states = torch.randn(9, SHAPE.width, generator=torch.Generator().manual_seed(0))
    segments = torch.tensor([0, 0, 1, 1, 1, 0, 0, 0, 1])
    u = torch.stack((states[:2].mean(0), states[5:8].mean(0)))
    v = torch.stack((states[2:5].mean(0), states[8]))
    want = head.out(torch.cat((u, v, (u - v).abs(), u * v), -1))
    torch.testing.assert_close(head(states, layout(torch.tensor([5, 4])), segments), want)
    with pytest.raises(UnmaskError, match="segments"):
        head(states, layout(torch.tensor([5, 4])))


def test_asked_positions():
    lay = layout(torch.tensor([5, 4, 1]))
    for style in ("pooler", "dense", "normed"):
        assert ClassifyHead(SHAPE, 2, style).asks(lay).tolist() == [0, 5, 9]
    for style in ("mean", "normed_mean", "compare", "layers_mean", "layers_compare"):
        assert ClassifyHead(SHAPE, 2, style).asks(lay) is None
    with pytest.raises(UnmaskError, match='"pooler"'):
        ClassifyHead(SHAPE, 2, "poolr")
    assert set(STYLES) == {"bert", "roberta", "albert", "modernbert"}


@pytest.mark.parametrize(
    "style", ["pooler", "dense", "normed", "normed_mean", "mean", "compare", "layers_mean", "layers_compare"]
)
def test_every_classifier_learns_and_drops(style):
    torch.manual_seed(0)
    encoder, head = Encoder(SHAPE), ClassifyHead(SHAPE, 3, style, dropout=0.3)
    lay = layout(torch.tensor([5, 4, 6]))
    ids, segments = torch.arange(15), torch.tensor([0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1])
    states = encoder(ids, lay, segments, keep=head.asks(lay), mix=head.mixes)
    assert not torch.equal(head(states, lay, segments), head(states, lay, segments))
    head.eval()
    logits = head(states, lay, segments)
    assert logits.shape == (3, 3)
    loss, _ = head.loss(states, lay, torch.tensor([0, 1, 2]), segments)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    assert encoder.tokens.weight.grad.abs().sum() > 0


def test_mixed_is_the_mean_of_normed_embeddings_and_normed_last_layer():
    encoder = Encoder(replace(SHAPE, norm="pre", layers=2)).eval()
    ids, lay, held = torch.arange(9), layout(torch.tensor([5, 4])), []
    encoder.layers[0].register_forward_pre_hook(lambda module, given: held.append(given[0]))
    encoder.layers[-1].register_forward_hook(lambda module, given, out: held.append(out))
    found = encoder(ids, lay, mix=True)
    centred = [x - x.mean(-1, keepdim=True) for x in held]
    want = sum(x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() for x in centred) / 2
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)


def test_tokens_head_is_tied_and_survives_copies():
    encoder = Encoder(SHAPE)
    head = TokensHead(encoder)
    assert head.matrix is encoder.tokens.weight
    assert not any("matrix" in name or "tokens" in name for name in head.state_dict())
    pair = torch.nn.ModuleList([encoder, head])
    twin = copy.deepcopy(pair).to(torch.bfloat16)
    assert twin[1].matrix is twin[0].tokens.weight and twin[1].matrix is not head.matrix
    with torch.device("meta"):
        other = Encoder(SHAPE)
        late = TokensHead(other)
    other.to_empty(device="cpu")
    assert late.matrix is other.tokens.weight and not late.matrix.is_meta


def test_fresh_masked_lm_guesses_evenly():
    """ln V, as for every untrained model of the family."""
    torch.manual_seed(0)
    encoder = Encoder(sized("bert", "tiny", 1000, 16))
    head = TokensHead(encoder)
    ids = torch.randint(0, 1000, (160,))
    loss, _ = head.loss(encoder(ids, torch.full((10,), 16)), torch.randint(0, 1000, (160,)))
    assert abs(float(loss.detach()) / 160 - 6.9078) < 0.1


def test_bare_tokens_head():
    encoder = Encoder(SHAPE)
    head = TokensHead(encoder, dense=False)
    states = torch.randn(3, SHAPE.width)
    torch.testing.assert_close(head(states), states @ encoder.tokens.weight.T)
    assert [name for name, _ in head.named_parameters()] == ["bias"]
    with pytest.raises(UnmaskError, match="dense"):
        TokensHead(Encoder(sized("albert", "mini", 40, 16)), dense=False)


def test_pair_tag_span_shapes():
    states = torch.randn(6, SHAPE.width)
    assert PairHead(SHAPE)(states).shape == (6, 2)
    assert TagHead(SHAPE, 5)(states).shape == (6, 5)
    assert SpanHead(SHAPE)(states).shape == (6, 2)
    loss, correct = PairHead(SHAPE).loss(states, torch.tensor([0, 1] * 3))
    assert abs(float(loss.detach()) / 6 - 0.6931) < 0.4 and 0 <= int(correct) <= 6
