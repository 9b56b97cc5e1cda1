"""A network as named parts, whatever a recipe or task calls them: parts are known by their type.

The pooler is a part of its own, since files keep it with the body: it stands in `PairHead` after pre-training
and in `ClassifyHead` of style "pooler" after fine-tuning.
"""

from __future__ import annotations

from torch import Tensor, nn

from unmask.errors import UnmaskError
from unmask.models.encoder import Encoder
from unmask.models.heads import ClassifyHead, PairHead, Pooler, SpanHead, TagHead, TokensHead

TYPES: dict[str, type[nn.Module]] = {
    "encoder": Encoder,
    "tokens": TokensHead,
    "pair": PairHead,
    "classify": ClassifyHead,
    "tag": TagHead,
    "span": SpanHead,
}


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The first module of every type in a network. Raises `UnmaskError` if there is no encoder."""
    found: dict[str, nn.Module] = {}
    for module in model.modules():
        for name, kind in TYPES.items():
            if isinstance(module, kind):
                found.setdefault(name, module)
    if "encoder" not in found:
        raise UnmaskError(
            f"{type(model).__name__} has no Encoder — expected a network with one — give the whole network."
        )
    return found


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The network's own tensors under part names, e.g. "encoder.norm.weight", "pooler.dense.bias"."""
    state = {}
    for part, module in parts_of(model).items():
        pooler = "pooler." if part == "pair" else "first." if _pools(module) else None
        for name, tensor in module.state_dict(keep_vars=True).items():
            if pooler and name.startswith(pooler):
                state["pooler." + name.removeprefix(pooler)] = tensor
            else:
                state[f"{part}.{name}"] = tensor
    return state


def _pools(module: nn.Module) -> bool:
    return isinstance(module, ClassifyHead) and module.style == "pooler" and isinstance(module.first, Pooler)
