"""Rows laid end to end, and the one place that knows how they lie.

A batch has no padding: `ids [N]` and `lengths [R]`. Embeddings, norms and feed-forward layers see `[N, H]`;
attention alone needs rectangles, and `Layout` says how to make them. Equal rows are a view. Windows that are
cut into isolated pieces are a view with a mask. Anything else is packed into bins as long as the longest
piece, by best fit in falling order of length (Johnson 1974), each piece seeing only itself. This is
"unpadding" (ModernBERT, Warner et al. 2024, section 2.1.2) for processors that have no kernel for ragged
attention.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unmask.errors import UnmaskError


def collate(examples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    """Lays examples end to end.

    An example has `ids [T]`, perhaps `lengths [k]` (isolated pieces, sum T; `[T]` if absent) and any other
    arrays. Keys that end in `positions` are shifted by the example's first token, all others are joined. The
    result holds `ids [N]`, `lengths [R]` (pieces), `rows` (pieces of each example) and the joined arrays;
    whole numbers are int64. Raises `UnmaskError` for an empty batch, for examples with different keys and for
    lengths that do not add up.
    """
    if not examples:
        raise UnmaskError("a batch of no examples — expected at least one — leave empty batches out.")
    keys = examples[0].keys()
    starts, pieces = [0], []
    for example in examples:
        if example.keys() != keys:
            odd = ", ".join(sorted(example.keys() ^ keys))
            raise UnmaskError(
                f"examples of one batch differ in {odd} — expected the same arrays in each — mend the recipe."
            )
        size = len(example["ids"])
        own = np.asarray(example["lengths"] if "lengths" in example else [size], dtype=np.int64)
        if own.sum() != size or (own < 1).any():
            raise UnmaskError(
                f"pieces of lengths {own.tolist()} in an example of {size} tokens — expected positive lengths that "
                "add up — mend the recipe."
            )
        pieces.append(own)
        starts.append(starts[-1] + size)
    batch = {}
    for key in keys:
        if key == "lengths":
            continue
        arrays = [np.asarray(example[key]) for example in examples]
        if key.endswith("positions"):
            arrays = [array + start for array, start in zip(arrays, starts, strict=False)]
        joined = np.concatenate(arrays)
        batch[key] = torch.from_numpy(
            joined if joined.dtype.kind in "fb" else joined.astype(np.int64, copy=False)
        )
    batch["lengths"] = torch.from_numpy(np.concatenate(pieces))
    batch["rows"] = torch.tensor([len(own) for own in pieces])
    return batch


@dataclass(frozen=True)
class Slots:
    """Where packed tokens stand in bins, both ways, so that each direction is a plain gather."""

    token: Tensor  # [B * S] the token in every slot; 0 in empty ones
    slot: Tensor  # [N or P] the slot of every token
    empty: Tensor | None  # indices of the slots that hold no token


@dataclass(frozen=True)
class Alike:
    """Which tokens have the same id (and segment) at the same place, and so the same state before the first attention.

    Masked copies of a sentence differ in one token each: of n times n tokens 2n are different.
    """

    first: Tensor  # [D] one token of each kind
    which: Tensor  # [N] the kind of every token, among the D


@dataclass(frozen=True)
class Layout:
    """How the rows of a batch lie; made once a batch, used by every layer."""

    lengths: Tensor  # [R] int64, on the host
    tokens: int  # N
    longest: int  # the longest piece
    positions: Tensor  # [N] places inside the own piece
    starts: Tensor  # [R] first token of every piece
    bounds: Tensor  # [R + 1] int32, the cumulative lengths that ragged kernels want
    bins: int  # B
    span: int  # T, slots of a bin
    slots: Slots | None  # None: the bins are a view
    owners: Tensor | None  # [B, T] the piece in every slot, -1 in empty ones; None: a bin is a piece
    _masks: dict[tuple[int, torch.dtype], Tensor | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def even(self) -> bool:
        """Whether all rows are equally long, so that [N] is a view of [R, T]."""
        return self.owners is None

    def mask(self, window: int, dtype: torch.dtype) -> Tensor | None:
        """Zero where a slot sees another, minus infinity elsewhere: [B or 1, 1, T, T], or None if all see all.

        window: only |i - j| <= window / 2; 0 for no bound. Empty slots see each other, so no row is without a
        key.
        """
        key = (self._reach(window), dtype)
        if key not in self._masks:
            owners = self.owners
            seen = None if owners is None else owners[:, :, None] == owners[:, None, :]  # [B, T, T]
            place = torch.arange(self.span, device=self.positions.device)  # pieces are contiguous in a bin
            found = _mask(seen, place[None, :, None], place, key[0], dtype)
            self._masks[key] = None if found is None else found[:, None]
        return self._masks[key]

    def lines(self, window: int, dtype: torch.dtype, places: Tensor) -> Tensor | None:
        """The lines of `mask` of some slots, places [B, Q] -> [B, Q, T], without working out the others."""
        owners = self.owners
        seen = None if owners is None else owners.gather(1, places)[:, :, None] == owners[:, None, :]
        every = torch.arange(self.span, device=places.device)
        return _mask(seen, places[:, :, None], every, self._reach(window), dtype)

    def _reach(self, window: int) -> int:
        return window if window and self.longest > window // 2 + 1 else 0

    def ask(self, keep: Tensor) -> tuple[int, Slots, Tensor]:
        """Bins for the asked positions alone: (slots of a bin Q, slots, place in the full bin [B, Q])."""
        asked = keep.cpu().numpy()
        home = asked if self.slots is None else self.slots.slot.cpu().numpy()[asked]
        owner, place = np.divmod(home, self.span)
        count = np.bincount(owner, minlength=self.bins)
        width = max(1, int(count.max()))
        order = np.argsort(owner, kind="stable")
        first = np.cumsum(count) - count
        slot = np.empty(len(asked), np.int64)
        slot[order] = owner[order] * width + np.arange(len(asked)) - first[owner[order]]
        token = np.zeros(self.bins * width, np.int64)
        places = np.zeros(self.bins * width, np.int64)
        token[slot], places[slot] = np.arange(len(asked)), place
        device = keep.device
        slots = Slots(_to(token, device), _to(slot, device), _empty(slot, len(token), device))
        return width, slots, _to(places, device).view(self.bins, width)


def _mask(
    seen: Tensor | None, place: Tensor, other: Tensor, window: int, dtype: torch.dtype
) -> Tensor | None:
    """0 where a slot sees another and is within half a window, minus infinity elsewhere; None if all see all."""
    if window:
        near = (place - other).abs() <= window // 2
        seen = near if seen is None else seen & near
    if seen is None:
        return None
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))


def layout(lengths: Tensor, device: torch.device | str = "cpu") -> Layout:
    """How rows of these lengths lie; `lengths [R]` int64 on the host, the indices land on `device`."""
    if lengths.numel() == 0 or int(lengths.min()) < 1:
        raise UnmaskError(
            f"row lengths {lengths.tolist()} — expected at least one positive length — leave empty rows out."
        )
    sizes = lengths.cpu().numpy()
    ends = np.cumsum(sizes)
    starts, total, longest = ends - sizes, int(ends[-1]), int(sizes.max())
    place = np.arange(total) - np.repeat(starts, sizes)
    slots, owners, span = None, None, longest
    if int(sizes.min()) != longest:
        exact = _exact(ends, longest)
        if exact:
            span = exact
            owners = np.repeat(np.arange(len(sizes)), sizes).reshape(-1, span)
        else:
            home = _pack(sizes, longest)  # [R] the first slot of every piece
            bins = int(home.max()) // longest + 1
            slot = np.repeat(home, sizes) + place  # [N]
            token, flat = np.zeros(bins * longest, np.int64), np.full(bins * longest, -1)
            token[slot], flat[slot] = np.arange(total), np.repeat(np.arange(len(sizes)), sizes)
            owners = flat.reshape(bins, longest)
            slots = Slots(_to(token, device), _to(slot, device), _empty(slot, len(token), device))
    bins = total // span if slots is None else len(slots.token) // span
    return Layout(
        lengths=lengths, tokens=total, longest=longest, positions=_to(place, device), starts=_to(starts, device),
        bounds=_to(np.append(0, ends).astype(np.int32), device), bins=bins, span=span, slots=slots,
        owners=None if owners is None else _to(owners, device),
    )  # fmt: skip


def _exact(ends: np.ndarray, longest: int) -> int:
    """The width of windows that the pieces fill exactly and in order, or 0; at most twice the longest piece."""
    total = int(ends[-1])
    candidates = ends[(ends >= longest) & (ends <= 2 * longest)]
    for width in candidates[total % candidates == 0]:
        if np.isin(np.arange(width, total + 1, width), ends).all():
            return int(width)
    return 0


def _pack(sizes: np.ndarray, capacity: int) -> np.ndarray:
    """The first slot of every piece in bins of `capacity`: best fit, longest first."""
    home = np.empty(len(sizes), np.int64)
    free: list[tuple[int, int]] = []  # (slots left, bin), rising
    bins = 0
    for piece in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[piece])
        at = bisect_left(free, (size, -1))
        if at < len(free):
            left, chosen = free.pop(at)
        else:
            left, chosen = capacity, bins
            bins += 1
        home[piece] = chosen * capacity + capacity - left
        if left > size:
            insort(free, (left - size, chosen))
    return home


def _empty(slot: np.ndarray, size: int, device: torch.device | str) -> Tensor | None:
    if len(slot) == size:
        return None
    taken = np.zeros(size, bool)
    taken[slot] = True
    return _to(np.flatnonzero(~taken), device)


def _to(array: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(array).to(device, non_blocking=True)
