"""Networks that are tried at equal time and are not in the product: each changes a fresh `Network` of `modern`.

Sources: an output matrix of its own (the untied pair of Press and Wolf 2017); embeddings added before every layer
(the x0 of speed runs with GPT-2; DenseNet's idea, Huang et al. 2017); the first layer's values added to the others'
(value residual, Zhou et al. 2024, section 3). Learned shares start at 0, so a variant starts as the network itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unmask.batch import Layout
from unmask.models.attention import attend, attend_from, rotate
from unmask.models.encoder import Layer
from unmask.models.heads import TokensHead
from unmask.models.layers import affine, filler, lengthen, pick
from unmask.recipes.network import Network


class Untied(TokensHead):
    """Logits by a table of their own, which starts as a copy of the embeddings."""

    table: nn.Parameter

    @property
    def matrix(self) -> Tensor:
        return self.table


class _Kept:
    """What the first layer leaves for the others in one pass."""

    held: Tensor


class WithEmbeddings(Layer):
    """A layer whose input has the embeddings added, by a learned share."""

    kept: _Kept
    share: nn.Parameter

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        return super().forward(x + self.share * self.kept.held, *given)


class WithValues(Layer):
    """A layer whose values have the first layer's added, by a learned share; without dropout or `alike`.

    Two methods of `Layer` written again on purpose: it lost (docs/log.md), and the product gets no door for it.
    """

    kept: _Kept
    share: nn.Parameter

    def _attend(
        self,
        x: Tensor,
        lay: Layout,
        turn: tuple[Tensor, Tensor] | None,
        window: int,
        dropout: float,
        alike: object,
    ) -> Tensor:
        heads = self.shape.heads
        qkv = affine(x, self.qkv.weight, self.qkv.bias)[: lay.tokens].view(lay.tokens, 3, -1)
        if not hasattr(self, "share"):
            self.kept.held = qkv[:, 2]
        else:
            qkv = torch.cat((qkv[:, :2], (qkv[:, 2] + self.share * self.kept.held)[:, None]), 1)
        assert turn is not None and alike is None
        qkv = rotate(qkv, turn, heads, turned=2)
        return lengthen(attend(qkv, heads, lay, window, dropout), len(x) - lay.tokens)

    def _attend_from(
        self,
        x: Tensor,
        lay: Layout,
        turn: tuple[Tensor, Tensor] | None,
        window: int,
        keep: Tensor,
        dropout: float,
    ) -> Tensor:
        heads, width = self.shape.heads, self.shape.width
        q = pick(x, keep)
        more = filler(q)
        q = affine(lengthen(q, more), self.qkv.weight[:width], None)[: len(keep)]
        k, v = affine(x, self.qkv.weight[width:], None)[: lay.tokens].view(lay.tokens, 2, -1).unbind(1)
        kv = torch.stack((k, v + self.share * self.kept.held), 1)
        assert turn is not None
        cos, sin = turn
        q = rotate(q[:, None], (cos[keep], sin[keep]), heads, turned=1)[:, 0]
        kv = rotate(kv, turn, heads, turned=1)
        return lengthen(attend_from(q, kv, heads, lay, window, keep, dropout), more)


def untied(network: Network) -> None:
    head = network.head
    head.__class__ = Untied  # the parts are made already; only what they are multiplied with differs
    assert isinstance(head, Untied)
    head.table = nn.Parameter(network.encoder.tokens.weight.detach().clone())


def embeddings(network: Network) -> None:
    kept = _Kept()

    def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
        kept.held = given[0]

    layers = network.encoder.layers
    layers[0].register_forward_pre_hook(keep)
    for layer in list(layers)[1:]:
        _become(layer, WithEmbeddings, kept)


def values(network: Network) -> None:
    kept = _Kept()
    for number, layer in enumerate(network.encoder.layers):
        _become(layer, WithValues, kept, shares=number > 0)


def _become(layer: nn.Module, kind: type[Layer], kept: _Kept, *, shares: bool = True) -> None:
    layer.__class__ = kind
    layer.kept = kept  # type: ignore[assignment]  # no module and no tensor: a plain attribute
    if shares:
        layer.share = nn.Parameter(torch.zeros(1))


VARIANTS: dict[str, Callable[[Network], None]] = {
    "": lambda network: None,
    "untied": untied,
    "embeddings": embeddings,
    "values": values,
}


def stack(network: Network, weights: dict[str, Tensor]) -> None:
    """The weights of a shallower network, its layers repeated upward (Gong et al. 2019): 0 1 becomes 0 1 0 1."""
    old = 1 + max(int(found[1]) for name in weights if (found := re.search(r"layers\.(\d+)\.", name)))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            from_ = re.sub(r"layers\.(\d+)\.", lambda found: f"layers.{int(found[1]) % old}.", name)
            if from_ in weights:  # the first layer has no attention norm to give
                parameter.copy_(weights[from_])
