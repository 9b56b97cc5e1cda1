"""Configurations drawn at random, several rows of drawn lengths: packed here, padded there, the same to 1e-5."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

from unmask.batch import layout
from unmask.errors import UnmaskError
from unmask.models.encoder import Encoder
from unmask.models.heads import ClassifyHead, PairHead, SpanHead, TagHead, TokensHead
from unmask.models.weights import load_pretrained, save_pretrained

DRAWS = 4
AUTO = {
    "tokens": hf.AutoModelForMaskedLM,
    "pretraining": hf.AutoModelForPreTraining,
    "classify": hf.AutoModelForSequenceClassification,
    "tag": hf.AutoModelForTokenClassification,
    "span": hf.AutoModelForQuestionAnswering,
}


def configuration(family: str, heads_of: str, draw: random.Random, classes: int) -> Any:
    """A model of up to five layers with whatever the family lets vary."""
    heads = draw.choice([1, 2, 3, 4])
    width = heads * draw.choice([4, 6, 8])
    common: dict[str, Any] = {
        "vocab_size": draw.randrange(30, 90),
        "hidden_size": width,
        "num_hidden_layers": draw.randrange(1, 6),
        "num_attention_heads": heads,
        "intermediate_size": draw.randrange(8, 50),
        "num_labels": classes,
    }
    longest = draw.randrange(24, 60)
    act = draw.choice(["gelu", "gelu_new"]) if (family, heads_of) != ("roberta", "tokens") else "gelu"
    if family == "bert":
        kinds = draw.choice([1, 2, 3])
        return hf.BertConfig(**common, max_position_embeddings=longest, type_vocab_size=kinds, hidden_act=act)
    if family == "roberta":
        pad = draw.choice([0, 1, 3])
        return hf.RobertaConfig(
            **common, max_position_embeddings=longest + pad + 1, type_vocab_size=1, pad_token_id=pad, hidden_act=act,
            layer_norm_eps=draw.choice([1e-5, 1e-12]),
        )  # fmt: skip
    if family == "albert":
        return hf.AlbertConfig(
            **common, max_position_embeddings=longest, embedding_size=draw.choice([4, 8, 12]), hidden_act=act
        )
    return hf.ModernBertConfig(
        **common, max_position_embeddings=longest, pad_token_id=0, bos_token_id=None, eos_token_id=None,
        cls_token_id=None, sep_token_id=None, local_attention=2 * draw.randrange(1, 9), hidden_activation=act,
        classifier_activation=act, global_attn_every_n_layers=draw.randrange(1, 4), norm_eps=draw.choice([1e-5, 1e-6]),
        classifier_pooling=draw.choice(["cls", "mean"]), attn_implementation="sdpa",
    )  # fmt: skip


class Network(nn.Module):
    """The parts that a folder says it holds."""

    def __init__(self, loaded: Any, classes: int) -> None:
        super().__init__()
        shape = loaded.shape
        self.encoder = Encoder(shape)
        made: dict[str, Any] = {
            "tokens": lambda: [TokensHead(self.encoder)],
            "pretraining": lambda: [TokensHead(self.encoder), PairHead(shape)],
            "classify": lambda: [ClassifyHead(shape, classes, loaded.style)],
            "tag": lambda: [TagHead(shape, classes)],
            "span": lambda: [SpanHead(shape)],
        }
        self.heads = nn.ModuleList(made[loaded.heads]())

    def outputs(
        self, ids: torch.Tensor, lengths: torch.Tensor, segments: torch.Tensor | None
    ) -> list[torch.Tensor]:
        lay = layout(lengths)
        states = self.encoder(ids, lay, segments)
        found = []
        for head in self.heads:
            if isinstance(head, PairHead):
                found.append(head(states[lay.starts]))
            elif isinstance(head, ClassifyHead):
                asked = head.asks(lay)
                found.append(head(states if asked is None else states[asked], lay))
            else:
                found.append(head(states))
        return found


def theirs(
    model: Any, ids: torch.Tensor, real: torch.Tensor, segments: torch.Tensor | None, pad: int
) -> list[torch.Tensor]:
    """Padded, with a mask; what stands in padding is no token of the text, and left out of the answer."""
    grid = torch.full(real.shape, pad)
    grid[real] = ids
    given = {"input_ids": grid, "attention_mask": real.long()}
    if segments is not None:
        types = torch.zeros_like(grid)
        types[real] = segments
        given["token_type_ids"] = types
    out = model(**given)
    if hasattr(out, "start_logits"):
        return [torch.stack((out.start_logits, out.end_logits), -1)[real]]
    if hasattr(out, "prediction_logits"):
        pair = out.seq_relationship_logits if hasattr(out, "seq_relationship_logits") else out.sop_logits
        return [out.prediction_logits[real], pair]
    return [out.logits if out.logits.dim() == 2 else out.logits[real]]


@pytest.mark.parametrize("number", range(DRAWS))
@pytest.mark.parametrize("heads", AUTO)
@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "modernbert"])
def test_drawn(family: str, heads: str, number: int, tmp_path: Path) -> None:
    if heads == "pretraining" and family not in ("bert", "albert"):
        pytest.skip("the family has no such model")
    draw = random.Random(f"{family} {heads} {number}")
    classes = draw.randrange(2, 6) if heads in ("classify", "tag") else 2
    config = configuration(family, heads, draw, classes)
    torch.manual_seed(number)
    model = AUTO[heads].from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (1.0 if parameter.dim() == 1 else 0.0))
    pad = config.pad_token_id
    longest = config.max_position_embeddings - (pad + 1 if family == "roberta" else 0)
    lengths = torch.tensor([longest, *(draw.randrange(1, longest + 1) for _ in range(draw.randrange(1, 7)))])
    real = torch.arange(longest)[None] < lengths[:, None]
    ids = torch.randint(pad + 1, config.vocab_size, (int(lengths.sum()),))
    kinds = getattr(config, "type_vocab_size", 0) if family in ("bert", "albert") else 0
    segments = torch.randint(0, kinds, ids.shape) if kinds > 1 else None

    model.save_pretrained(tmp_path / "theirs")
    loaded = load_pretrained(tmp_path / "theirs")
    network = Network(loaded, classes).eval()
    assert loaded.into(network) == () and not loaded.unused and loaded.heads == heads
    with torch.no_grad():
        want, found = theirs(model, ids, real, segments, pad), network.outputs(ids, lengths, segments)
        save_pretrained(tmp_path / "ours", family, network, loaded.shape, None, heads)
        again, told = AUTO[heads].from_pretrained(tmp_path / "ours", output_loading_info=True)
        assert not told["missing_keys"] and not told["unexpected_keys"]
        back = theirs(again.eval(), ids, real, segments, pad)
    for own, other, returned in zip(found, want, back, strict=True):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(own / scale, other / scale, rtol=0, atol=1e-5)
        torch.testing.assert_close(returned, other, rtol=0, atol=1e-5 * scale)


def test_a_head_that_takes_another_activation_than_its_body_is_refused(tmp_path: Path) -> None:
    """RoBERTa's masked-LM head is the plain GELU whatever the configuration says: no silent other number."""
    config = hf.RobertaConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20,
        max_position_embeddings=20, type_vocab_size=1, hidden_act="gelu_new",
    )  # fmt: skip
    hf.RobertaForMaskedLM(config).save_pretrained(tmp_path)
    with pytest.raises(UnmaskError, match="masked-LM head of a RoBERTa has gelu"):
        load_pretrained(tmp_path)
    assert load_pretrained(tmp_path, heads="body").shape.activation == "gelu_tanh"
