"""The one-visit cross-entropy equals the ordinary one, in loss, count and all three gradients."""

import pytest
import torch
from torch.nn import functional as F

from unmask.models import losses
from unmask.models.losses import classes_loss, highest, tokens_loss


def problem(count=37, width=16, vocab=101, dtype=torch.float32, spread=1.0):
    rng = torch.Generator().manual_seed(4)
    states = (torch.randn(count, width, generator=rng) * spread).to(dtype).requires_grad_()
    matrix = torch.randn(vocab, width, generator=rng).to(dtype).requires_grad_()
    bias = torch.randn(vocab, generator=rng).to(dtype).requires_grad_()
    return states, matrix, bias, torch.randint(0, vocab, (count,), generator=rng)


def ordinary(states, matrix, bias, targets, factor):
    """In fp32 from the same numbers."""
    own = [x.detach().float().requires_grad_() for x in (states, matrix, bias)]
    logits = F.linear(*own)
    loss = F.cross_entropy(logits, targets, reduction="sum")
    (loss * factor).backward()
    return loss.detach(), (logits.argmax(-1) == targets).sum(), [x.grad for x in own]


@pytest.mark.parametrize("block", [2**24, 101 * 5])  # in one block, in eight
@pytest.mark.parametrize("factor", [1.0, 0.37, -2.0])
def test_fp32(block, factor, monkeypatch):
    monkeypatch.setattr(losses, "BLOCK", block)
    monkeypatch.setattr(losses, "CACHED", 101 * 3)
    given = problem()
    loss, correct = tokens_loss(*given)
    (loss * factor).backward()
    want, count, gradients = ordinary(*given, factor)
    torch.testing.assert_close(loss.detach(), want, rtol=1e-6, atol=1e-4)
    assert correct == count
    for x, gradient in zip(given, gradients, strict=False):
        torch.testing.assert_close(x.grad, gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spread", [0.02, 0.25, 0.5, 1.0])  # from fresh weights to near certainty
@pytest.mark.parametrize("block", [2**24, 8000 * 100])
def test_bf16_keeps_the_loss(spread, block, monkeypatch):
    monkeypatch.setattr(losses, "BLOCK", block)
    states, matrix, bias, _ = problem(307, 64, 8000, torch.bfloat16, spread)
    with torch.no_grad():
        logits = F.linear(states.float(), matrix.float(), bias.float())
        targets = torch.multinomial(logits.softmax(-1), 1, generator=torch.Generator().manual_seed(5))[:, 0]
    given = states, matrix, bias, targets
    loss, correct = tokens_loss(*given)
    (loss / 307).backward()
    want, count, gradients = ordinary(*given, 1 / 307)
    assert abs(float(loss.detach() - want)) / 307 < 1e-3
    assert abs(int(correct) - int(count)) <= 6
    for x, gradient in zip(given, gradients, strict=False):
        assert x.grad.dtype == torch.bfloat16
        assert float((x.grad.float() - gradient).norm() / gradient.norm()) < 0.02


def test_extreme_logits_stay_finite():
    states, matrix, bias, targets = problem(spread=200.0)
    loss, _ = tokens_loss(states, matrix, bias, targets)
    loss.backward()
    want, _, _ = ordinary(states, matrix, bias, targets, 1.0)
    torch.testing.assert_close(loss.detach(), want, rtol=1e-5, atol=0)
    assert all(x.grad.isfinite().all() for x in (states, matrix, bias))


def test_nothing_asked():
    states, matrix, bias, targets = problem(count=0)
    loss, correct = tokens_loss(states, matrix, bias, targets)
    loss.backward()
    assert loss == 0 and correct == 0
    assert matrix.grad.abs().sum() == 0


def test_without_gradients():
    states, matrix, bias, targets = problem()
    with torch.no_grad():
        loss, _ = tokens_loss(states, matrix, bias, targets)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, ordinary(states, matrix, bias, targets, 1.0)[0], rtol=1e-6, atol=1e-4)
    frozen = matrix.detach()
    loss, _ = tokens_loss(states, frozen, bias, targets)
    loss.backward()
    torch.testing.assert_close(
        states.grad, ordinary(states, matrix, bias, targets, 1.0)[2][0], rtol=1e-5, atol=1e-5
    )


def test_classes():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=torch.bfloat16)
    loss, correct = classes_loss(logits, torch.tensor([0, 0]))
    assert correct == 1
    torch.testing.assert_close(float(loss), 0.31326 + 3.04859, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_past_the_targets_count_for_nothing(dtype):
    """Neither in the loss nor in a gradient, whatever they hold; across the bounds of blocks, too."""
    states, matrix, bias, targets = problem(dtype=dtype)
    found = []
    for more in (0, 11):
        given = [t.detach().clone().requires_grad_() for t in (states, matrix, bias)]
        longer = torch.cat((given[0], torch.full((more, states.shape[1]), 3.0, dtype=dtype)))
        loss, correct = tokens_loss(longer, *given[1:], targets)
        loss.backward()
        found.append([loss.detach(), correct, *(t.grad for t in given)])
    for plain, filled in zip(*found, strict=True):
        torch.testing.assert_close(filled, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 127, 128, 129, 1000, 1024])
def test_the_first_of_the_highest(size):
    """As `argmax`, ties and what is not finite included."""
    rng = torch.Generator().manual_seed(size)
    few = torch.randint(0, 3, (50, size), generator=rng).float()  # many ties
    few[0, size // 2], few[1, -1], few[2] = float("nan"), float("inf"), float("-inf")
    for x in (few, torch.randn(50, size, generator=rng), few.T.contiguous().T):
        assert torch.equal(highest(x), x.argmax(-1, keepdim=True))
