"""The four starts of a training, from one model folder: which weights are loaded, which are drawn, which move.

- pretrained: body loaded, head drawn; all move.
- scratch: all drawn, all move (the baseline of Hao et al. 2019: same shape, head and rows).
- frozen: as pretrained, and only the head moves (with what the family puts under its classifier); the body has no
  dropout, as nothing in it learns to bear any.
- embeddings: the tables of tokens, positions and segments, their norm and their lift are loaded, the layers drawn; all
  move.

With one seed the head is drawn alike for all starts (save the layer that ModernBERT's classifier takes over from its
masked-LM head, where a body is loaded), and so are the order of the rows and the subset.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from unmask.jobs.adapt import Prepared, fresh
from unmask.models.weights import load_pretrained
from unmask.tasks.networks import TaskModel

TABLES = tuple(f"encoder.{name}." for name in ("tokens", "places", "segments", "norm", "lift"))


def begin(p: Prepared, start: str, seed: int) -> TaskModel:
    """The network of a start before its first update, in fp32; what does not move asks for no gradient."""
    model = fresh(replace(p, from_scratch=start in ("scratch", "embeddings")), seed)
    if start == "embeddings":
        loaded = load_pretrained(p.source)
        tables = {name: value for name, value in loaded.state.items() if name.startswith(TABLES)}
        replace(loaded, state=tables).into(model)
    if start == "frozen":
        model.encoder.requires_grad_(False)
        model.encoder.dropout = 0.0
    return model


def moving(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training moves, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
