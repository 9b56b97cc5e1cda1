"""Settings of a training: what cannot be is refused, what is not given comes from the recipe."""

import math

import pytest

from unmask.errors import UnmaskError
from unmask.optim import rate
from unmask.recipes import RECIPES
from unmask.training import Training, resolved


def test_settings_that_cannot_be() -> None:
    for wrong in (
        {"steps": 1, "budget": 1.0},
        {"steps": 0},
        {"budget": -1.0},
        {"budget": math.inf},
        {"budget": math.nan},
        {"warmup": 1.5},
        {"accumulate": 0},
        {"learning_rate": -1e-3},
        {"learning_rate": math.nan},
        {"weight_decay": math.inf},
        {"clip": -1.0},
        {"beta1": math.nan},
        {"beta2": 1.0},
        {"seed": 2**70},
        {"seed": -1},
    ):
        with pytest.raises(UnmaskError):
            Training(**wrong)


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_trapezoid_has_a_level_part_with_every_recipe(name: str) -> None:
    found = resolved(RECIPES[name](), "mini", Training(schedule="trapezoid"))
    assert found.warmup is not None and found.decay is not None
    for place, factor in ((found.warmup, 1.0), (0.5, 1.0), (1.0, 0.0)):
        assert rate("trapezoid", place, warmup=found.warmup, decay=found.decay) == pytest.approx(factor)


@pytest.mark.parametrize("name", list(RECIPES))
def test_what_is_not_given_comes_from_the_recipe(name: str) -> None:
    recipe = RECIPES[name]()
    own = recipe.training("mini")
    found = resolved(recipe, "mini", Training(learning_rate=0.5, steps=3))
    assert found.learning_rate == 0.5 and found.steps == 3 and found.budget is None
    for key, value in own.items():
        if key != "learning_rate":
            assert getattr(found, key) == value
    assert resolved(recipe, "mini", Training()).budget == 1800.0
