"""Fields become options: types, defaults, groups, durations, another run's settings; and the dataclass comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from cyclopts import App

from unmask.commands.flags import Fields, collect, expand
from unmask.errors import UnmaskError


@dataclass(frozen=True)
class Recipe:
    rate: Annotated[float, "share of the tokens"] = 0.15
    unit: Literal["token", "word"] = "token"
    pairs: bool = True


@dataclass(frozen=True)
class Training:
    steps: Annotated[int | None, "updates"] = None
    budget: Annotated[float | None, "seconds of training"] = None
    learning_rate: float | None = None


def verb(corpus: str, /, *, size: str = "mini", recipe: Any, training: Any) -> tuple[Any, ...]:
    return corpus, size, recipe, training


def run(words: str, past: dict[str, Any] | None = None) -> Any:
    given = {
        "recipe": Fields(Recipe, "The recipe", past or {}),
        "training": Fields(
            Training, "Training", past or {}, shown={"learning_rate": 0.001, "budget": 1800.0}
        ),
    }
    app = App(name="unmask", result_action="return_value")
    app.default(expand(verb, given))
    return app(words.split(), exit_on_error=False, print_error=False)


def test_defaults() -> None:
    assert run("c") == ("c", "mini", Recipe(), Training())


def test_options_reach_their_dataclass() -> None:
    words = "c --size tiny --rate 0.4 --unit word --no-pairs --budget 1h30m --learning-rate 1e-3"
    recipe, training = Recipe(0.4, "word", False), Training(budget=5400.0, learning_rate=1e-3)
    assert run(words) == ("c", "tiny", recipe, training)


def test_another_run_gives_the_defaults() -> None:
    past = {"rate": 0.3, "pairs": False, "budget": 60.0, "learning_rate": 0.5, "corpus": "elsewhere"}
    assert run("c --unit word", past)[2:] == (
        Recipe(0.3, "word", False),
        Training(budget=60.0, learning_rate=0.5),
    )
    assert run("c --rate 0.1", past)[2] == Recipe(0.1, "token", False)
    assert run("c --steps 5", past)[3] == Training(steps=5, learning_rate=0.5), (
        "steps take the place of a past budget"
    )


def test_a_wrong_duration_says_so() -> None:
    with pytest.raises(UnmaskError, match='"soon" is no duration'):
        run("c --budget soon")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    run("--help", {"rate": 0.3})
    shown = capsys.readouterr().out
    for words in (
        "The recipe",
        "Training",
        "share of the tokens",
        "0.3",
        "--no-pairs",
        "0.001",
        "30m 00s",
        "--rate",
    ):
        assert words in shown
    assert "--no-rate" not in shown and "--empty" not in shown


def test_two_options_of_one_name_are_a_defect() -> None:
    with pytest.raises(AssertionError, match="rate"):
        expand(verb, {"recipe": Fields(Recipe, "a"), "training": Fields(Recipe, "b")})


def test_collect_ignores_what_is_not_a_field() -> None:
    assert collect(Fields(Training, "", {"rate": 1, "steps": 2}), {"size": "x"}) == Training(steps=2)
