"""An encoder with its pre-training heads, and the losses of the BERT family; the only recipe file that needs torch.

Sources: BERT (Devlin et al. 2019, 3.1), ALBERT (Lan et al. 2020, 3.1).
Differs: the last layer and the heads work on the asked positions alone; losses are sums over them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unmask.models import Shape
from unmask.models.encoder import Encoder
from unmask.models.heads import PairHead, TokensHead
from unmask.models.layers import pick

Batch = dict[str, Tensor]


class Network(nn.Module):
    """The parts of a model by name: encoder, head (which token), pair (which label) or None."""

    def __init__(self, shape: Shape, *, pair: bool) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.head = TokensHead(self.encoder)
        self.pair = PairHead(shape) if pair else None


def masked_loss(model: Network, batch: Batch) -> Batch:
    """Under "mlm" the summed cross-entropy in nats at `positions` [P], under "mlm_correct" how many are right there."""
    positions = batch["positions"]
    if not len(positions):  # RoBERTa rounds by chance: nothing is asked, yet a gradient of zero is due
        nothing = model.head.bias.sum() * 0.0
        return {"mlm": nothing, "mlm_correct": torch.zeros((), dtype=torch.int64, device=nothing.device)}
    states = model.encoder(batch["ids"], batch["lengths"], batch.get("segments"), positions)  # [P, H]
    loss, correct = model.head.loss(states, batch["targets"])
    return {"mlm": loss, "mlm_correct": correct}


def masked_and_pair_loss(model: Network, batch: Batch, term: str, weight: float) -> Batch:
    """`masked_loss`, and under `term` that of its labels [R] times `weight`, from one pass of the encoder.

    No special token is among the chosen, so the first tokens and the chosen ones are two disjoint sets.
    """
    assert model.pair is not None
    first, positions = batch["first_positions"], batch["positions"]
    keep = torch.cat((first, positions)).sort().values  # [R + P]
    states = model.encoder(batch["ids"], batch["lengths"], batch.get("segments"), keep)
    tokens, tokens_correct = model.head.loss(
        pick(states, torch.searchsorted(keep, positions)), batch["targets"]
    )
    pairs, pairs_correct = model.pair.loss(
        pick(states, torch.searchsorted(keep, first)), batch[f"{term}_labels"]
    )
    return {
        "mlm": tokens,
        "mlm_correct": tokens_correct,
        term: weight * pairs,
        f"{term}_correct": pairs_correct,
    }
