"""Operations of a step: against torch's own counter, family by family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unmask.errors import UnmaskError
from unmask.machine.flops import flops, forward
from unmask.models import Shape, sized
from unmask.models.encoder import Encoder
from unmask.models.heads import TokensHead

LENGTHS = {"equal": [24, 24, 24, 24], "packed": [24, 9, 15, 24, 7, 17]}


def counted(shape: Shape, lengths: list[int], asked: int | None) -> tuple[int, int, int]:
    """What torch counts forward and in all, and how many positions were asked; `asked` a bin, None for all."""
    torch.manual_seed(0)
    encoder = Encoder(shape)
    head = TokensHead(encoder)
    total = sum(lengths)
    ids = torch.randint(0, shape.vocab, (total,))
    keep = None if asked is None else torch.cat([torch.arange(n, n + asked) for n in range(0, total, 24)])
    with FlopCounterMode(display=False) as counter:
        states = encoder(ids, torch.tensor(lengths), keep=keep)
        loss = head(states).square().sum()
        first = counter.get_total_flops()
        loss.backward()
    return first, counter.get_total_flops(), total if keep is None else len(keep)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "modernbert"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("asked", [None, 3])
def test_torch_counts_the_same(family: str, lengths: list[int], asked: int | None) -> None:
    shape = sized(family, "tiny", 320, 24)
    once, both, targets = counted(shape, lengths, asked)
    given = {"tokens": sum(lengths), "targets": targets, "lengths": lengths}
    assert forward(shape, **given) == pytest.approx(once, rel=1e-12)
    assert flops(shape, **given) == pytest.approx(both, rel=1e-12)


def test_a_plain_head_and_no_head() -> None:
    shape = sized("modernbert", "tiny", 320, 24)
    plain = replace(shape, head="plain")
    given = {"tokens": 96, "targets": 10}
    assert forward(shape, **given) - forward(plain, **given) == 2 * 10 * shape.width**2
    bare = forward(shape, tokens=96, targets=0, kept=10)
    assert forward(plain, **given) - bare == 2 * 10 * shape.width * shape.vocab


def test_ragged_rows_see_what_their_windows_hold() -> None:
    shape = replace(sized("modernbert", "tiny", 320, 64), window=8, global_every=2, layers=2)
    rows = [40, 5, 1]
    place = np.arange(40)
    local = [int((abs(place[:n, None] - place[:n]) <= 4).sum()) for n in rows]
    whole = sum(n * n for n in rows)
    free = replace(shape, window=0)  # both layers see all
    given = {"tokens": 46, "targets": 46, "lengths": rows, "ragged": True}
    apart = forward(free, **given) - forward(shape, **given)
    assert apart == pytest.approx(2 * 2 * (whole - sum(local)) * shape.width)


def test_lengths_must_add_up() -> None:
    with pytest.raises(UnmaskError, match="rows of 20 tokens"):
        flops(sized("bert", "tiny", 320, 24), tokens=24, targets=3, lengths=[12, 8])
