"""BERT's names and configuration (Devlin et al. 2019; layout of the `transformers` port).

Also reads SpanBERT, the whole-word-masking and the sentence-embedding models, which keep the layout.
"""

from __future__ import annotations

from typing import Any

from unmask.models import Shape
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

DEFAULT_POSITIONS = 512


def embeddings(shape: Shape) -> Names:
    """The three tables and their norm, as BERT, RoBERTa and ALBERT name them."""
    return {
        "encoder.tokens.weight": ("embeddings.word_embeddings.weight",),
        "encoder.places.weight": ("embeddings.position_embeddings.weight",),
        "encoder.segments.weight": ("embeddings.token_type_embeddings.weight",),
        **pair_of("encoder.norm", "embeddings.LayerNorm"),
    }


def body(shape: Shape) -> Names:
    """Names of the encoder, without the prefix."""
    names = embeddings(shape)
    for i in range(shape.layers):
        ours, theirs = f"encoder.layers.{i}", f"encoder.layer.{i}"
        query = f"{theirs}.attention.self"
        names |= pair_of(f"{ours}.qkv", f"{query}.query", f"{query}.key", f"{query}.value")
        names |= pair_of(f"{ours}.out", f"{theirs}.attention.output.dense")
        names |= pair_of(f"{ours}.attention_norm", f"{theirs}.attention.output.LayerNorm")
        names |= pair_of(f"{ours}.up", f"{theirs}.intermediate.dense")
        names |= pair_of(f"{ours}.down", f"{theirs}.output.dense")
        names |= pair_of(f"{ours}.inner_norm", f"{theirs}.output.LayerNorm")
    return names


def to_config(shape: Shape) -> dict[str, Any]:
    """The fields that BERT and RoBERTa share."""
    return {
        "vocab_size": shape.vocab,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "hidden_act": foreign(shape.activation),
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": shape.positions + shape.offset,
        "type_vocab_size": shape.segments,
        "initializer_range": 0.02,
        "layer_norm_eps": shape.eps,
    }


def from_config(config: Config) -> Shape:
    """The shape of a BERT. Raises `UnmaskError` for decoders and relative positions."""
    expect(config, "is_decoder", False, False)
    expect(config, "position_embedding_type", "absolute", "absolute")
    return Shape(
        vocab=number(config, "vocab_size"),
        width=number(config, "hidden_size"),
        layers=number(config, "num_hidden_layers"),
        heads=number(config, "num_attention_heads"),
        inner=number(config, "intermediate_size"),
        positions=number(config, "max_position_embeddings", DEFAULT_POSITIONS),
        segments=number(config, "type_vocab_size", 2),
        activation=known_activation(config, "hidden_act", "gelu"),
        eps=decimal(config, "layer_norm_eps", 1e-12),
    )


FAMILY = Family(
    name="bert",
    model_types=("bert",),
    prefix="bert.",
    style="pooler",
    body=body,
    pooler=pair_of("pooler.dense", "pooler.dense"),
    heads={
        "tokens": {
            **pair_of("tokens.dense", "cls.predictions.transform.dense"),
            **pair_of("tokens.norm", "cls.predictions.transform.LayerNorm"),
            "tokens.bias": ("cls.predictions.bias",),
        },
        "pair": pair_of("pair.out", "cls.seq_relationship"),
        "classify": pair_of("classify.out", "classifier"),
        "tag": pair_of("tag.out", "classifier"),
        "span": pair_of("span.out", "qa_outputs"),
    },
    copies={
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    architectures={
        "body": "BertModel",
        "tokens": "BertForMaskedLM",
        "pretraining": "BertForPreTraining",
        "classify": "BertForSequenceClassification",
        "tag": "BertForTokenClassification",
        "span": "BertForQuestionAnswering",
    },
    to_config=to_config,
    from_config=from_config,
)
