"""Clean text: one form of Unicode, no control characters, one newline between paragraphs.

A rule a function, each of them pure. What is removed is counted by character; what is only written otherwise
(NFC, newlines, spaces at the ends of lines) is not a loss and is not counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

# Controls but tab and newline, lone surrogates (JSON can hold them), the byte order mark, and non-characters.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def clean(text: str) -> tuple[str, Counter[str]]:
    """The text with all rules applied, and how often which character was removed (`"U+0000"` → count)."""
    text, removed = remove_controls(unify_newlines(text))
    return tidy_lines(unicodedata.normalize("NFC", text)), removed


def unify_newlines(text: str) -> str:
    """Every kind of line or page break becomes `\\n`."""
    return _NEWLINES.sub("\n", text) if _NEWLINES.search(text) else text


def remove_controls(text: str) -> tuple[str, Counter[str]]:
    """Take out control characters, lone surrogates, byte order marks and non-characters."""
    found = _CONTROLS.findall(text)
    if not found:
        return text, Counter()
    return _CONTROLS.sub("", text), Counter(f"U+{ord(character):04X}" for character in found)


def tidy_lines(text: str) -> str:
    """Strip every line and leave out empty ones."""
    return "\n".join(stripped for line in text.split("\n") if (stripped := line.strip()))
