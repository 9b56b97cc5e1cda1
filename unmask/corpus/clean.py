"""Clean text: one form of Unicode, no control characters, one newline between paragraphs.

A rule a function, each of them pure. What is removed is counted by character; what is only written otherwise
(NFC, newlines, spaces at the ends of lines) is not a loss and is not counted.

Marks in a row are bounded as by the Stream-Safe Text Format of Unicode (UAX 15, section 13): no language has more
than a handful on a letter, and the time that normalisation takes grows with the square of their number.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache

# Controls but tab and newline, lone surrogates (JSON can hold them), the byte order mark, and non-characters.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]+")
MOST_MARKS = 30  # on one letter
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def clean(text: str) -> tuple[str, Counter[str]]:
    """The text with all rules applied, and how often what was removed (`"control character U+0000"` → count)."""
    text, removed = remove_controls(unify_newlines(text))
    text, marks = bound_marks(text)
    if (normal := unicodedata.normalize("NFC", text)) != text:  # which writes a few marks as two
        normal, more = bound_marks(normal)
        marks += more
    if marks:
        removed[f"mark after {MOST_MARKS} others"] = marks
    return tidy_lines(normal), removed


def unify_newlines(text: str) -> str:
    """Every kind of line or page break becomes `\\n`."""
    return _NEWLINES.sub("\n", text) if _NEWLINES.search(text) else text


def remove_controls(text: str) -> tuple[str, Counter[str]]:
    """Take out control characters, lone surrogates, byte order marks and non-characters."""
    found = "".join(_CONTROLS.findall(text))
    if not found:
        return text, Counter()
    counts = {f"control character U+{ord(c):04X}": found.count(c) for c in sorted(set(found))}
    return _CONTROLS.sub("", text), Counter(counts)


@cache
def _marks() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """A character that combines with the one before it, too long a run of such, and what of it is too much."""
    kinds = "".join(filter(unicodedata.combining, map(chr, range(0x300, 0x1F000))))
    beyond = f"(?<=[{kinds}]{{{MOST_MARKS}}})[{kinds}]+"
    return re.compile(f"[{kinds}]"), re.compile(f"[{kinds}]{{{MOST_MARKS + 1}}}"), re.compile(beyond)


def bound_marks(text: str) -> tuple[str, int]:
    """Take out the marks beyond `MOST_MARKS` in a row, and count them."""
    one, long, beyond = _marks()
    # Of a run that is too long every 31st character of the text meets one; that is a thirtieth of the search.
    if text.isascii() or not one.search(text[:: MOST_MARKS + 1]) or not long.search(text):
        return text, 0
    found = beyond.findall(text)
    return beyond.sub("", text), sum(map(len, found))


def tidy_lines(text: str) -> str:
    """Strip every line and leave out empty ones."""
    return "\n".join(stripped for line in text.split("\n") if (stripped := line.strip()))
