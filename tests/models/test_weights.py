"""Folders: what is told, what is refused, and what has no form elsewhere but comes back all the same."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from unmask.batch import layout
from unmask.errors import UnmaskError
from unmask.models import Shape, sized
from unmask.models.encoder import Encoder
from unmask.models.heads import ClassifyHead, PairHead, TagHead, TokensHead
from unmask.models.weights import FAMILIES, load_pretrained, save_pretrained
from unmask.models.weights.parts import state_of

LENGTHS = torch.tensor([5, 3, 4])
IDS = torch.arange(12) + 5
SEGMENTS = torch.tensor([0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1])


class Network(nn.Module):
    def __init__(self, encoder, *heads):
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)


def network(family, *kinds, seed=0):
    torch.manual_seed(seed)
    shape = replace(sized(family, "tiny", 40, 16), width=32, heads=2, inner=48)
    encoder = Encoder(shape)
    made = {
        "tokens": lambda: TokensHead(encoder),
        "bare": lambda: TokensHead(encoder, dense=False),
        "pair": lambda: PairHead(shape),
        "compare": lambda: ClassifyHead(shape, 3, "compare"),
        "classify": lambda: ClassifyHead(shape, 3, FAMILIES[family].style),
        "tag": lambda: TagHead(shape, 3),
    }
    return Network(encoder, *(made[kind]() for kind in kinds)).eval(), shape


@pytest.mark.parametrize("family", FAMILIES)
def test_shape_to_config_and_back(family):
    for size in ("tiny", "mini", "base"):
        shape = sized(family, size, 500, 64)
        form = FAMILIES[family]
        config = json.loads(json.dumps(form.to_config(shape)))
        assert form.from_config(config) == shape


def test_modernbert_reads_the_older_spelling():
    form = FAMILIES["modernbert"]
    shape = replace(sized("modernbert", "mini", 500, 64), global_every=2, rotary=(5000.0, 300.0))
    config = form.to_config(shape)
    for key in ("rope_parameters", "layer_types"):
        del config[key]
    assert form.from_config(config) == shape
    del config["global_attn_every_n_layers"], config["global_rope_theta"], config["local_rope_theta"]
    assert form.from_config(config) == replace(shape, global_every=3, rotary=(160000.0, 10000.0))
    uneven = {**form.to_config(shape), "layer_types": ["sliding_attention"] * 4}
    with pytest.raises(UnmaskError, match="layer_types"):
        form.from_config(uneven)


@pytest.mark.parametrize(
    "scaled",
    [
        {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_scaling": {"full_attention": {"rope_type": "yarn", "factor": 4.0}}},
        {"rope_parameters": {"full_attention": {"type": "linear", "factor": 4.0, "rope_theta": 160000.0}}},
    ],
)
def test_scaled_angles_are_refused_however_they_are_spelt(scaled):
    form = FAMILIES["modernbert"]
    config = form.to_config(sized("modernbert", "mini", 500, 64))
    with pytest.raises(UnmaskError, match="type is"):
        form.from_config({**config, **scaled})
    form.from_config({**config, "rope_scaling": None})


def test_compare_head_stands_beside_a_readable_body(tmp_path):
    import transformers as hf

    model, shape = network("bert", "compare")
    save_pretrained(tmp_path, "bert", model, shape, None, "classify", labels=("no", "maybe", "yes"))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["unmask"] == {"heads": "classify", "style": "compare", "file": "unmask_heads.safetensors"}
    assert config["architectures"] == ["BertModel"]
    body = hf.AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        want = model.encoder(IDS[:5], torch.tensor([5]))
        torch.testing.assert_close(body(IDS[None, :5]).last_hidden_state[0], want, rtol=0, atol=1e-5)
    loaded = load_pretrained(tmp_path)
    assert (loaded.heads, loaded.style, loaded.labels) == ("classify", "compare", ("no", "maybe", "yes"))
    twin, _ = network("bert", "compare", seed=1)
    assert loaded.into(twin) == ()
    lay = layout(LENGTHS)
    with torch.no_grad():
        want = model.heads[0](model.encoder(IDS, lay, SEGMENTS), lay, SEGMENTS)
        assert torch.equal(twin.heads[0](twin.encoder(IDS, lay, SEGMENTS), lay, SEGMENTS), want)
    plain, _ = network("bert", "tag")  # written over the old: its extra file must not stay
    save_pretrained(tmp_path, "bert", plain, shape, None, "tag")
    assert not (tmp_path / "unmask_heads.safetensors").exists()


@pytest.mark.parametrize(
    ("family", "kinds", "heads"),
    [("bert", ("bare",), "tokens"), ("roberta", ("tokens", "pair"), "pretraining")],
)
def test_heads_without_a_form_come_back(family, kinds, heads, tmp_path):
    model, shape = network(family, *kinds)
    save_pretrained(tmp_path, family, model, shape, None, heads)
    twin, _ = network(family, *kinds, seed=1)
    assert load_pretrained(tmp_path).into(twin) == ()
    for name, tensor in state_of(model).items():
        assert torch.equal(tensor, state_of(twin)[name]) or name == "encoder.places.weight", name


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_body_is_loaded_and_not_drawn_first(family, tmp_path):
    """Every number of it is the folder's, no random one is taken for it, and the head is drawn as ever."""
    saved, shape = network(family, "tokens")
    save_pretrained(tmp_path, family, saved, shape, None, heads="tokens")
    loaded = load_pretrained(tmp_path)

    def make(shape):
        encoder = Encoder(shape)
        return Network(encoder, TagHead(shape, 4))

    torch.manual_seed(3)
    made, fresh = loaded.around(make)
    torch.manual_seed(3)
    head = TagHead(shape, 4)
    assert fresh == ("tag",)
    for name, tensor in state_of(saved).items():
        if name.startswith("encoder."):
            assert torch.equal(state_of(made)[name], tensor)
    assert torch.equal(made.heads[0].out.weight, head.out.weight)
    torch.manual_seed(3)
    assert not torch.equal(
        Encoder(shape).tokens.weight, Encoder(shape).tokens.weight
    )  # and drawn again elsewhere
    del loaded.state["encoder.norm.weight"]
    with pytest.raises(UnmaskError, match="missing"):
        loaded.around(make)


def test_fresh_parts_are_told(tmp_path):
    model, shape = network("bert", "tokens")
    save_pretrained(tmp_path, "bert", model, shape, None, "pretraining")
    loaded = load_pretrained(tmp_path)
    target, _ = network("bert", "classify", seed=1)
    start = target.heads[0].out.weight.clone()
    assert set(loaded.into(target)) == {"pooler", "classify"}
    assert torch.equal(target.encoder.norm.weight, model.encoder.norm.weight)
    assert torch.equal(target.encoder.tokens.weight, model.encoder.tokens.weight)
    assert torch.equal(target.heads[0].out.weight, start)
    assert loaded.heads == "tokens"
    with_pair, _ = network("bert", "tokens", "pair")
    save_pretrained(tmp_path, "bert", with_pair, shape, None, "pretraining")
    assert set(load_pretrained(tmp_path).into(target)) == {"classify"}  # its pooler was pre-trained
    assert torch.equal(target.heads[0].first.dense.weight, with_pair.heads[1].pooler.dense.weight)


def test_modernbert_classifier_starts_from_its_masked_lm_head(tmp_path):
    model, shape = network("modernbert", "tokens")
    save_pretrained(tmp_path, "modernbert", model, shape, None, "tokens")
    target, _ = network("modernbert", "classify", seed=1)
    assert load_pretrained(tmp_path).into(target) == ("classify",)
    assert torch.equal(target.heads[0].first.dense.weight, model.heads[0].dense.weight)


def test_a_roberta_classifier_is_drawn_whole(tmp_path):
    model, shape = network("roberta", "tokens")
    save_pretrained(tmp_path, "roberta", model, shape, None, "tokens")
    target, _ = network("roberta", "classify", seed=1)
    start = target.heads[0].first.dense.weight.clone()
    assert load_pretrained(tmp_path).into(target) == ("classify",)
    assert torch.equal(target.heads[0].first.dense.weight, start)


def saved(tmp_path, family="bert"):
    model, shape = network(family, "tokens")
    save_pretrained(tmp_path, family, model, shape, None, "tokens")
    return model, load_file(tmp_path / "model.safetensors")


def write(folder, tensors):
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_older_names_copies_and_buffers(tmp_path):
    model, tensors = saved(tmp_path)
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for n, t in tensors.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(16)[None]
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    old["cls.predictions.decoder.bias"] = old.pop("cls.predictions.bias")
    write(tmp_path, old)
    loaded = load_pretrained(tmp_path)
    assert loaded.unused == ()
    twin, _ = network("bert", "tokens", seed=1)
    assert loaded.into(twin) == ()
    assert all(torch.equal(t, state_of(twin)[n]) for n, t in state_of(model).items())
    write(tmp_path, {**old, "bert.strange.weight": torch.zeros(2)})
    assert load_pretrained(tmp_path).unused == ("strange.weight",)


@pytest.mark.parametrize("lost", ["transform.dense.weight", "transform.LayerNorm.bias", "bias"])
def test_a_part_of_a_head_is_not_taken_for_all_of_it(lost, tmp_path):
    _, tensors = saved(tmp_path)
    write(tmp_path, {n: t for n, t in tensors.items() if n != f"cls.predictions.{lost}"})
    with pytest.raises(UnmaskError, match=f"lacks cls.predictions.{lost}"):
        load_pretrained(tmp_path)


def test_a_decoder_with_a_bias_of_its_own_is_refused(tmp_path):
    _, tensors = saved(tmp_path)
    same = tensors["cls.predictions.bias"].clone()
    write(tmp_path, {**tensors, "cls.predictions.decoder.bias": same})
    load_pretrained(tmp_path)
    write(tmp_path, {**tensors, "cls.predictions.decoder.bias": same + 1})
    load_pretrained(tmp_path)  # an old file; where they are tied one of them is used
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    with pytest.raises(UnmaskError, match="decoder.bias"):
        load_pretrained(tmp_path)


def test_shards(tmp_path):
    model, tensors = saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    placed = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(placed.values()):
        save_file({n: tensors[n] for n in names if placed[n] == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    twin, _ = network("bert", "tokens", seed=1)
    assert load_pretrained(tmp_path).into(twin) == ()
    index.write_text(json.dumps({"weight_map": {**placed, "bert.more": placed[names[0]]}}))
    with pytest.raises(UnmaskError, match="bert.more"):
        load_pretrained(tmp_path)
    index.write_text(json.dumps({"weight_map": {"x": "../elsewhere.safetensors"}}))
    with pytest.raises(UnmaskError, match="beside"):
        load_pretrained(tmp_path)


def test_refusals(tmp_path):
    with pytest.raises(UnmaskError, match=r"config\.json"):
        load_pretrained(tmp_path / "nowhere")
    _, tensors = saved(tmp_path)
    config = tmp_path / "config.json"
    good = config.read_text()

    lacking = {n: t for n, t in tensors.items() if "layer.1.output.dense.weight" not in n}
    write(tmp_path, lacking)
    with pytest.raises(UnmaskError, match=r"lacks encoder\.layer\.1\.output\.dense\.weight"):
        load_pretrained(tmp_path)
    half = {n: t for n, t in tensors.items() if "layer.1.attention.self.key.bias" not in n}
    write(tmp_path, half)
    with pytest.raises(UnmaskError, match=r"key\.bias"):
        load_pretrained(tmp_path)
    untied = {
        **tensors,
        "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"] + 1,
    }
    write(tmp_path, untied)
    with pytest.raises(UnmaskError, match="tied"):
        load_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(UnmaskError, match="safetensors"):
        load_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UnmaskError, match="no weights"):
        load_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(UnmaskError, match="pickle"):
        load_pretrained(tmp_path)
    for changes, said in [
        ({"model_type": "rberta"}, '"roberta"'),
        ({"hidden_act": "gelu_nwe"}, '"gelu_new"'),
        ({"is_decoder": True}, "is_decoder"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"hidden_size": "wide"}, "hidden_size"),
    ]:
        config.write_text(json.dumps({**json.loads(good), **changes}))
        with pytest.raises(UnmaskError, match=said):
            load_pretrained(tmp_path)
    config.write_text("[1]")
    with pytest.raises(UnmaskError, match="object"):
        load_pretrained(tmp_path)
    config.write_text("{")
    with pytest.raises(UnmaskError, match="JSON"):
        load_pretrained(tmp_path)


def test_what_cannot_be_written(tmp_path):
    model, shape = network("bert", "tag")
    with pytest.raises(UnmaskError, match='no "tokens"'):
        save_pretrained(tmp_path, "bert", model, shape, None, "pretraining")
    with pytest.raises(UnmaskError, match='"bert"'):
        save_pretrained(tmp_path, "brt", model, shape, None, "tag")
    with pytest.raises(UnmaskError, match="2 labels for 3"):
        save_pretrained(tmp_path, "bert", model, shape, None, "tag", labels=("a", "b"))
    lean = Shape(
        40,
        32,
        2,
        2,
        48,
        16,
        segments=0,
        norm="pre",
        rotary=(1e4, 1e4),
        activation="relu2",
        bias=False,
        eps=1e-5,
    )
    with pytest.raises(UnmaskError, match="gate False"):
        save_pretrained(tmp_path, "modernbert", Network(Encoder(lean)), lean, None, "body")
    with pytest.raises(UnmaskError, match="no Encoder"):
        save_pretrained(tmp_path, "bert", nn.Linear(2, 2), shape, None, "body")
    assert not (tmp_path / "config.json").exists()


def test_other_shapes_are_told_apart(tmp_path):
    saved(tmp_path)
    torch.manual_seed(0)
    with pytest.raises(UnmaskError, match="equal shapes"):
        load_pretrained(tmp_path).into(Network(Encoder(sized("bert", "tiny", 40, 16))))


TEXT = [
    "the cat sat on the mat",
    "a dog ran over the old bridge",
    "green apples fall in autumn",
    "who knows the way home",
] * 8


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_with_its_tokenizer_opens_elsewhere(family, tmp_path):
    """Text in, logits out, by their tokenizer and model alone; RoBERTa's positions start after the padding id."""
    import transformers as hf

    from unmask.tokens import train_tokenizer

    tokenizer = train_tokenizer(TEXT, "wordpiece", 80)
    torch.manual_seed(0)
    shape = replace(sized(family, "tiny", tokenizer.vocab.size, 32), width=32, heads=2, inner=48)
    encoder = Encoder(shape)
    model = Network(encoder, TokensHead(encoder)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    save_pretrained(tmp_path, family, model, shape, tokenizer, "tokens")
    theirs = hf.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    given = hf.AutoTokenizer.from_pretrained(tmp_path)(
        ["the cat ran home", "a dog"], padding=True, return_tensors="pt"
    )
    given.pop("token_type_ids", None)
    real = given["attention_mask"].bool()
    ids = given["input_ids"][real]
    assert ids[0] == tokenizer.vocab.cls
    with torch.no_grad():
        want = theirs(**given).logits[real]
        ours = model.heads[0](model.encoder(ids, real.sum(1)))
        torch.testing.assert_close(ours, want, rtol=1e-5, atol=2e-5)
        twin = Network(fresh := Encoder(load_pretrained(tmp_path).shape), TokensHead(fresh)).eval()
        loaded = load_pretrained(tmp_path)
        assert loaded.into(twin) == () and loaded.tokenizer.fingerprint == tokenizer.fingerprint
        assert torch.equal(twin.heads[0](twin.encoder(ids, real.sum(1))), ours)


def test_more_layers_said_than_tensors_held(tmp_path):
    """A configuration that asks for more layers than there are tensors costs nothing before it is refused."""
    encoder = torch.nn.ModuleDict({"encoder": Encoder(sized("bert", "tiny", 64, 16))})
    save_pretrained(tmp_path, "bert", encoder, sized("bert", "tiny", 64, 16), None, heads="body")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 900}))
    with pytest.raises(UnmaskError, match="900 layers"):
        load_pretrained(tmp_path)
