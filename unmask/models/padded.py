"""The same network over padded rows, `[B, T]` with a mask, in plain operations: what other programs expect of a model.

Here rows lie end to end and only attention knows them (`batch.py`); a file for another runtime must take the padded
rectangles that the rest of the world feeds. `Padded` holds the very modules of an encoder and its heads, so there is
one set of weights, and writes their forward pass once more without custom gradients and without shapes that hang on
the data. Rows start at the left, as every tokenizer of these families pads. What stands in padding does not matter:
it is seen by no token and is in no mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.errors import UnmaskError
from unmask.models.attention import angles
from unmask.models.encoder import Encoder, Layer, mixed
from unmask.models.heads import ClassifyHead, PairHead, SpanHead, TagHead, TokensHead
from unmask.models.layers import ACTIVATIONS

NEVER = -3.0e38  # finite, so that padding that sees nothing has a softmax too


class Padded(nn.Module):
    """An encoder and at most one kind of head over padded rows, for inference.

    `inputs` and `outputs` name what `forward` takes and gives, in order: input_ids and attention_mask [B, T] int64;
    token_type_ids [B, T] where the family has segments or the head compares two parts; asked_positions [B] where
    the head reads a named token. Outputs: logits [B, C] or [B, T, C], pair_logits [B, 2], start_logits and
    end_logits [B, T], or last_hidden_state [B, T, H].
    """

    cos: Tensor
    sin: Tensor
    near_cos: Tensor
    near_sin: Tensor

    def __init__(self, encoder: Encoder, heads: tuple[nn.Module, ...] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)
        shape = encoder.shape
        if shape.rotary is not None:
            for base, names in zip(shape.rotary, (("cos", "sin"), ("near_cos", "near_sin")), strict=True):
                tables = angles(shape.positions, shape.head_width, base, torch.device("cpu"), torch.float32)
                for name, table in zip(names, tables, strict=True):
                    self.register_buffer(name, table, persistent=False)
        classifiers = [head for head in heads if isinstance(head, ClassifyHead)]
        parts = shape.segments > 1 or any(head.compares for head in classifiers)
        asked = any(head.style == "asked" for head in classifiers)
        self.mixes = any(head.mixes for head in classifiers)
        self.inputs = ["input_ids", "attention_mask"]
        self.inputs += ["token_type_ids"] if parts else []
        self.inputs += ["asked_positions"] if asked else []
        self.outputs = [name for head in heads for name in _outputs(head)] or ["last_hidden_state"]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """The outputs named in `outputs`, from the inputs named in `inputs`."""
        given = dict(zip(self.inputs[2:], more, strict=True))
        types = given.get("token_type_ids")
        real = attention_mask > 0  # [B, T]
        states = self._states(input_ids, real, types)
        found: list[Tensor] = []
        for head in self.heads:
            if isinstance(head, PairHead):
                found.append(head(states[:, 0]))
            elif isinstance(head, ClassifyHead):
                found.append(_classes(head, states, real, types, given.get("asked_positions")))
            elif isinstance(head, SpanHead):
                scores = head(states)
                found += [scores[..., 0], scores[..., 1]]
            else:
                found.append(head(states))
        return tuple(found) or (states,)

    def _states(self, ids: Tensor, real: Tensor, types: Tensor | None) -> Tensor:  # [B, T, H]
        encoder = self.encoder
        shape, length = encoder.shape, ids.shape[1]
        x = F.embedding(ids, encoder.tokens.weight)
        place = torch.arange(length, device=ids.device)
        if encoder.places is not None:
            x = x + F.embedding(place + shape.offset, encoder.places.weight)
        if encoder.segments is not None:
            table = encoder.segments.weight
            x = x + (table[0] if types is None or len(table) == 1 else F.embedding(types, table))
        x = encoder.norm(x)
        if encoder.lift is not None:
            x = encoder.lift(x)
        first = x
        seen = real[:, None, None, :]  # [B, 1, 1, T]
        near = seen
        turns: list[tuple[Tensor, Tensor] | None] = [None, None]
        if shape.rotary is not None:
            turns = [
                (F.embedding(place, cos), F.embedding(place, sin))
                for cos, sin in ((self.cos, self.sin), (self.near_cos, self.near_sin))
            ]
        if shape.window:
            near = seen & ((place[:, None] - place[None, :]).abs() <= shape.window // 2)
        for i in range(shape.layers):
            layer = encoder.layers[0 if shape.shared else i]
            assert isinstance(layer, Layer)
            local = shape.local(i)
            x = _layer(layer, x, near if local else seen, turns[local])
        if self.mixes:
            return mixed(first, x)
        return x if encoder.last_norm is None else encoder.last_norm(x)


def _layer(layer: Layer, x: Tensor, seen: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
    shape = layer.shape
    pre = shape.norm == "pre"
    y = layer.attention_norm(x) if pre and layer.attention_norm is not None else x
    x = x + layer.out(_attention(layer.qkv(y), shape.heads, seen, turn))
    if not pre and layer.attention_norm is not None:
        x = layer.attention_norm(x)
    y = layer.up(layer.inner_norm(x) if pre else x)
    act = ACTIVATIONS[shape.activation]
    if shape.gate:
        left, right = y.chunk(2, -1)
        y = act(left) * right
    else:
        y = act(y)
    x = x + layer.down(y)
    return x if pre else layer.inner_norm(x)


def _attention(qkv: Tensor, heads: int, seen: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
    """[B, T, 3H] -> [B, T, H]."""
    rows, length, width = qkv.shape
    parts = qkv.view(rows, length, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
    q, k, v = parts.unbind(0)  # [B, A, T, D]
    if turn is not None:
        q, k = _turned(q, *turn), _turned(k, *turn)
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    shares = torch.where(seen, scores, NEVER).softmax(-1)
    return (shares @ v).transpose(1, 2).reshape(rows, length, width // 3)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)


def _classes(
    head: ClassifyHead, states: Tensor, real: Tensor, types: Tensor | None, asked: Tensor | None
) -> Tensor:  # [B, C]
    if head.compares:
        assert types is not None
        u, v = (_mean(states, real & (types == part)) for part in (0, 1))
        x = torch.cat((u, v, (u - v).abs(), u * v), -1)
    elif head.style in ("mean", "normed_mean", "layers_mean"):
        x = _mean(states, real)
    elif head.style == "asked":
        assert asked is not None
        at = asked[:, None, None].expand(-1, 1, states.shape[-1])
        x = states.gather(1, at)[:, 0]
    else:
        x = states[:, 0]
    if head.first is not None:
        x = head.first(x)
    out: Tensor = head.out(x)
    return out


def _mean(states: Tensor, part: Tensor) -> Tensor:
    """The mean over some tokens of each row, zeros where there are none: [B, T, H], [B, T] -> [B, H]."""
    held = part[:, :, None].to(states.dtype)
    return torch.where(part[:, :, None], states, 0.0).sum(1) / held.sum(1).clamp(min=1.0)


def _outputs(head: nn.Module) -> list[str]:
    if isinstance(head, PairHead):
        return ["pair_logits"]
    if isinstance(head, SpanHead):
        return ["start_logits", "end_logits"]
    if isinstance(head, TokensHead | ClassifyHead | TagHead):
        return ["logits"]
    raise UnmaskError(f"{type(head).__name__} is no head that can be written for others — leave it out")
