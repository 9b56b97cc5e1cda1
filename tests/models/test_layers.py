"""The small parts: what is computed in another way than torch's own gives the same."""

import pytest
import torch

from unmask.models.layers import ACTIVATIONS, added, affine, drop, lengthen, shorten


@pytest.mark.parametrize("bias", [True, False])
def test_affine_is_a_linear_map_with_and_without_gradients(bias):
    """In bf16 oneDNN adds the bias itself: the same up to one rounding of the result."""
    made = torch.nn.Linear(64, 96, bias).bfloat16()
    x = torch.randn(40, 64).bfloat16()
    plain = affine(x, made.weight, made.bias)
    assert plain.requires_grad
    torch.testing.assert_close(plain, made(x), rtol=2**-7, atol=2**-8)
    with torch.no_grad():
        torch.testing.assert_close(affine(x, made.weight, made.bias), plain.detach(), rtol=2**-7, atol=2**-8)
        assert torch.equal(affine(x.float(), made.weight.float(), None), x.float() @ made.weight.float().T)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_affine_in_bf16(bias):
    """Of input, weight and bias, as `torch.nn.Linear` has them; of a frozen weight none."""
    torch.manual_seed(0)
    made = torch.nn.Linear(64, 96, bias).bfloat16()
    x = torch.randn(40, 64).bfloat16().requires_grad_()
    slope = torch.randn(40, 96).bfloat16()
    parts = (x, *made.parameters())
    found = torch.autograd.grad(affine(x, made.weight, made.bias), parts, slope)
    for own, plain in zip(found, torch.autograd.grad(made(x), parts, slope), strict=True):
        torch.testing.assert_close(own, plain, rtol=2**-7, atol=2**-5)
    made.weight.requires_grad_(False)
    affine(x, made.weight, made.bias).backward(slope)
    assert made.weight.grad is None
    torch.testing.assert_close(x.grad, found[0], rtol=0, atol=0)


def test_shorten_undoes_lengthen():
    x = torch.randn(5, 3, requires_grad=True)
    slope = torch.randn(5, 3)
    assert shorten(x, 5) is x and lengthen(x, 0) is x
    longer = lengthen(x, 2)
    assert torch.equal(longer, torch.cat((x, torch.zeros(2, 3))))
    longer.retain_grad()
    assert torch.equal(shorten(longer, 5), x)
    shorten(longer, 5).backward(slope)
    assert torch.equal(longer.grad, torch.cat((slope, torch.zeros(2, 3)))) and torch.equal(x.grad, slope)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("bias", [True, False])
def test_affine_ends_with_its_activation(activation, bias):
    torch.manual_seed(0)
    made = torch.nn.Linear(40, 24, bias, dtype=torch.bfloat16)
    x = 3 * torch.randn(33, 40, dtype=torch.bfloat16)
    exact = ACTIVATIONS[activation](
        torch.nn.functional.linear(*(t if t is None else t.float() for t in (x, made.weight, made.bias)))
    )
    for context in (torch.enable_grad(), torch.no_grad()):
        with context:
            found = affine(x, made.weight, made.bias, activation).float()
        torch.testing.assert_close(found, exact, rtol=2**-6, atol=2**-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_added_is_a_sum(bias, dtype):
    torch.manual_seed(0)
    made = torch.nn.Linear(40, 24, bias, dtype=dtype)
    x, y = torch.randn(33, 24, dtype=dtype), torch.randn(33, 40, dtype=dtype)
    before = x.clone()
    exact = x.float() + torch.nn.functional.linear(
        *(t if t is None else t.float() for t in (y, made.weight, made.bias))
    )
    near = 2**-6 if dtype == torch.bfloat16 else 1e-5
    for context in (torch.enable_grad(), torch.no_grad()):
        with context:
            found = added(x, y, made.weight, made.bias, 0.0)
        torch.testing.assert_close(found.float(), exact, rtol=near, atol=near)
        assert torch.equal(x, before)  # what is added to is still read by others
    assert (
        added(x, y, made.weight, made.bias, 0.999) == x
    ).float().mean() > 0.5  # dropout acts on the product


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dropout(dtype):
    """A tenth is nothing, the rest as much larger; torch's seed decides; the gradient is what was kept."""
    x = torch.ones(300, 400, dtype=dtype, requires_grad=True)
    torch.manual_seed(5)
    found = drop(x, 0.1)
    share = (found == 0).double().mean().item()
    assert abs(share - 0.1) < 5 * (0.09 / x.numel()) ** 0.5
    assert found[found != 0].unique().tolist() == pytest.approx([65536 / (65536 - 6554)], rel=2**-8)
    torch.manual_seed(5)
    assert torch.equal(drop(x, 0.1), found) and not torch.equal(drop(x, 0.1), found)
    found.sum().backward()
    assert torch.equal(x.grad, found)
    columns = (found == 0).double().mean(0)  # no column is kept or dropped more than chance has it
    assert (columns - 0.1).abs().max() < 6 * (0.09 / 300) ** 0.5
    assert drop(x, 0.0) is x and not drop(x, 1.0).any() and drop(x[:0], 0.1).shape == (0, 400)
