"""Files of strangers: what is no regular file, too large, or no JSON, is a sentence and not a surprise."""

from __future__ import annotations

import json
import math
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.bounded import BadJson, load_json, parse_json, portions, read_bounded
from unmask.errors import UnmaskError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé中\U0001f600\\"'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
)


@given(VALUES, st.booleans())
def test_json_comes_back(value: Any, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only)) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', 'the key "c" occurs twice'),
        ("[1, NaN]", "NaN, which is no number"),
        ("[-Infinity]", "-Infinity, which is no number"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("9" * 5000, "thousands of digits"),
        ("-" + "9" * 5000, "thousands of digits"),
        ('["\\ud83d"]', "half of a surrogate pair"),
        ('{"\\uDC00": 1}', "half of a surrogate pair"),
        ("[" + "[]," * 2_000_000 + "[]]", "most of it is brackets and commas"),
        ("", "Expecting value at character 1"),
        ('{"a": 1} x', "Extra data"),
    ],
)
def test_json_that_would_surprise(text: str, message: str) -> None:
    with pytest.raises(BadJson, match=message):
        parse_json(text)


def test_what_is_json_all_the_same() -> None:
    assert parse_json('["\\ud83d\\ude00"]') == ["\U0001f600"]
    assert parse_json("9" * 4000) == int("9" * 4000)
    assert parse_json("[1e999]") == [math.inf]  # a number too large for a float is one by the grammar
    assert math.isnan(parse_json('{"loss": NaN}', constants=True)["loss"])
    with pytest.raises(BadJson) as caught:
        parse_json('{"a": 1,\n\n x}')
    assert caught.value.line == 3


def test_only_regular_files_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as held:
        held.bind("socket")
        for name, kind in (("pipe", "FIFO"), ("socket", "socket"), (".", "folder"), ("/dev/zero", "device")):
            with pytest.raises(UnmaskError, match=f"is a {kind} — a note was expected"):
                read_bounded(Path(name), "a note")
    file = tmp_path / "a.json"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)  # a terabyte, of which nothing is read
    with pytest.raises(UnmaskError, match="more than 100 bytes"):
        read_bounded(file, "a note", 100)
    file.write_bytes(b"0" * 100)
    assert read_bounded(file, "a note", 100) == b"0" * 100


def test_the_place_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with pytest.raises(UnmaskError, match=r"a\.json is missing — a note was expected — write one"):
        load_json(file, "a note", "write one")
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UnmaskError, match="byte 7 is not UTF-8"):
        load_json(file, "a note", "write one")
    file.write_text("{")
    with pytest.raises(UnmaskError, match="is not JSON .*— a note was expected — write one"):
        load_json(file, "a note", "write one")
    file.write_text('{"a": [1]}')
    assert load_json(file, "a note", "write one") == {"a": [1]}


def test_portions_are_neighbours_that_fit() -> None:
    found = list(portions([3, 4, 3, 11, 1, 9, 10], int, 10))
    assert found == [[3, 4, 3], [11], [1, 9], [10]]
    assert list(portions([], int, 10)) == []
