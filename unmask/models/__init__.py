"""What an encoder is, as numbers: one value that BERT, RoBERTa, ALBERT and ModernBERT are settings of.

The fields are orthogonal, so a family is never a subclass and a new mixture needs no code. Widths and depths
come from the papers: BERT (Devlin et al. 2019, section 3), the small BERTs (Turc et al. 2019, table 1),
ALBERT (Lan et al. 2020, table 1), RoBERTa (Liu et al. 2019), ModernBERT (Warner et al. 2024, appendix). It
differs from them only where no small model was published: the small ModernBERTs take BERT's depth and width,
and an inner width of two thirds, so that a gated layer has about the parameters of a plain one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import Literal

from unmask.errors import UnmaskError, nearest


@dataclass(frozen=True)
class Shape:
    """The shape of an encoder; counts are exact for the four families.

    vocab, width (H), layers (L), heads (A), inner (F, of one half if gated), positions: the longest row.
    segments: rows of the segment table, 0 for none. embedding: E where the tables are narrower than the
    layers and a linear map lifts them (ALBERT), 0 for tables of width H. norm: after the addition or before
    the layer (then layer 0 has no attention norm, since the embeddings are normed already). rotary: bases of
    the angles in (global, local) layers, None for a learned table. window: a local layer sees |i - j| <=
    window / 2; layer i is global if i is a multiple of global_every; 0 for global layers alone. offset: rows
    of the position table before the first (RoBERTa: 2). shared: one layer used L times. bias: of linear maps
    and norms. head: a dense layer and an activation before a head's norm, or the norm alone (plain).
    """

    vocab: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    segments: int = 2
    embedding: int = 0
    norm: Literal["post", "pre"] = "post"
    rotary: tuple[float, float] | None = None
    window: int = 0
    global_every: int = 1
    gate: bool = False
    activation: Literal["gelu", "gelu_tanh", "relu2"] = "gelu"
    bias: bool = True
    eps: float = 1e-12
    shared: bool = False
    offset: int = 0
    head: Literal["dense", "plain"] = "dense"

    def __post_init__(self) -> None:
        if self.rotary is not None:  # JSON knows lists only
            object.__setattr__(self, "rotary", tuple(self.rotary))
        for name in ("vocab", "width", "layers", "heads", "inner", "positions", "global_every"):
            if getattr(self, name) < 1:
                raise UnmaskError(
                    f"Shape.{name} is {getattr(self, name)} — expected at least 1 — give a positive number."
                )
        if self.width % self.heads:
            raise UnmaskError(
                f"width {self.width} does not divide into {self.heads} heads — every head has the same width — "
                "choose a width that is a multiple of the heads."
            )
        if self.rotary and self.head_width % 2:
            raise UnmaskError(
                f"a head is {self.head_width} wide — rotary positions turn pairs, so it must be even — "
                "change the width or the heads."
            )

    @property
    def head_width(self) -> int:
        """D, the width of one attention head."""
        return self.width // self.heads

    @property
    def table_width(self) -> int:
        """E, the width of the embedding tables."""
        return self.embedding or self.width

    def local(self, layer: int) -> bool:
        """Whether this layer sees only its neighbourhood."""
        return self.window > 0 and layer % self.global_every != 0


#: layers, width, heads, inner
SIZES: dict[str, tuple[int, int, int, int]] = {
    "tiny": (2, 128, 2, 512),
    "mini": (4, 256, 4, 1024),
    "small": (4, 512, 8, 2048),
    "medium": (8, 512, 8, 2048),
    "base": (12, 768, 12, 3072),
    "large": (24, 1024, 16, 4096),
}
MODERN_SIZES = {"base": (22, 768, 12, 1152), "large": (28, 1024, 16, 2624)}
FAMILIES = ("bert", "roberta", "albert", "modernbert")


def check_size(size: str) -> None:
    """Raise `UnmaskError`, with the nearest name, for a size that there is not."""
    if size not in SIZES:
        raise UnmaskError(
            f'size "{size}" — expected one of {", ".join(SIZES)} — choose one.{nearest(size, SIZES)}'
        )


def size_of(shape: Shape) -> str:
    """The size whose layers hold about as many weights as those of this shape: its defaults fit."""
    sizes = {**SIZES, **(MODERN_SIZES if shape.gate else {})}
    own = shape.layers * shape.width**2
    return min(sizes, key=lambda name: abs(log(own / (sizes[name][0] * sizes[name][1] ** 2))))


def sized(family: str, size: str, vocab: int, positions: int) -> Shape:
    """The shape of a family at a size, e.g. `sized("bert", "mini", 8192, 128)`.

    Unknown names raise `UnmaskError` with the nearest right one. Sources: see the head of this file.
    """
    check_size(size)
    layers, width, heads, inner = SIZES[size]
    plain = Shape(vocab, width, layers, heads, inner, positions)
    match family:
        case "bert":
            return plain
        case "roberta":
            return replace(plain, segments=1, offset=2, eps=1e-5)
        case "albert":
            return replace(plain, embedding=128, shared=True, activation="gelu_tanh")
        case "modernbert":
            layers, width, heads, inner = MODERN_SIZES.get(
                size, (layers, width, heads, round(inner * 2 / 3 / 64) * 64)
            )
            return Shape(
                vocab, width, layers, heads, inner, positions, segments=0, norm="pre", rotary=(160000.0, 10000.0),
                window=128, global_every=3, gate=True, bias=False, eps=1e-5,
            )  # fmt: skip
    raise UnmaskError(
        f'family "{family}" — expected one of {", ".join(FAMILIES)} — choose one.{nearest(family, FAMILIES)}'
    )
