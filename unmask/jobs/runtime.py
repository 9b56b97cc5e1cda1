"""Asking an exported graph: padded batches for onnxruntime, and its logits as a task's predictions.

Written apart from the tasks' own networks on purpose: it is what a program elsewhere would do with the file, so the
gate of an export tests the file's contract and not our code twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.jobs.adapt import micro_batches
from unmask.jobs.predict import Tuned
from unmask.randomness import generator
from unmask.tasks import Examples

#: input of the graph → array of an example; the first that is there
ARRAYS = {
    "input_ids": ("ids",),
    "token_type_ids": ("parts", "segments"),
}


class Session:
    """An ONNX file opened by onnxruntime on the processor, with as many threads as torch has."""

    def __init__(self, file: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self._session.get_inputs()]
        self._outputs = [one.name for one in self._session.get_outputs()]

    def outputs(self, examples: Sequence[dict[str, np.ndarray]]) -> list[list[np.ndarray]]:
        """A list an output, with an array a row, padding cut off: [C], [T] or [T, C]."""
        lengths = [len(example["ids"]) for example in examples]
        given = {name: self._given(name, examples, lengths) for name in self.inputs}
        found = []
        for name, output in zip(self._outputs, self._session.run(None, given), strict=True):
            per_token = output.ndim == 3 or name in ("start_logits", "end_logits")
            found.append([row[:n] if per_token else row for row, n in zip(output, lengths, strict=True)])
        return found

    def _given(
        self, name: str, examples: Sequence[dict[str, np.ndarray]], lengths: Sequence[int]
    ) -> np.ndarray:
        if name == "asked_positions":
            return np.array([int(example["asked_positions"][0]) for example in examples], np.int64)
        grid = np.zeros((len(examples), max(lengths)), np.int64)
        for row, example, length in zip(grid, examples, lengths, strict=True):
            if name == "attention_mask":
                row[:length] = 1
            else:
                held = next((example[key] for key in ARRAYS[name] if key in example), None)
                row[:length] = 0 if held is None else held
        return grid


def said_by(session: Session, tuned: Tuned, examples: Examples) -> list[dict[str, Any]]:
    """The predictions of a graph for labelled rows, joined as the task joins them."""
    note, vocab = tuned.note, tuned.tokenizer.vocab
    windows = note.task.rows(
        examples,
        tuned.tokenizer,
        note.labels,
        tuned.frame,
        length=note.length,
        overlap=note.overlap,
        training=False,
    ).rows
    unused = generator(0, "window", 0)  # only a window to learn from is drawn
    drawn = [note.task.example(window, vocab, unused) for window in windows]
    found = [one for some in micro_batches(drawn) for one in _said(session, some)]
    return note.task.join(examples, windows, found, note.labels)


def _said(session: Session, examples: Sequence[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """What `Task.predict` gives: log-probabilities (or scores) a window."""
    outputs = session.outputs(examples)
    if "passage_positions" in examples[0]:
        return [_span(start, end, one) for start, end, one in zip(*outputs, examples, strict=True)]
    if "tag_positions" in examples[0]:
        return [_log_shares(row[one["tag_positions"]]) for row, one in zip(outputs[0], examples, strict=True)]
    return [row if len(row) == 1 else _log_shares(row) for row in outputs[0]]


def _span(start: np.ndarray, end: np.ndarray, example: dict[str, np.ndarray]) -> np.ndarray:
    """Over [CLS] and the passage alone.  # [2, 1 + u]"""
    first, last = example["passage_positions"].tolist()
    return _log_shares(np.stack([np.concatenate([x[:1], x[first:last]]) for x in (start, end)]))


def _log_shares(logits: np.ndarray) -> np.ndarray:
    top = logits - logits.max(-1, keepdims=True)
    found: np.ndarray = top - np.log(np.exp(top).sum(-1, keepdims=True))
    return found
