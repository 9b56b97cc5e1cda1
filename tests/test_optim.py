"""Three steps against torch's own AdamW, masters, schedules by hand, state there and back."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from unmask.optim import Optimizer, rate


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
    return nn.ModuleDict({"table": nn.Embedding(5, 6), "layers": layers, "norm": nn.LayerNorm(6)})


def forward(model: nn.Module) -> torch.Tensor:
    dtype = model["table"].weight.dtype
    x = model["table"](torch.arange(5))
    for layer in model["layers"]:
        x = x + layer(x)
    return model["norm"](x).to(dtype).float().pow(3).sum()


def test_adamw_is_torchs() -> None:
    ours, theirs = small(), small()
    optimizer = Optimizer(ours.named_parameters(), weight_decay=0.1, beta2=0.95)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95))
    for _ in range(3):
        forward(ours).backward()
        optimizer.gather()
        norm = optimizer.clip(1.0)
        optimizer.set_rate(0.01)
        optimizer.step()
        reference.zero_grad()
        forward(theirs).backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        reference.step()
        assert norm == pytest.approx(float(expected), rel=1e-6)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_small_updates_survive_in_the_masters() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(1, 1)})
    model["table"].weight.data.fill_(1.0)
    optimizer = Optimizer(model.named_parameters(), weight_decay=0.0, working=torch.bfloat16)
    for _ in range(50):  # 1e-4 of 1.0 is below bf16's step: added to bf16 weights it would vanish
        model["table"].weight.sum().backward()
        optimizer.gather()
        optimizer.set_rate(1e-4)
        optimizer.step()
    assert model["table"].weight.dtype == torch.bfloat16
    assert float(optimizer.weights()["table.weight"]) == pytest.approx(1.0 - 50e-4, abs=1e-5)
    assert float(model["table"].weight.detach()) < 1.0


def test_a_norm_loses_no_small_summands() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(1 << 14, 1 << 10)})
    optimizer = Optimizer(model.named_parameters())
    optimizer.gradients.normal_(generator=torch.Generator().manual_seed(0))
    exact = float(optimizer.gradients.double().norm())
    assert float(optimizer.clip(1.0)) == pytest.approx(exact, rel=2e-5)  # over one buffer 7e-4 less
    assert float(optimizer.gradients.double().norm()) == pytest.approx(1.0, rel=2e-5)


def test_a_norm_below_the_clip_leaves_the_gradients() -> None:
    model = small()
    optimizer = Optimizer(model.named_parameters())
    forward(model).backward()
    optimizer.gather()
    before = optimizer.gradients.clone()
    assert float(optimizer.clip(1e6)) == pytest.approx(float(before.norm()))
    assert torch.equal(optimizer.gradients, before)


def test_a_clip_of_nothing_leaves_the_gradients() -> None:
    model = small()
    optimizer = Optimizer(model.named_parameters())
    forward(model).backward()
    optimizer.gather()
    before = optimizer.gradients.clone()
    assert optimizer.clip(0.0) == before.norm() > 1.0
    assert torch.equal(optimizer.gradients, before)
    optimizer.clip(1.0)
    assert float(optimizer.gradients.norm()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weight_decay_reaches_tables_and_matrices_but_no_norm(kind: str) -> None:
    moved = {}
    for decay in (0.0, 1.0):
        model = small()
        before = {k: p.detach().clone() for k, p in model.named_parameters()}
        optimizer = Optimizer(model.named_parameters(), kind=kind, weight_decay=decay)
        forward(model).backward()
        optimizer.gather()
        optimizer.set_rate(0.01)
        optimizer.step()
        moved[decay] = {k: v - before[k] for k, v in optimizer.weights().items()}
    for name, start in before.items():
        expected = moved[0.0][name] - (0.01 * start if start.ndim >= 2 else 0.0)
        torch.testing.assert_close(moved[1.0][name], expected, rtol=1e-4, atol=1e-6)


def test_muon_moves_the_matrices_of_layers_alone() -> None:
    model = small()
    optimizer = Optimizer(model.named_parameters(), kind="muon", weight_decay=0.0)
    assert sorted(optimizer._muon_names) == ["layers.0.weight", "layers.1.weight"]
    before = copy.deepcopy(dict(optimizer.weights()))
    forward(model).backward()
    optimizer.gather()
    optimizer.set_rate(0.1)
    optimizer.step()
    moved = optimizer.weights()["layers.0.weight"] - before["layers.0.weight"]
    spectrum = torch.linalg.svdvals(moved)
    assert spectrum[0] / spectrum[3] < 3  # orthogonalised: no direction dominates
    assert not torch.equal(before["table.weight"], optimizer.weights()["table.weight"])


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_state_goes_there_and_back(kind: str) -> None:
    def train(model: nn.Module, optimizer: Optimizer, n: int) -> None:
        for _ in range(n):
            forward(model).backward()
            optimizer.gather()
            optimizer.set_rate(0.01)
            optimizer.step()

    straight = small()
    one = Optimizer(straight.named_parameters(), kind=kind)
    train(straight, one, 5)
    stopped = small()
    two = Optimizer(stopped.named_parameters(), kind=kind)
    train(stopped, two, 2)
    weights = {k: v.clone() for k, v in two.weights().items()}
    state = {k: v.clone() for k, v in two.state().items()}
    again = small()
    three = Optimizer(again.named_parameters(), kind=kind)
    three.load(weights, state)
    train(again, three, 3)
    assert torch.equal(one.masters, three.masters)


@pytest.mark.parametrize(
    ("schedule", "place", "factor"),
    [
        ("linear", 0.05, 0.5),
        ("linear", 0.1, 1.0),
        ("linear", 0.55, 0.5),
        ("linear", 1.0, 0.0),
        ("cosine", 0.325, 0.853553),
        ("cosine", 0.55, 0.5),
        ("cosine", 1.0, 0.0),
        ("trapezoid", 0.5, 1.0),
        ("trapezoid", 0.8, 0.5),
        ("trapezoid", 1.0, 0.0),
        ("constant", 1.0, 1.0),
        ("constant", 0.02, 0.2),
    ],
)
def test_schedules_by_hand(schedule: str, place: float, factor: float) -> None:
    assert rate(schedule, place, warmup=0.1, decay=0.4) == pytest.approx(factor)


def test_a_trapezoid_whose_ends_overlap_makes_no_leap() -> None:
    places = [n / 1000 for n in range(1001)]
    found = [rate("trapezoid", place, warmup=0.7, decay=0.5) for place in places]
    assert max(abs(b - a) for a, b in pairwise(found)) < 0.003
    assert max(found) == pytest.approx(0.833, abs=1e-2) and found[-1] == 0.0
