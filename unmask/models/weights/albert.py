"""ALBERT's names and configuration (Lan et al. 2020; layout of the `transformers` port).

A file's layer indices are groups, not layers: one group of one layer is all that was ever released, and all
that is read. The pooler is a bare linear map.
"""

from __future__ import annotations

from typing import Any

from unmask.models import Shape
from unmask.models.weights.bert import embeddings
from unmask.models.weights.family import (
    Config,
    Family,
    Names,
    decimal,
    expect,
    foreign,
    known_activation,
    number,
    pair_of,
)


def body(shape: Shape) -> Names:
    """Names of the encoder, without the prefix."""
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    query = f"{layer}.attention"
    return {
        **embeddings(shape),
        **pair_of("encoder.lift", "encoder.embedding_hidden_mapping_in"),
        **pair_of("encoder.layers.0.qkv", f"{query}.query", f"{query}.key", f"{query}.value"),
        **pair_of("encoder.layers.0.out", f"{query}.dense"),
        **pair_of("encoder.layers.0.attention_norm", f"{query}.LayerNorm"),
        **pair_of("encoder.layers.0.up", f"{layer}.ffn"),
        **pair_of("encoder.layers.0.down", f"{layer}.ffn_output"),
        **pair_of("encoder.layers.0.inner_norm", f"{layer}.full_layer_layer_norm"),
    }


def to_config(shape: Shape) -> dict[str, Any]:
    """ALBERT's configuration."""
    return {
        "vocab_size": shape.vocab,
        "embedding_size": shape.embedding,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "hidden_act": foreign(shape.activation),
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "classifier_dropout_prob": 0.1,
        "max_position_embeddings": shape.positions,
        "type_vocab_size": shape.segments,
        "initializer_range": 0.02,
        "layer_norm_eps": shape.eps,
    }


def from_config(config: Config) -> Shape:
    """The shape of an ALBERT. Raises `UnmaskError` for more than one group."""
    expect(config, "num_hidden_groups", 1, 1)
    expect(config, "inner_group_num", 1, 1)
    expect(config, "position_embedding_type", "absolute", "absolute")
    return Shape(
        vocab=number(config, "vocab_size"),
        width=number(config, "hidden_size"),
        layers=number(config, "num_hidden_layers"),
        heads=number(config, "num_attention_heads"),
        inner=number(config, "intermediate_size"),
        positions=number(config, "max_position_embeddings", 512),
        segments=number(config, "type_vocab_size", 2),
        embedding=number(config, "embedding_size", 128),
        activation=known_activation(config, "hidden_act", "gelu_new"),
        eps=decimal(config, "layer_norm_eps", 1e-12),
        shared=True,
    )


FAMILY = Family(
    name="albert",
    model_types=("albert",),
    prefix="albert.",
    style="pooler",
    body=body,
    pooler=pair_of("pooler.dense", "pooler"),
    heads={
        "tokens": {
            **pair_of("tokens.dense", "predictions.dense"),
            **pair_of("tokens.norm", "predictions.LayerNorm"),
            "tokens.bias": ("predictions.bias",),
        },
        "pair": pair_of("pair.out", "sop_classifier.classifier"),
        "classify": pair_of("classify.out", "classifier"),
        "tag": pair_of("tag.out", "classifier"),
        "span": pair_of("span.out", "qa_outputs"),
    },
    copies={
        "predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    architectures={
        "body": "AlbertModel",
        "tokens": "AlbertForMaskedLM",
        "pretraining": "AlbertForPreTraining",
        "classify": "AlbertForSequenceClassification",
        "tag": "AlbertForTokenClassification",
        "span": "AlbertForQuestionAnswering",
    },
    to_config=to_config,
    from_config=from_config,
)
