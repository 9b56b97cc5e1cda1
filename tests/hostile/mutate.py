# ruff: noqa: E501 (samples of formats, a line each)
"""Strategies of hypothesis that damage good input: one place of a JSON value, a few bytes of a file."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

#: values that stand where another was expected
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 5), st.sampled_from([10**9, -(10**9), 2**63, 10**30, 10**300, 0.5, -1e300, 1e-300]),
    st.sampled_from(["", "x", "../../x", "\0", "\u202e", "<script>", "9" * 50, "a" * 300, "#", "##a", "[MASK]", "train"]),
    st.sampled_from([[], {}, [[]], [1], ["a"], {"a": 1}, [None], {"type": "Sequence"}, [["a", 1]], [{}]]),
)  # fmt: skip


def places(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within a JSON value, at most a dozen entries of each list or object."""
    found = [before]
    keys = (
        list(value)[:12]
        if isinstance(value, dict)
        else range(min(len(value), 12))
        if isinstance(value, list)
        else ()
    )
    for key in keys:
        found += places(value[key], (*before, key))
    return found


@st.composite
def damaged(draw: st.DrawFn, good: Any) -> Any:
    """A JSON value with one to three places exchanged, taken out, or repeated under another name."""
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                value = draw(ODD)
            continue
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        how = draw(st.sampled_from(["exchange", "exchange", "remove", "repeat"]))
        if how == "exchange":
            inner[path[-1]] = copy.deepcopy(draw(ODD))
        elif how == "remove":
            del inner[path[-1]]
        elif isinstance(inner, list):
            inner.append(copy.deepcopy(inner[path[-1]]))
        else:
            inner[str(path[-1]) + "x"] = copy.deepcopy(inner[path[-1]])
    return value


@st.composite
def scratched(draw: st.DrawFn, good: bytes) -> bytes:
    """Bytes with a few of them changed, taken out, put in, or cut off."""
    raw = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        how = draw(st.sampled_from(["flip", "remove", "insert", "cut", "copy"]))
        if how == "flip" and raw:
            raw[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "remove":
            del raw[at : at + draw(st.integers(1, 64))]
        elif how == "insert":
            raw[at:at] = draw(st.binary(min_size=1, max_size=64))
        elif how == "cut":
            del raw[at:]
        else:
            raw[at:at] = raw[: draw(st.integers(0, 64))]
    return bytes(raw)
