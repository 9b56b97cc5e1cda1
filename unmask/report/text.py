"""Text and numbers of strangers, made fit to be shown.

What a run read (labels, sentences, settings) is hostile until shown otherwise. Escaping of markup belongs to
the template; this file deals with what escaping leaves alone: characters that turn the line around, hide, or
break the encoding (Unicode TR 36 and CVE-2021-42574 say why). They are replaced by their visible code point.
"""

import math
import unicodedata
from typing import Any

from unmask.bounded import LARGEST_NUMBER

# Joiners that Persian, Indic scripts and emoji need, and format characters that have a shape of their own.
_HARMLESS = frozenset("\n\t\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
_HIDDEN = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])


def visible(text: str) -> str:
    """The text with control, bidirectional, invisible and unpaired characters written as ⟨U+202E⟩."""
    return "".join(
        f"⟨U+{ord(c):04X}⟩" if unicodedata.category(c) in _HIDDEN and c not in _HARMLESS else c for c in text
    )


def clean(value: Any) -> Any:
    """JSON data with every string made visible, and None for every number that is not finite or beyond all counts."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, int) and not -LARGEST_NUMBER < value < LARGEST_NUMBER:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {visible(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value


def short(text: str, limit: int) -> str:
    """At most `limit` characters, the cut marked by an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def number(value: Any) -> str:
    """A count or a measured value as a person writes it: 12,345 · 0.0031 · 4.46; "–" for nothing."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) >= 1000):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.3g}"


def amount(value: float | None) -> str:
    """A large count in three figures: 2.57 million."""
    if value is None:
        return "–"
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,.0f}"


def setting(value: Any) -> str:
    """A setting's value on one line, as Python would write it, without quotes around words."""
    if isinstance(value, list):
        return ", ".join(setting(item) for item in value)
    return "none" if value is None else str(value)


def flat(data: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as {"model.layers": "4"}."""
    if not isinstance(data, dict):
        return {prefix or "value": setting(data)}
    out: dict[str, str] = {}
    for key, item in data.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        out.update(flat(item, name) if isinstance(item, dict) and item else {name: setting(item)})
    return out
