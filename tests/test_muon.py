"""Muon against a singular value decomposition, against torch's own, and alone or in company."""

import copy

import pytest
import torch
from torch import nn

from unmask.muon import Muon, orthogonal


def of_spectrum(rows: int, columns: int, values: torch.Tensor) -> torch.Tensor:
    left = torch.linalg.qr(torch.randn(rows, rows))[0][:, : len(values)]
    right = torch.linalg.qr(torch.randn(columns, columns))[0][:, : len(values)]
    return left @ torch.diag(values) @ right.T


@pytest.mark.parametrize(("rows", "columns"), [(48, 96), (96, 48), (64, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_become_equal_and_directions_stay(
    rows: int, columns: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    matrix = of_spectrum(rows, columns, torch.logspace(0, -1.5, min(rows, columns)))
    found = orthogonal(matrix[None].to(dtype))[0].float()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    in_its_basis = left.T @ found @ right.T
    assert 0.6 < in_its_basis.diagonal().min() and in_its_basis.diagonal().max() < 1.25
    off = in_its_basis - torch.diag(in_its_basis.diagonal())
    assert off.abs().max() < (1e-3 if dtype == torch.float32 else 0.05)


def test_matrices_worked_out_together_are_as_alone() -> None:
    torch.manual_seed(0)
    some = torch.randn(3, 24, 40) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    together = orthogonal(some)
    for matrix, found in zip(some, together, strict=True):
        torch.testing.assert_close(orthogonal(matrix[None])[0], found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e12])
def test_steps_are_torchs_but_for_the_rounds(scale: float) -> None:
    """Momentum, decay and the size of a step are torch's; the polynomial ends elsewhere between 0.7 and 1.2."""
    torch.manual_seed(0)
    weights = [torch.randn(32, 80), torch.randn(32, 80), torch.randn(48, 16)]
    ours, theirs = ([nn.Parameter(w.clone()) for w in weights] for _ in range(2))
    mover = Muon(ours, weight_decay=0.1, working=torch.float32)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for group in mover.param_groups:
        group["lr"] = 0.02
    for _ in range(3):
        for one, two in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape) * scale
            two.grad = one.grad.clone()
        mover.step()
        reference.step()
    for one, two, start in zip(ours, theirs, weights, strict=True):
        moved, its = one.detach() - start, two.detach() - start
        assert float((moved * its).sum() / (moved.norm() * its.norm())) > 0.97
        assert moved.norm() / its.norm() == pytest.approx(1.0, abs=0.1)
        torch.testing.assert_close(
            mover.state[one]["momentum_buffer"],
            reference.state[two]["momentum_buffer"],
            rtol=1e-5,
            atol=1e-6 * scale,
        )


def test_momentum_is_looked_at_half_a_step_ahead() -> None:
    p = nn.Parameter(torch.zeros(3, 5))
    mover = Muon([p], weight_decay=0.0, working=torch.float32)
    mean = torch.zeros(3, 5)
    for _ in range(3):
        p.grad = torch.randn(3, 5)
        mean = 0.95 * mean + 0.05 * p.grad
        torch.testing.assert_close(mover._momentum(p), 0.05 * p.grad + 0.95 * mean)


def test_many_matrices_are_moved_in_several_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    for visit in (2**24, 1):
        monkeypatch.setattr("unmask.muon.VISIT", visit)
        torch.manual_seed(0)
        matrices = [nn.Parameter(torch.randn(8, 12)) for _ in range(5)]
        mover = Muon(matrices, weight_decay=0.0, working=torch.float32)
        mover.param_groups[0]["lr"] = 0.1
        for p in matrices:
            p.grad = torch.randn(8, 12)
        mover.step()
        moved.append(torch.stack([p.detach() for p in matrices]))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-4, atol=1e-5)


def test_a_gradient_of_nothing_moves_nothing_but_the_decay() -> None:
    p = nn.Parameter(torch.ones(4, 6))
    mover = Muon([p], weight_decay=0.5, working=torch.bfloat16)
    mover.param_groups[0]["lr"] = 0.1
    p.grad = torch.zeros_like(p)
    mover.step()
    torch.testing.assert_close(p.detach(), torch.full((4, 6), 0.95))
    p.grad = None
    before = copy.deepcopy(p.detach())
    mover.step()
    assert torch.equal(p.detach(), before)
