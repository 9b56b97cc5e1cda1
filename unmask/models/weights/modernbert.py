"""ModernBERT's names and configuration (Warner et al. 2024; layout of the `transformers` port).

Older configurations name the two bases of the rotary angles and the distance of global layers one by one,
newer ones hold `rope_parameters` and `layer_types`: both are read and both are written. One `head` serves the
masked-LM and all classifiers.
"""

from __future__ import annotations

from typing import Any

from unmask.errors import UnmaskError
from unmask.models import Shape
from unmask.models.weights.family import (
    Config,
    Family,
    Names,
    decimal,
    dictionary,
    expect,
    foreign,
    known_activation,
    number,
    pair_of,
)

FULL, LOCAL = "full_attention", "sliding_attention"


def body(shape: Shape) -> Names:
    """Names of the encoder, without the prefix; layer 0 has no attention norm."""
    names: Names = {
        "encoder.tokens.weight": ("embeddings.tok_embeddings.weight",),
        **pair_of("encoder.norm", "embeddings.norm", bias=False),
        **pair_of("encoder.last_norm", "final_norm", bias=False),
    }
    for i in range(shape.layers):
        ours, theirs = f"encoder.layers.{i}", f"layers.{i}"
        if i:
            names |= pair_of(f"{ours}.attention_norm", f"{theirs}.attn_norm", bias=False)
        names |= pair_of(f"{ours}.qkv", f"{theirs}.attn.Wqkv", bias=False)
        names |= pair_of(f"{ours}.out", f"{theirs}.attn.Wo", bias=False)
        names |= pair_of(f"{ours}.inner_norm", f"{theirs}.mlp_norm", bias=False)
        names |= pair_of(f"{ours}.up", f"{theirs}.mlp.Wi", bias=False)
        names |= pair_of(f"{ours}.down", f"{theirs}.mlp.Wo", bias=False)
    return names


def _types(layers: int, every: int) -> list[str]:
    return [LOCAL if i % every else FULL for i in range(layers)]


def to_config(shape: Shape) -> dict[str, Any]:
    """ModernBERT's configuration, in the newer and the older spelling."""
    every = shape.global_every if shape.window else 1
    wide, near = shape.rotary or (0.0, 0.0)
    return {
        "vocab_size": shape.vocab,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "hidden_activation": foreign(shape.activation),
        "classifier_activation": "linear" if shape.head == "plain" else foreign(shape.activation),
        "max_position_embeddings": shape.positions,
        "norm_eps": shape.eps,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "decoder_bias": True,
        "classifier_bias": False,
        "classifier_dropout": 0.0,
        "initializer_range": 0.02,
        "local_attention": shape.window or 128,
        "layer_types": _types(shape.layers, every),
        "rope_parameters": {
            FULL: {"rope_type": "default", "rope_theta": wide},
            LOCAL: {"rope_type": "default", "rope_theta": near},
        },
        "global_attn_every_n_layers": every,
        "global_rope_theta": wide,
        "local_rope_theta": near,
    }


def from_config(config: Config) -> Shape:
    """The shape of a ModernBERT. Raises `UnmaskError` for biases, scaled angles and irregular local layers."""
    for key in ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"):
        expect(config, key, False, False)
    expect(config, "decoder_bias", True, True)
    activation = known_activation(config, "hidden_activation", "gelu")
    plain = config.get("classifier_activation") == "linear"
    if not plain and known_activation(config, "classifier_activation", "gelu") != activation:
        raise UnmaskError(
            "body and head differ in activation — one is built here — this model cannot be read."
        )
    layers = number(config, "num_hidden_layers")
    every = _every(config, layers)
    bases = []
    older_form = dictionary(config, "rope_scaling")
    for kind, older, default in ((FULL, "global_rope_theta", 160000.0), (LOCAL, "local_rope_theta", 10000.0)):
        newer = dictionary(dictionary(config, "rope_parameters"), kind)
        for scaled in (newer, older_form, dictionary(older_form, kind)):
            for key in ("rope_type", "type"):
                expect(scaled, key, "default", "default")
        base = newer if newer.get("rope_theta") else {"rope_theta": config.get(older) or default}
        bases.append(decimal(base, "rope_theta", default))
    return Shape(
        vocab=number(config, "vocab_size"),
        width=number(config, "hidden_size"),
        layers=layers,
        heads=number(config, "num_attention_heads"),
        inner=number(config, "intermediate_size"),
        positions=number(config, "max_position_embeddings", 8192),
        segments=0,
        norm="pre",
        rotary=(bases[0], bases[1]),
        window=number(config, "local_attention", 128) if every > 1 else 0,
        global_every=every,
        gate=True,
        activation=activation,
        bias=False,
        eps=decimal(config, "norm_eps", 1e-5),
        head="plain" if plain else "dense",
    )


def _every(config: Config, layers: int) -> int:
    """The distance of global layers; the list of types, where there is one, must agree with it."""
    named = number(config, "global_attn_every_n_layers", 3)
    types: Any = config.get("layer_types")
    if types is None and named > 0:
        return named
    if isinstance(types, list) and len(types) == layers:
        distances: list[int] = [named, *range(1, layers + 1)]
        for every in distances:
            if every > 0 and types == _types(layers, every):
                return every
    raise UnmaskError(
        f"layer_types is {types!r:.200} — expected a global layer first and then at one distance — this model"
        " cannot be read."
    )


def _classifier(part: str) -> Names:
    return {
        **pair_of(f"{part}.first.dense", "head.dense", bias=False),
        **pair_of(f"{part}.first.norm", "head.norm", bias=False),
        **pair_of(f"{part}.out", "classifier"),
    }


FAMILY = Family(
    name="modernbert",
    model_types=("modernbert",),
    prefix="model.",
    style="normed",
    body=body,
    pooler={},
    heads={
        "tokens": {
            **pair_of("tokens.dense", "head.dense", bias=False),
            **pair_of("tokens.norm", "head.norm", bias=False),
            "tokens.bias": ("decoder.bias",),
        },
        "classify": _classifier("classify"),
        "tag": _classifier("tag"),
        "span": _classifier("span"),
    },
    copies={"decoder.weight": "embeddings.tok_embeddings.weight"},
    architectures={
        "body": "ModernBertModel",
        "tokens": "ModernBertForMaskedLM",
        "classify": "ModernBertForSequenceClassification",
        "tag": "ModernBertForTokenClassification",
        "span": "ModernBertForQuestionAnswering",
    },
    to_config=to_config,
    from_config=from_config,
)
