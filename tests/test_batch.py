"""Rows end to end: joined arrays, shifted positions, and bins that lose and mix nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.batch import collate, layout
from unmask.errors import UnmaskError

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=40)


def test_collate_worked():
    one = {
        "ids": np.array([5, 6, 7], np.uint16),
        "positions": np.array([0, 2]),
        "targets": np.array([9, 8]),
        "w": np.float32([1]),
    }
    two = {
        "ids": np.array([1, 2], np.uint16),
        "positions": np.array([1]),
        "targets": np.array([4]),
        "w": np.float32([0.5]),
    }
    batch = collate([one, two, one])
    assert batch["ids"].tolist() == [5, 6, 7, 1, 2, 5, 6, 7]
    assert batch["ids"].dtype == torch.int64
    assert batch["positions"].tolist() == [0, 2, 4, 5, 7]
    assert batch["targets"].tolist() == [9, 8, 4, 9, 8]
    assert batch["lengths"].tolist() == [3, 2, 3]
    assert batch["rows"].tolist() == [1, 1, 1]
    assert batch["w"].dtype == torch.float32


def test_collate_shifts_every_kind_of_positions_and_joins_pieces():
    row = {
        "ids": np.arange(5),
        "lengths": np.array([2, 3]),
        "span_positions": np.array([[0, 4]]),
        "segments": np.zeros(5, int),
    }
    batch = collate([row, row])
    assert batch["span_positions"].tolist() == [[0, 4], [5, 9]]
    assert batch["lengths"].tolist() == [2, 3, 2, 3]
    assert batch["rows"].tolist() == [2, 2]


@pytest.mark.parametrize(
    "examples",
    [
        [],
        [{"ids": np.arange(3)}, {"ids": np.arange(3), "segments": np.zeros(3, int)}],
        [{"ids": np.arange(3), "lengths": np.array([1, 1])}],
        [{"ids": np.arange(3), "lengths": np.array([3, 0])}],
        [{"ids": np.arange(0)}],
    ],
)
def test_collate_refuses(examples):
    with pytest.raises(UnmaskError):
        collate(examples)


def test_layout_refuses_empty_rows():
    with pytest.raises(UnmaskError):
        layout(torch.tensor([3, 0]))
    with pytest.raises(UnmaskError):
        layout(torch.tensor([], dtype=torch.int64))


def test_equal_rows_are_a_view():
    lay = layout(torch.full((4,), 6))
    assert lay.slots is None and lay.owners is None and lay.even
    assert (lay.bins, lay.span) == (4, 6)
    assert lay.mask(0, torch.float32) is None
    assert lay.positions.tolist() == list(range(6)) * 4
    assert lay.starts.tolist() == [0, 6, 12, 18]
    assert lay.bounds.tolist() == [0, 6, 12, 18, 24]


def test_windows_in_pieces_are_a_view_with_a_mask():
    lay = layout(torch.tensor([3, 5, 8, 1, 6, 1]))  # three windows of 8
    assert lay.slots is None and (lay.bins, lay.span) == (3, 8)
    mask = lay.mask(0, torch.float32)
    assert mask.shape == (3, 1, 8, 8)
    assert (mask[0, 0, :3, :3] == 0).all() and (mask[0, 0, :3, 3:] == -torch.inf).all()
    assert (mask[1] == 0).all()
    assert (
        layout(torch.tensor([100] + [28] + [64, 64] * 3)).span == 128
    )  # the longest piece is shorter than a window


def test_local_mask_worked():
    """Six tokens, two to each side."""
    seen = layout(torch.tensor([6])).mask(4, torch.float32)[0, 0] == 0
    rows = ["".join(map(str, row)) for row in seen.int().tolist()]
    assert rows == ["111000", "111100", "111110", "011111", "001111", "000111"]
    assert layout(torch.tensor([3])).mask(4, torch.float32) is None  # all is near


@pytest.mark.parametrize("window", [0, 4])
@pytest.mark.parametrize("lengths", [[6, 6], [3, 5, 8, 1, 6, 1], [7, 2, 8, 1, 5, 5]])
def test_lines_are_those_of_the_mask(lengths, window):
    lay = layout(torch.tensor(lengths))
    places = torch.arange(2 * lay.bins).view(lay.bins, 2) % lay.span
    lines, mask = lay.lines(window, torch.float32, places), lay.mask(window, torch.float32)
    if mask is None:
        assert lines is None
        return
    full = mask[:, 0].expand(lay.bins, -1, -1)
    own = torch.stack([full[i, places[i]] for i in range(lay.bins)])
    assert torch.equal(lines.expand_as(own), own)


@settings(max_examples=150, deadline=None)
@given(LENGTHS)
def test_every_token_has_one_slot_and_sees_its_piece_alone(lengths):
    sizes = torch.tensor(lengths)
    lay = layout(sizes)
    assert lay.positions.tolist() == [i for size in lengths for i in range(size)]
    piece = torch.repeat_interleave(torch.arange(len(lengths)), sizes)
    slot = torch.arange(lay.tokens) if lay.slots is None else lay.slots.slot
    assert len(set(slot.tolist())) == lay.tokens
    if lay.slots is not None:
        assert torch.equal(lay.slots.token[slot], torch.arange(lay.tokens))
        empty = set(range(lay.bins * lay.span)) - set(slot.tolist())
        assert set([] if lay.slots.empty is None else lay.slots.empty.tolist()) == empty
    mask = lay.mask(0, torch.float32)
    if mask is None:
        mask = torch.zeros(1, 1, lay.span, lay.span)
    mask = mask.expand(lay.bins, 1, lay.span, lay.span)[:, 0]
    assert (mask == 0).any(-1).all()  # no row without a key
    home, place = slot // lay.span, slot % lay.span
    for i in range(0, lay.tokens, 7):
        mates = torch.zeros(lay.bins, lay.span, dtype=torch.bool)
        same = piece == piece[i]
        mates[home[same], place[same]] = True
        assert torch.equal(mask[home[i], place[i]] == 0, mates[home[i]])
        assert int(mates.sum()) == lengths[piece[i]]


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(0, 2**31))
def test_asked_slots_point_back(lengths, seed):
    lay = layout(torch.tensor(lengths))
    keep = torch.randint(0, lay.tokens, (9,), generator=torch.Generator().manual_seed(seed)).sort().values
    width, slots, places = lay.ask(keep)
    full = keep if lay.slots is None else lay.slots.slot[keep]
    assert len(set(slots.slot.tolist())) == len(keep)
    assert torch.equal(slots.token[slots.slot], torch.arange(len(keep)))
    assert torch.equal(slots.slot // width, full // lay.span)
    assert torch.equal(places.flatten()[slots.slot], full % lay.span)


def test_packing_is_tight():
    """Over 20 batches of 32 real lengths: at most a sixth of the slots is empty, padding would leave nearly half."""
    rng = np.random.default_rng(0)
    used = slots = 0
    for _ in range(20):
        lay = layout(torch.from_numpy(np.append(rng.integers(8, 129, 31), 128)))
        used, slots = used + lay.tokens, slots + lay.bins * lay.span
    assert used / slots > 5 / 6
