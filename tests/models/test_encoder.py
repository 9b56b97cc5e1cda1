"""The encoder: parameter counts of the published models, and what is asked alone equals what is computed for all."""

from dataclasses import replace

import pytest
import torch

from unmask.batch import Alike, layout
from unmask.errors import UnmaskError
from unmask.models import Shape, attention, sized
from unmask.models.attention import few
from unmask.models.encoder import Encoder
from unmask.models.heads import PairHead, Pooler, TokensHead
from unmask.models.layers import affine, filler

FAMILIES = ("bert", "roberta", "albert", "modernbert")
LENGTHS = {
    "equal": [8] * 5,
    "windows": [3, 5, 8, 1, 7],
    "mixed": [7, 2, 8, 1, 5, 5],
}


def small(family, **changes):
    shape = sized(family, "tiny", 50, 16)
    return replace(
        shape, width=24, heads=3, inner=40, layers=4, **({"window": 4} if shape.window else {}), **changes
    )


def encoder(shape, dtype=torch.float32):
    torch.manual_seed(0)
    made = Encoder(shape).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return made.to(dtype)


def tokens(lengths, seed=1):
    rng = torch.Generator().manual_seed(seed)
    size = sum(lengths)
    return torch.randint(0, 50, (size,), generator=rng), torch.randint(0, 2, (size,), generator=rng)


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(
    ("family", "size", "vocab", "positions", "body", "whole"),
    [
        ("bert", "tiny", 30522, 512, 4_385_920, None),
        ("bert", "mini", 30522, 512, 11_170_560, None),
        ("bert", "small", 30522, 512, 28_763_648, None),
        ("bert", "medium", 30522, 512, 41_373_184, None),
        ("bert", "base", 30522, 512, 109_482_240, 110_106_428),
        ("bert", "large", 30522, 512, 335_141_888, 336_226_108),
        ("roberta", "base", 50265, 512, 124_055_040, 124_697_433),
        ("roberta", "large", 50265, 512, 354_310_144, 355_412_057),
        ("albert", "base", 30000, 512, 11_683_584, 11_813_810),
        ("albert", "large", 30000, 512, 17_683_968, 17_847_474),
        ("modernbert", "base", 50368, 8192, 149_014_272, 149_655_232),
        ("modernbert", "large", 50368, 8192, 394_781_696, 395_881_664),
    ],
)
def test_parameter_counts(family, size, vocab, positions, body, whole):
    shape = sized(family, size, vocab, positions)
    with torch.device("meta"):
        made = Encoder(shape)
        pooled = family in ("bert", "albert")
        assert count(made) + (count(Pooler(shape)) if pooled else 0) == body
        if whole:
            assert count(made, TokensHead(made), *([PairHead(shape)] if pooled else [])) == whole


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", LENGTHS)
def test_packed_equals_alone(family, rows):
    lengths, made = LENGTHS[rows], encoder(small(family))
    ids, segments = tokens(lengths)
    given = segments if family in ("bert", "albert") else None
    with torch.no_grad():
        packed = made(ids, torch.tensor(lengths), given)
        parts = zip(ids.split(lengths), segments.split(lengths), strict=True)
        alone = [made(i, torch.tensor([len(i)]), None if given is None else s) for i, s in parts]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=0, atol=5e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", LENGTHS)
@pytest.mark.parametrize("layers", [2, 4])  # ModernBERT's last layer is local in one of them
def test_asked_equals_full(family, rows, layers):
    made = encoder(replace(small(family), layers=layers))
    lengths = LENGTHS[rows]
    ids, _ = tokens(lengths)
    keep = torch.tensor([0, 1, 6, 9, 10, 20, sum(lengths) - 1])
    full = made(ids, torch.tensor(lengths))[keep]
    (full.square() * torch.arange(7)[:, None]).sum().backward()
    want = {name: parameter.grad for name, parameter in made.named_parameters()}
    made.zero_grad()
    asked = made(ids, layout(torch.tensor(lengths)), keep=keep)
    (asked.square() * torch.arange(7)[:, None]).sum().backward()
    torch.testing.assert_close(asked, full, rtol=1e-6, atol=2e-6)
    for name, parameter in made.named_parameters():
        scale = float(want[name].norm()) + 1e-6
        assert float((parameter.grad - want[name]).norm()) / scale < 1e-5, name


@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_alike_is_worked_out_once(family, layers):
    """Masked copies of a row of 9: of 81 tokens 17 are different."""
    body = encoder(replace(small(family), layers=layers))
    row = torch.randint(1, 50, (9,), generator=torch.Generator().manual_seed(1))
    copies = row.repeat(8, 1)
    copies[torch.arange(8), torch.arange(8)] = 0
    ids, lengths, keep = copies.flatten(), torch.full((8,), 9), torch.arange(8) * 10
    kinds, which = (ids * 9 + torch.arange(9).repeat(8)).unique(return_inverse=True)
    first = torch.stack([(which == kind).nonzero()[0, 0] for kind in range(len(kinds))])
    assert len(kinds) == 17
    with torch.no_grad():
        for asked in (None, keep):
            found = body(ids, lengths, keep=asked, alike=Alike(first, which))
            torch.testing.assert_close(found, body(ids, lengths, keep=asked), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", LENGTHS)
@pytest.mark.parametrize("family", FAMILIES)
def test_where_few_are_asked_keys_and_values_are_not_worked_out(family, rows, monkeypatch):
    """Without gradients the last layer reads states in place of keys and values; the answer is the same."""
    lengths = torch.tensor(LENGTHS[rows])
    ids, segments = tokens(LENGTHS[rows])
    segments = segments if small(family).segments > 1 else None
    body, keep = encoder(small(family)), torch.tensor([0, 4, 9])
    monkeypatch.setattr("unmask.models.encoder.few", lambda *given, **named: True)
    with_keys = body(ids, lengths, segments, keep).detach()
    with torch.no_grad():
        found = body(ids, lengths, segments, keep)
        torch.testing.assert_close(found, with_keys, rtol=1e-4, atol=1e-5)
        full = body(ids, lengths, segments)[keep]
    torch.testing.assert_close(found, full, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("lengths", [[300, 257, 256], [270], [500, 12], [8, 300, 480], [511, 1]])
def test_long_rows_one_by_one(lengths, amx, dtype, monkeypatch):
    """Rows one at a time give what bins give, also where a row is shorter than the keys that the kernel takes."""
    torch.manual_seed(2)
    monkeypatch.setattr(attention, "AMX", amx)
    lay = layout(torch.tensor(lengths))
    qkv = torch.randn(lay.tokens, 3, 48).to(dtype)
    used = []
    real = attention._by_row
    monkeypatch.setattr(attention, "_by_row", lambda *given: used.append(1) or real(*given))
    with torch.no_grad():
        found = attention.attend(qkv, 3, lay, 0, 0.0)
        assert used == [1]
        monkeypatch.setattr(attention, "LONG", 10**6)
        want = attention.attend(qkv, 3, lay, 0, 0.0)
    assert used == [1]
    near = 1e-6 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(found, want, rtol=0, atol=near)
    qkv.requires_grad_()
    monkeypatch.setattr(attention, "LONG", 1)
    attention.attend(qkv, 3, lay, 0, 0.0).float().sum().backward()
    assert used == [1]  # gradients come from bins


def test_what_few_is():
    """By the slots that are multiplied, of which every bin has as many as the fullest."""
    lay = layout(torch.full((100,), 40))
    two = torch.arange(100).repeat_interleave(2) * 40 + torch.tensor([0, 1]).repeat(100)
    assert few(lay.ask(two), two, lay, heads=4, width=256)
    uneven = torch.cat([torch.arange(30), two[two >= 40]])
    assert not few(lay.ask(uneven), uneven, lay, heads=4, width=256)
    assert not few(lay.ask(torch.arange(4000)), torch.arange(4000), lay, heads=4, width=256)


def test_how_much_filler(monkeypatch):
    def more(n, dtype=torch.bfloat16):
        return filler(torch.empty(n, 1, dtype=dtype))

    assert {(n + more(n)) % 16 for n in range(1, 3000)} == {0}
    assert max(more(n) / n for n in range(256, 5000)) <= 1 / 16
    assert len({n + more(n) for n in range(256, 513)}) == 17 and not more(2048)
    assert not more(17, torch.float32)
    for amx in (True, False):
        monkeypatch.setattr("unmask.models.layers.AMX", amx)
        with torch.no_grad():
            assert more(17) == (15 if amx else 0)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_filler_changes_nothing(family, asked, monkeypatch):
    lengths = LENGTHS["mixed"]
    made, (ids, segments) = encoder(small(family)), tokens(lengths)
    keep = torch.tensor([0, 3, 9, len(ids) - 1]) if asked else None
    found = []
    for rule in (lambda x: 0, lambda x: -len(x) % 16, lambda x: 1000):
        monkeypatch.setattr("unmask.models.encoder.filler", rule)
        made.zero_grad()
        states = made(ids, torch.tensor(lengths), segments if made.shape.segments > 1 else None, keep)
        (states * torch.linspace(0, 9, states.numel()).view_as(states).sin()).sum().backward()
        found.append([states.detach(), *(p.grad.clone() for p in made.parameters())])
    for plain, *filled in zip(*found, strict=True):
        for other in filled:
            torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-5)


def test_a_training_step_in_bf16_fills_every_product(monkeypatch):
    """The asked positions too: no product of the layers has a number of rows that is not of the few."""
    made = encoder(small("bert")).bfloat16()
    rows = []
    for module in ("encoder", "layers"):
        monkeypatch.setattr(
            f"unmask.models.{module}.affine", lambda x, *rest: rows.append(len(x)) or affine(x, *rest)
        )
    ids, _ = tokens([7, 5, 9])
    states = made(ids, torch.tensor([7, 5, 9]), keep=torch.tensor([0, 3, 9]))
    assert len(states) == 3 and rows and {n % 16 for n in rows} == {0}


def test_asked_twice():
    """A position asked twice gets both gradients."""
    made = encoder(small("bert"))
    ids, _ = tokens([7, 5])
    made(ids, torch.tensor([7, 5]), keep=torch.tensor([3, 3])).sum().backward()
    twice = made.layers[0].qkv.weight.grad.clone()
    made.zero_grad()
    made(ids, torch.tensor([7, 5]), keep=torch.tensor([3])).sum().backward()
    torch.testing.assert_close(twice, 2 * made.layers[0].qkv.weight.grad, rtol=1e-4, atol=1e-4)


def test_local_layers_see_their_window():
    """One local layer after a global one that sees nothing new: a far token changes nothing, a near one does."""
    made = encoder(replace(small("modernbert"), layers=2, window=4))
    with torch.no_grad():
        made.layers[0].out.weight.zero_()  # the global layer adds nothing
    ids, _ = tokens([12])
    with torch.no_grad():
        before = made(ids, torch.tensor([12]))
        ids[6] = (ids[6] + 1) % 50
        moved = (made(ids, torch.tensor([12])) - before).abs().amax(-1) > 1e-7
    assert moved.tolist() == [4 <= i <= 8 for i in range(12)]


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_is_near_and_trains(family):
    ids, _ = tokens([7, 5, 8])
    lengths = torch.tensor([7, 5, 8])
    full, half = encoder(small(family)), encoder(small(family), torch.bfloat16)
    out = half(ids, lengths)
    assert out.dtype == torch.bfloat16
    want = full(ids, lengths).detach()
    assert float((out.detach().float() - want).norm() / want.norm()) < 0.05
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in half.parameters())


def test_dropout_acts_only_in_training():
    made = encoder(small("bert"))
    ids, _ = tokens([8, 8])
    lengths = torch.tensor([8, 8])
    still = made(ids, lengths)
    made.train()
    assert torch.equal(made(ids, lengths), still)  # the rate is 0
    made.dropout = 0.5
    torch.manual_seed(0)
    one, two = made(ids, lengths), made(ids, lengths)
    assert not torch.allclose(one, two)
    torch.manual_seed(0)
    assert torch.equal(made(ids, lengths), one)
    made.eval()
    assert torch.equal(made(ids, lengths), still)


def test_dropout_reaches_attention(monkeypatch):
    """The four places of BERT: embeddings once, then probabilities and both additions of every layer."""
    from unmask.models import attention, layers
    from unmask.models import encoder as module

    places = []
    for room in (module, layers):
        monkeypatch.setattr(room, "drop", lambda x, rate: places.append(("states", rate)) or x)
    monkeypatch.setattr(attention, "drop", lambda x, rate: places.append(("shares", rate)) or x)
    made = encoder(small("bert")).train()
    made.dropout = 0.1
    made(torch.zeros(8, dtype=torch.long), torch.tensor([8]))
    assert places == [("states", 0.1)] + [("shares", 0.1), ("states", 0.1), ("states", 0.1)] * 4


def test_start():
    """Truncated normal 0.02, cut at two deviations; what enters the pre-norm sum is smaller by the root of 2L."""
    torch.manual_seed(0)
    for family in ("bert", "modernbert"):
        made = Encoder(sized(family, "tiny", 500, 64))
        cut = 0.04
        for name, parameter in made.named_parameters():
            if parameter.dim() == 2 and parameter.numel() > 4096:
                entering = family == "modernbert" and name.endswith(("out.weight", "down.weight"))
                bound = cut / 2 if entering else cut  # 2 layers: root of 4
                assert bound * 0.95 < float(parameter.detach().abs().max()) <= bound, name
                assert abs(float(parameter.detach().std()) / (bound / 2) - 0.88) < 0.03, (
                    name
                )  # a cut normal is narrower
            elif name.endswith("bias"):
                assert not parameter.any(), name


def test_rows_too_long_or_miscounted():
    made = encoder(small("roberta"))
    assert made.places.weight.shape[0] == 18  # two rows before the first position
    made(torch.zeros(16, dtype=torch.long), torch.tensor([16]))
    with pytest.raises(UnmaskError, match="16 positions"):
        made(torch.zeros(17, dtype=torch.long), torch.tensor([17]))
    with pytest.raises(UnmaskError, match="5 ids"):
        made(torch.zeros(5, dtype=torch.long), torch.tensor([3, 3]))


def test_a_new_mixture_needs_no_code():
    """Pre-norm, rotary, squared ReLU, no biases, no gate: neither of the four families."""
    shape = Shape(
        50,
        24,
        3,
        3,
        48,
        16,
        segments=0,
        norm="pre",
        rotary=(10000.0, 10000.0),
        activation="relu2",
        bias=False,
    )
    made = encoder(shape)
    ids, _ = tokens([7, 2, 8])
    keep = torch.tensor([1, 8, 12])
    full = made(ids, torch.tensor([7, 2, 8]))
    torch.testing.assert_close(
        made(ids, torch.tensor([7, 2, 8]), keep=keep), full[keep], rtol=1e-6, atol=2e-6
    )
    assert not any(name.endswith("bias") for name, _ in made.named_parameters())


@pytest.mark.parametrize(
    "changes", [{"heads": 5}, {"layers": 0}, {"width": 9, "heads": 3, "rotary": (1e4, 1e4)}]
)
def test_impossible_shapes(changes):
    with pytest.raises(UnmaskError):
        replace(sized("bert", "tiny", 50, 16), **changes)


def test_misspelt_sizes():
    with pytest.raises(UnmaskError, match='"mini"'):
        sized("bert", "minni", 50, 16)
    with pytest.raises(UnmaskError, match='"roberta"'):
        sized("robertta", "mini", 50, 16)
