"""The peer of the pre-training benchmarks: `transformers`' BertForMaskedLM in the plain loop that its users write.

AdamW, clipping at 1, the published dropout of 0.1, all positions through the head, rows padded to the longest of
their batch; in fp32, or in bf16 by autocast. Masked batches are made beforehand, so its masking costs it nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.train import working_precision

Example = Mapping[str, np.ndarray]


def bf16_pays() -> bool:
    """Whether this processor multiplies bf16; on others a product in it takes many times as long, on both sides."""
    return working_precision("auto", torch.device("cpu")) == torch.bfloat16


def autocasts() -> tuple[bool, ...]:
    """What a peer is tried with: without bf16, and with it where that pays."""
    return (False, True) if bf16_pays() else (False,)


def padded(examples: Sequence[Example], pad: int) -> dict[str, Tensor]:
    """Our examples as the peer wants them: input_ids, attention_mask and labels [R, T], -100 where nothing is asked."""
    longest = max(len(e["ids"]) for e in examples)
    ids = np.full((len(examples), longest), pad, np.int64)
    seen = np.zeros_like(ids)
    labels = np.full_like(ids, -100)
    for row, e in enumerate(examples):
        ids[row, : len(e["ids"])], seen[row, : len(e["ids"])] = e["ids"], 1
        labels[row, e["positions"]] = e["targets"]
    batch = {"input_ids": ids, "attention_mask": seen, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in batch.items()}


class Peer:
    """A model of a folder and its loop."""

    def __init__(self, folder: Path, *, bf16: bool, dropout: float, rate: float = 1e-3) -> None:
        from transformers import BertForMaskedLM, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.model: Any = BertForMaskedLM.from_pretrained(
            folder, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
        ).train()
        self.bf16 = bf16
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, weight_decay=0.01)

    def loss(self, batch: Mapping[str, Tensor]) -> float:
        """The mean loss in fp32 without dropout."""
        self.model.eval()
        with torch.no_grad():
            value = float(self.model(**batch).loss)
        self.model.train()
        return value

    def step(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, float]:
        """One update; the loss and the seconds it took."""
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            loss = self.model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach(), time.perf_counter() - began
