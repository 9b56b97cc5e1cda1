"""The end of a message about a misspelt name."""

from __future__ import annotations

import pytest

from unmask.errors import nearest


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("brt", "bert"),
        ("BERT", "bert"),
        ("robrta", "roberta"),
        ("modren", "modern"),
        ("xyz", None),
        ("", None),
    ],
)
def test_nearest(name: str, found: str | None) -> None:
    assert nearest(name, ["bert", "roberta", "modern"]) == (f' Did you mean "{found}"?' if found else "")


def test_the_name_comes_back_in_its_own_case() -> None:
    assert nearest("polarbear", ["PolarBear"]) == ' Did you mean "PolarBear"?'
    assert nearest("a", []) == ""
