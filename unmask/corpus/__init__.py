"""From files to clean documents.

`readers.py` opens what a user has, `clean.py`, `dedup.py` and `exclude.py` take out what should not be there,
`sentences.py` and `words.py` find sentences and words, and `ledger.py` counts all of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A text of one piece: its paragraphs or lines are separated by one newline."""

    text: str
    id: str
    source: str
