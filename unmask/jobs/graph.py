"""A network as an ONNX graph: the padded forward pass, captured by torch.export and written by torch's exporter.

Captured and not traced, so no branch of the code is guessed at; opset `OPSET`; free axes for rows and tokens. In 8
bits the weights of matrix products and tables take a byte each and activations are measured while it runs
(onnxruntime's dynamic quantisation), with a scale a channel and 7 of the 8 bits, since processors without dot-product
instructions overflow with all 8.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from unmask.errors import UnmaskError
from unmask.jobs.source import Source
from unmask.models import Shape
from unmask.models.encoder import Encoder
from unmask.models.heads import ClassifyHead, PairHead, SpanHead, TagHead, TokensHead
from unmask.models.padded import Padded

OPSET = 20
ONE_FILE = (
    1_500_000_000  # bytes of weights up to which they lie in the graph's own file (its format ends at 2 GB)
)
NOISY = ("", "torch.onnx", "onnxscript", "onnx_ir", "torch.onnx._internal.exporter._registration")


def padded(source: Source) -> Padded:
    """The network that a model folder holds, over padded rows, with its weights."""
    loaded = source.loaded
    state = loaded.state

    def make(shape: Shape) -> Padded:
        encoder = Encoder(shape)
        heads: list[nn.Module] = []
        if loaded.heads in ("tokens", "pretraining"):
            heads.append(TokensHead(encoder, dense="tokens.norm.weight" in state))
        if loaded.heads == "pretraining" and "pair.out.weight" in state:
            heads.append(PairHead(shape))
        if loaded.heads == "classify":
            assert loaded.style is not None
            heads.append(ClassifyHead(shape, len(state["classify.out.weight"]), loaded.style))
        if loaded.heads == "tag":
            heads.append(TagHead(shape, len(state["tag.out.weight"])))
        if loaded.heads == "span":
            heads.append(SpanHead(shape))
        return Padded(encoder, tuple(heads)).eval()

    network, fresh = loaded.around(make)
    if fresh:
        raise UnmaskError(
            f"{source.folder} lacks {', '.join(fresh)} — a whole model was expected — make it again"
        )
    return network


def write_graph(network: Padded, file: Path) -> None:
    """Capture the graph with free numbers of rows and tokens and write it."""
    ids = torch.zeros(2, 8, dtype=torch.long)
    example = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }
    given = tuple(example.get(name, torch.zeros(2, dtype=torch.long)) for name in network.inputs)
    row, token = (
        torch.export.Dim("rows", min=1),
        torch.export.Dim("tokens", min=1, max=network.encoder.shape.positions),
    )
    axes = tuple({0: row} if name == "asked_positions" else {0: row, 1: token} for name in network.inputs)
    shapes = {"input_ids": axes[0], "attention_mask": axes[1], **({"more": axes[2:]} if axes[2:] else {})}
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    with quiet():
        program = torch.onnx.export(
            network, given, dynamo=True, input_names=list(network.inputs), output_names=list(network.outputs),
            dynamic_shapes=shapes, opset_version=OPSET, verbose=False, optimize=True,
        )  # fmt: skip
    assert program is not None
    program.save(str(file), external_data=size > ONE_FILE)


def to_bytes(file: Path) -> None:
    """Replace a graph by the same in 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = file.with_name("model_fp32.onnx")
    file.rename(whole)  # its data file, where it has one, is named in it
    with quiet():
        quantize_dynamic(whole, file, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    whole.unlink()
    file.with_name(f"{file.name}.data").unlink(missing_ok=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporter and the quantiser say about themselves."""
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
