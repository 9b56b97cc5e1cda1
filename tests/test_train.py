"""k micro-batches are one big batch; a loss that is not finite moves nothing; clocks."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from unmask.optim import Optimizer
from unmask.train import Clock, steps


def network() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(3, 1)


def run(
    parts: list[list[tuple[torch.Tensor, torch.Tensor]]], scale: float = 1.0
) -> tuple[torch.Tensor, float]:
    model = network()
    optimizer = Optimizer(model.named_parameters())
    batches = [[{"ids": x, "targets": y} for x, y in micro] for micro in parts]
    loss = loss_of(model, scale=scale)
    found = list(steps(loss, batches, terms={"fit": "targets"}, optimizer=optimizer, rate=lambda n: 0.01))
    return optimizer.masters.clone(), found[-1].loss()


def test_micro_batches_of_unequal_size_are_one_batch() -> None:
    torch.manual_seed(2)
    x, y = torch.randn(10, 3), torch.randn(10)
    whole, loss = run([[(x, y)]] * 3)
    parts, again = run([[(x[:1], y[:1]), (x[1:4], y[1:4]), (x[4:], y[4:])]] * 3)
    torch.testing.assert_close(whole, parts, rtol=1e-6, atol=1e-7)
    assert loss == pytest.approx(again, rel=1e-6)
    means, _ = run([[(x[:1], y[:1])]] * 3)
    assert not torch.allclose(whole, means)


@pytest.mark.parametrize("order", [("empty", "full"), ("full", "empty")])
def test_a_micro_batch_that_asks_nothing_adds_nothing(order: tuple[str, str]) -> None:
    """As where no token is chosen: most parameters get no gradient from it, at any place of an update."""
    torch.manual_seed(2)
    x, y = torch.randn(4, 3), torch.randn(4)
    full, empty = {"ids": x, "targets": y}, {"ids": x, "targets": y[:0]}
    found = []
    for updates in ([[full]] * 3, [[full], *[[{"full": full, "empty": empty}[name] for name in order]] * 2]):
        model = network()
        optimizer = Optimizer(model.named_parameters())

        def loss(batch: dict[str, torch.Tensor], model: nn.Linear = model) -> dict[str, torch.Tensor]:
            if not len(batch["targets"]):
                return {"fit": model.bias.sum() * 0}
            return loss_of(model)(batch)

        list(steps(loss, updates, terms={"fit": "targets"}, optimizer=optimizer, rate=lambda n: 0.01))
        found.append(optimizer.masters.clone())
    assert torch.equal(found[0], found[1])


def test_a_loss_that_is_not_finite_moves_nothing() -> None:
    torch.manual_seed(2)
    x, y = torch.randn(4, 3), torch.randn(4)
    model = network()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    moved, _ = run([[(x, y)]], scale=float("inf"))
    assert torch.equal(torch.sort(before).values, torch.sort(moved).values)


def loss_of(
    model: nn.Module, more: float = 0.0, scale: float = 1.0
) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda batch: {"fit": ((model(batch["ids"])[:, 0] - batch["targets"]) ** 2).sum() * scale + more}


def test_a_loss_that_is_not_finite_moves_nothing_though_its_gradient_is() -> None:
    torch.manual_seed(2)
    x, y = torch.randn(4, 3), torch.randn(4)
    model = network()
    optimizer = Optimizer(model.named_parameters())
    before = optimizer.masters.clone()
    for bad, worse in ((False, 0.0), (True, float("nan")), (True, float("inf"))):
        batches = [[{"ids": x, "targets": y}]]
        (step,) = steps(
            loss_of(model, worse), batches, terms={"fit": "targets"}, optimizer=optimizer, rate=lambda n: 0.01
        )
        assert torch.isfinite(step.gradient_norm) and step.finite is not bad
        assert torch.equal(optimizer.masters, before) == bad
        before = optimizer.masters.clone()
    norms = []  # and nothing of it is left: the next update has the gradient that it would have had without
    for moved in (optimizer, Optimizer(model.named_parameters())):
        (step,) = steps(
            loss_of(model), batches, terms={"fit": "targets"}, optimizer=moved, rate=lambda n: 0.0
        )
        norms.append(float(step.gradient_norm))
    assert norms[0] == norms[1] > 0


def test_clock_by_steps_and_by_recorded_places() -> None:
    clock = Clock(total=4, budget=None)
    assert [clock.place(n) for n in (1, 2, 3, 4)] == [0.125, 0.375, 0.625, 0.875]
    assert not clock.over(3) and clock.over(4)
    replayed = Clock(total=None, budget=9.0, places=[0.0, 0.5])
    assert [replayed.place(n) for n in (1, 2)] == [0.0, 0.5]
    assert replayed.over(2)


def test_an_update_that_does_not_fit_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("unmask.train.time.perf_counter", lambda: now)
    for left, over in ((15.0, False), (5.0, True)):
        clock = Clock(total=None, budget=30.0 + left)
        for done in range(1, 4):
            now += 10.0
            assert clock.over(done) == (done == 3 and over)
        now = 0.0


def test_time_that_was_used_counts() -> None:
    clock = Clock(total=None, budget=100.0, used=90.0)
    assert 0.9 <= clock.place(1) < 0.91
    assert not clock.over(1)
    assert Clock(total=None, budget=100.0, used=101.0).over(1)
