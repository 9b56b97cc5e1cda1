"""What a family's file must say: its names, its configuration, its classes in `transformers`.

A table goes from our name to theirs and is read in both directions. Three names on their side are the parts
of one fused matrix on ours. Our names start with the part: encoder, tokens, pooler, pair, classify, tag,
span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from unmask.errors import UnmaskError, nearest
from unmask.models import Shape
from unmask.models.heads import Style

Names = dict[str, tuple[str, ...]]
Config = Mapping[str, Any]
T = TypeVar("T")

#: foreign activation → ours; the first foreign name of each is the one written
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu2": "relu2",
}


@dataclass(frozen=True)
class Family:
    """One family's way of writing a model down."""

    name: str
    model_types: tuple[str, ...]  # the first is the one written
    prefix: str  # before the names of body and pooler, save in a file of the body alone
    style: Style  # of its sequence classifier
    body: Callable[[Shape], Names]
    pooler: Names
    heads: dict[str, Names]  # part → names, outside the prefix
    copies: dict[str, str]  # tied tensors that a file may hold once more → what they must equal
    architectures: dict[str, str]  # heads → class
    to_config: Callable[[Shape], dict[str, Any]]
    from_config: Callable[[Config], Shape]


def pair_of(ours: str, *theirs: str, bias: bool = True) -> Names:
    """The weight and the bias of one map or norm."""
    kinds = ("weight", "bias") if bias else ("weight",)
    return {f"{ours}.{kind}": tuple(f"{name}.{kind}" for name in theirs) for kind in kinds}


def foreign(activation: str) -> str:
    """Their name of our activation."""
    return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == activation)


def known_activation(config: Config, key: str, default: str) -> Any:
    """Our name of the activation in a configuration. Raises `UnmaskError` for one that is not built."""
    found = str(config.get(key, default))
    if found not in ACTIVATIONS:
        raise UnmaskError(
            f'{key} "{found:.60}" — expected one of {", ".join(ACTIVATIONS)} — this model cannot be read.'
            + nearest(found, ACTIVATIONS)
        )
    return ACTIVATIONS[found]


def expect(config: Config, key: str, value: T, default: T) -> None:
    """Raises `UnmaskError` where a configuration asks for what is not built."""
    found = config.get(key, default)
    if found != value:
        raise UnmaskError(
            f"{key} is {found!r:.60} — only {value!r} is built here — this model cannot be read."
        )


#: what a model can have of each; beyond, config.json would ask for memory or time before the weights can disagree
MOST = {"num_hidden_layers": 1000, "max_position_embeddings": 2**18}


def number(config: Config, key: str, default: int | None = None) -> int:
    """A whole number that a configuration must hold, or may. Raises `UnmaskError` for another, or beyond `MOST`."""
    found = config.get(key, default)
    if not isinstance(found, int) or isinstance(found, bool):
        raise UnmaskError(
            f"{key} is {found!r:.60} in config.json — expected a whole number — mend or fetch the file again."
        )
    if not -(2**31) < found < 2**31 or found > MOST.get(key, 2**31):
        raise UnmaskError(
            f"{key} is {found if abs(found) < 10**20 else 'astronomic'} in config.json — expected at most"
            f" {MOST.get(key, 2**31):,} — mend or fetch the file again."
        )
    return found


def dictionary(config: Config, key: str) -> Config:
    """A group of settings that a configuration may hold. Raises `UnmaskError` for another value."""
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise UnmaskError(
            f"{key} is {found!r:.60} in config.json — expected an object — mend or fetch the file again."
        )
    return found


def decimal(config: Config, key: str, default: float) -> float:
    """A number that a configuration may hold. Raises `UnmaskError` for another value, and for none above zero."""
    found = config.get(key, default)
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found < 1e30:
        raise UnmaskError(
            f"{key} is {found!r:.60} in config.json — expected a number above zero — mend or fetch the file again."
        )
    return float(found)
