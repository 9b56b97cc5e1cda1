"""Settings survive JSON, wrong ones are refused with the place and the nearest name, durations are read and shown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import UnmaskError
from unmask.settings import from_json, seconds, show_bytes, show_count, show_seconds, to_json


@dataclass(frozen=True)
class Inner:
    rate: Annotated[float, "share"] = 0.15
    unit: Literal["tokens", "words"] = "tokens"
    bases: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outer:
    NAME: ClassVar[str] = "outer"

    steps: int
    out: Path = Path("runs")
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    names: list[str] = field(default_factory=list)
    limits: dict[str, int | None] = field(default_factory=dict)
    number: int | float = 1
    pairs: bool = True


finite = st.floats(allow_nan=False, allow_infinity=False)
inner = st.builds(
    Inner, rate=finite, unit=st.sampled_from(["tokens", "words"]), bases=st.none() | st.tuples(finite, finite)
)
outer = st.builds(
    Outer,
    steps=st.integers(),
    out=st.sampled_from([Path("a/b"), Path("x")]),
    inner=inner,
    many=st.lists(inner, max_size=2).map(tuple),
    names=st.lists(st.text()),
    limits=st.dictionaries(st.text(), st.none() | st.integers()),
    number=st.integers() | finite,
    pairs=st.booleans(),
)


@given(outer)
def test_round_trip(value: Outer) -> None:
    back = from_json(Outer, json.loads(json.dumps(to_json(value))), "run.json")
    assert back == value
    assert type(back.number) is type(value.number)
    assert isinstance(back.out, Path) and isinstance(back.many, tuple) and isinstance(back.inner.rate, float)


def test_defaults_fill_and_class_variables_stay_out() -> None:
    assert from_json(Outer, {"steps": 3}, "x") == Outer(3)
    assert "NAME" not in to_json(Outer(3))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"steps": 1, "inner": {"raet": 0.1}},
            ['run.json.inner has no setting "raet"', 'Did you mean "rate"?'],
        ),
        ({"stepz": 1}, ['no setting "stepz"', '"steps"']),
        ({}, ['lacks the setting "steps"', "int"]),
        ({"steps": "3"}, ["run.json.steps is '3' (str)", "int was expected"]),
        ({"steps": True}, ["run.json.steps is True (bool)"]),
        ({"steps": 3.0}, ["run.json.steps is 3.0 (float)"]),
        ({"steps": 1, "pairs": 1}, ["run.json.pairs is 1", "bool"]),
        ({"steps": 1, "inner": {"unit": "word"}}, ["inner.unit is 'word'", "tokens, words", '"words"?']),
        ({"steps": 1, "inner": {"bases": [1.0]}}, ["inner.bases has 1 entries; 2"]),
        ({"steps": 1, "inner": 3}, ["run.json.inner is 3", "Inner was expected"]),
        ({"steps": 1, "many": [{}, {"rate": None}]}, ["run.json.many[1].rate is None", "float"]),
        ({"steps": 1, "names": "abc"}, ["run.json.names is 'abc'", "list"]),
        ({"steps": 1, "limits": {"a": "b"}}, ["run.json.limits.a is 'b'"]),
        ({"steps": 1, "number": "1"}, ["run.json.number is '1'", "int | float"]),
        ([], ["run.json is []", "Outer"]),
    ],
)
def test_what_is_wrong_is_named(data: Any, words: list[str]) -> None:
    with pytest.raises(UnmaskError) as caught:
        from_json(Outer, data, "run.json")
    for word in words:
        assert word in str(caught.value)


def test_a_value_without_json_is_a_defect() -> None:
    with pytest.raises(TypeError, match="object"):
        to_json({"a": object()})
    with pytest.raises(TypeError, match="keys"):
        to_json({1: 2})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5m", 300),
        ("90s", 90),
        ("8h", 28800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
    ]
    + [("300", 300), (300, 300), (2.5, 2.5), (" 5M ", 300), ("1d2h3m4s", 93784)],
)
def test_durations(text: str | float, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "m", "5m3m", "30m1h", "1h30", "soon", "-5m", "5 m x", "inf", "nan", "1e3", "0s", 0, -1, "5mm", "٣m"],
)
def test_no_durations(text: str | float) -> None:
    with pytest.raises(UnmaskError, match="duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.04, "0.0s"), (3.21, "3.2s"), (9.97, "10s"), (59.6, "1m 00s"), (303, "5m 03s"), (3599.7, "1h 00m")]
    + [(3900, "1h 05m"), (86399, "1d 00h"), (183600, "2d 03h")],
)
def test_shown_durations(value: float, text: str) -> None:
    assert show_seconds(value) == text


@given(st.floats(min_value=0.1, max_value=1e8))
def test_shown_durations_are_read_back(value: float) -> None:
    unit = 0.1 if value < 9.95 else 1 if value < 3599.5 else 60 if value < 86370 else 3600
    assert abs(seconds(show_seconds(value)) - value) <= unit / 2 + 1e-6


def test_shown_counts_and_sizes() -> None:
    assert [show_count(x) for x in (0, 950, 999.6, 2.94e6, 131.072e9, 4e15)] == [
        "0", "950", "1 thousand", "2.94 million", "131 billion", "4,000 trillion",
    ]  # fmt: skip
    assert [show_bytes(x) for x in (512, 3.2e6, 18e9, 123e6, 999_600)] == [
        "512 B",
        "3.2 MB",
        "18 GB",
        "123 MB",
        "1 MB",
    ]
