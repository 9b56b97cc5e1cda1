"""Settings are frozen dataclasses; here they become JSON and come back, and durations become seconds.

The field's type is the whole schema: there is no second description of a setting. Reading is strict, since a
setting that is silently ignored spoils a run without a word: an unknown key, a missing one and a wrong type
are each an error that names the place. Knows no recipe; whoever asks brings the class.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from unmask.errors import UnmaskError, nearest

#: the command line as it was typed, "" where a run is made from Python
TYPED: ContextVar[str] = ContextVar("typed", default="")
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([dhms]|$)\s*")


def to_json(value: Any) -> Any:
    """The plain JSON value (dicts, lists, strings, numbers) of a setting; the inverse of ``from_json``.

    Raises TypeError for a value that has no JSON form: that is a defect of the dataclass, not of the user.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"JSON keys are strings, got {list(value)}")
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} has no JSON form: {value!r}")


def from_json(cls: Any, data: Any, where: str) -> Any:
    """The value of type ``cls`` (a dataclass, or any type of a field) that ``data`` stands for.

    ``where`` names the place in messages ("runs/a/run.json"). Fields with a default may be absent.
    Raises UnmaskError for an unknown key, a missing one, or a value of another type.
    """
    origin, arguments = get_origin(cls), get_args(cls)
    if cls is Any:
        return data
    if origin is Annotated:
        return from_json(arguments[0], data, where)
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls, data, where)
    if origin is Literal:
        if any(data == choice and type(data) is type(choice) for choice in arguments):
            return data
        hint = nearest(data, [str(choice) for choice in arguments]) if isinstance(data, str) else ""
        raise UnmaskError(f"{where} is {data!r}; one of {', '.join(map(str, arguments))} was expected.{hint}")
    if origin in (Union, types.UnionType):
        return _union(cls, arguments, data, where)
    if origin in (tuple, list):
        if not isinstance(data, list | tuple):
            raise _wrong(cls, data, where)
        if origin is list or arguments[1:] == (...,):
            return origin(from_json(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
        if len(data) != len(arguments):
            raise UnmaskError(f"{where} has {len(data)} entries; {len(arguments)} were expected")
        return tuple(
            from_json(kind, item, f"{where}[{i}]")
            for i, (kind, item) in enumerate(zip(arguments, data, strict=True))
        )
    if origin is dict:
        if not isinstance(data, dict):
            raise _wrong(cls, data, where)
        return {key: from_json(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    if cls is float and isinstance(data, int | float) and not isinstance(data, bool):
        try:
            return float(data)
        except OverflowError:  # a whole number of hundreds of digits
            raise UnmaskError(
                f"{where} is a number of {len(str(data)):,} digits; a float was expected"
            ) from None
    if cls is Path and isinstance(data, str | Path):
        return Path(data)
    if cls is types.NoneType and data is None:
        return None
    if isinstance(cls, type) and isinstance(data, cls) and not (isinstance(data, bool) and cls is int):
        return data
    raise _wrong(cls, data, where)


def _dataclass(cls: Any, data: Any, where: str) -> Any:
    if type(data) is cls:
        return data
    if not isinstance(data, dict):
        raise _wrong(cls, data, where)
    hints = get_type_hints(cls, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in data:
        if key not in fields:
            known = ", ".join(fields) or "none"
            raise UnmaskError(
                f'{where} has no setting "{key}".{nearest(key, fields)} The settings are: {known}'
            )
    given = {key: from_json(hints[key], item, f"{where}.{key}") for key, item in data.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise UnmaskError(f'{where} lacks the setting "{name}" ({_name(hints[name])}); add it')
    return cls(**given)


def _union(cls: Any, choices: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and types.NoneType in choices:
        return None
    rest = [choice for choice in choices if choice is not types.NoneType]
    if len(rest) == 1:  # Optional: the inner message names the exact place
        return from_json(rest[0], data, where)
    # An int is also a float: the type that is the value's own goes first, so 3 stays 3 in `int | float`.
    for choice in sorted(rest, key=lambda choice: choice is not type(data)):
        try:
            return from_json(choice, data, where)
        except UnmaskError:
            continue
    raise _wrong(cls, data, where)


def _name(cls: Any) -> str:
    """A type as a user would say it: ``int``, ``float | None``, ``tuple[int, ...]``."""
    if get_origin(cls) is Annotated:
        return _name(get_args(cls)[0])
    return cls.__name__ if isinstance(cls, type) and not get_args(cls) else str(cls).replace("typing.", "")


def _wrong(cls: Any, data: Any, where: str) -> UnmaskError:
    return UnmaskError(f"{where} is {data!r} ({type(data).__name__}); {_name(cls)} was expected")


def seconds(text: str | float) -> float:
    """A duration in seconds: "5m", "90s", "8h", "1h30m", "2d", or a plain number of seconds.

    Raises UnmaskError for anything else, and for a duration that is not above zero.
    """
    written = str(text).strip().lower()
    found = list(_DURATION.finditer(written))
    whole = bool(found) and "".join(match.group(0) for match in found) == written
    bare = [match for match in found if not match.group(2)]
    units = [match.group(2) for match in found]
    # "1h30" is ambiguous (minutes or seconds?), "5m3m" is a slip of the finger: units once, largest first.
    ordered = units == sorted(set(units), key="dhms".find) if not bare else len(found) == 1
    if not whole or not ordered:
        raise UnmaskError(f'"{text}" is no duration; write one like 90s, 5m, 1h30m or 2d')
    total = sum(float(match.group(1)) * _UNITS.get(match.group(2), 1.0) for match in found)
    if not math.isfinite(total):
        raise UnmaskError(f'"{written:.20}…" is a duration without end; write one like 8h or 2d')
    if total <= 0:
        raise UnmaskError(f'"{text}" is a duration of nothing; write one above zero, like 90s or 5m')
    return total


def numbers(text: str | None, what: str) -> tuple[float, ...]:
    """Positive numbers divided by commas, each once, in their order; none for None. Raises UnmaskError."""
    found = []
    for word in filter(None, (w.strip() for w in (text or "").split(","))):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise UnmaskError(
                f'{what}: "{word}" is no number above 0 — some were expected — write it such as 3e-4,1e-3'
            )
        found.append(value)
    return tuple(dict.fromkeys(found))


def show_seconds(x: float) -> str:
    """A duration for people: ``3.2s``, ``42s``, ``5m 03s``, ``1h 05m``, ``2d 03h``; ``seconds`` reads it."""
    if x < 9.95:
        return f"{x:.1f}s"
    whole = round(x)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    minutes = round(x / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    hours = round(x / 3600)
    return f"{hours // 24}d {hours % 24:02d}h"


def show_count(x: float) -> str:
    """A count for people, three digits: ``950``, ``2.94 thousand``, ``137 billion``."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if x >= 0.9995 * size:
            return f"{x / size:.3g} {word}" if x / size < 999.5 else f"{x / size:,.0f} {word}"
    return f"{x:.0f}"


def show_bytes(x: float) -> str:
    """A size for people, in powers of ten: ``512 B``, ``3.2 MB``, ``18 GB``."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if x >= 0.9995 * size:
            return f"{x / size:.2g} {unit}" if x / size < 99.5 else f"{x / size:.0f} {unit}"
    return f"{x:.0f} B"


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings under dotted names: {"training": {"seed": 0}} → {"training.seed": 0}."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found


def named_settings(names: Sequence[str], known: Sequence[str]) -> set[str]:
    """The settings that a person means by `names`: dotted, or their last part ("learning_rate", "--learning-rate").

    Raises UnmaskError, with the nearest name, for one that is no setting.
    """
    found: set[str] = set()
    for name in names:
        plain = name.lstrip("-").replace("-", "_")
        fits = {key for key in known if plain in (key, key.rpartition(".")[2])}
        if not fits:
            near = nearest(plain, [*(key.rpartition(".")[2] for key in known), *known])
            raise UnmaskError(
                f'--allow-changed "{name}" — the name of a setting was expected — correct it.{near}'
            )
        found |= fits
    return found
