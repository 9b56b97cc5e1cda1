"""The small parts: what is computed in another way than torch's own gives the same."""

import pytest
import torch

from unmask.models.layers import affine


@pytest.mark.parametrize("bias", [True, False])
def test_affine_is_a_linear_map_with_and_without_gradients(bias):
    """In bf16 without gradients oneDNN adds the bias itself: the same up to one rounding of the result."""
    made = torch.nn.Linear(64, 96, bias).bfloat16()
    x = torch.randn(40, 64).bfloat16()
    plain = affine(x, made.weight, made.bias)
    assert plain.requires_grad and torch.equal(plain, made(x))
    with torch.no_grad():
        torch.testing.assert_close(affine(x, made.weight, made.bias), plain.detach(), rtol=2**-7, atol=2**-8)
        assert torch.equal(affine(x.float(), made.weight.float(), None), x.float() @ made.weight.float().T)
