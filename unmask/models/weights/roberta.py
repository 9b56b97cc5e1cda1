"""RoBERTa's names and configuration (Liu et al. 2019; layout of the `transformers` port); reads XLM-R too.

The body is named as BERT's. Positions count from the padding id on, so the table has padding id + 1 unused
rows at its start, and `max_position_embeddings` counts them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unmask.errors import UnmaskError
from unmask.models import Shape
from unmask.models.weights import bert
from unmask.models.weights.family import Config, Family, number, pair_of


def to_config(shape: Shape) -> dict[str, Any]:
    """RoBERTa's configuration; its padding id fixes the offset."""
    return {**bert.to_config(shape), "pad_token_id": shape.offset - 1}


def from_config(config: Config) -> Shape:
    """The shape of a RoBERTa, with the rows before the first position as `offset`."""
    plain = bert.from_config(config)
    offset = number(config, "pad_token_id", 1) + 1
    return replace(plain, offset=offset, positions=plain.positions - offset)


def check_head(family: str, shape: Shape, kind: str) -> None:
    """Raise `UnmaskError` for a RoBERTa's masked-LM head on a body with another activation.

    That head takes the plain GELU whatever its configuration says.
    """
    if family == "roberta" and kind == "tokens" and shape.activation != "gelu":
        raise UnmaskError(
            f"the body's activation is {shape.activation} and the masked-LM head of a RoBERTa has gelu — body and head "
            'with one activation are built here — without that head (heads="body") the model can be read.'
        )


FAMILY = Family(
    name="roberta",
    model_types=("roberta", "xlm-roberta"),
    prefix="roberta.",
    style="dense",
    body=bert.body,
    pooler=pair_of("pooler.dense", "pooler.dense"),
    heads={
        "tokens": {
            **pair_of("tokens.dense", "lm_head.dense"),
            **pair_of("tokens.norm", "lm_head.layer_norm"),
            "tokens.bias": ("lm_head.bias",),
        },
        "classify": {
            **pair_of("classify.first.dense", "classifier.dense"),
            **pair_of("classify.out", "classifier.out_proj"),
        },
        "tag": pair_of("tag.out", "classifier"),
        "span": pair_of("span.out", "qa_outputs"),
    },
    copies={
        "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    architectures={
        "body": "RobertaModel",
        "tokens": "RobertaForMaskedLM",
        "classify": "RobertaForSequenceClassification",
        "tag": "RobertaForTokenClassification",
        "span": "RobertaForQuestionAnswering",
    },
    to_config=to_config,
    from_config=from_config,
)
