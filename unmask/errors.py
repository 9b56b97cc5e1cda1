"""The one error that a user can meet.

Every message says what was found, what was expected and what to do; the command line prints it and exits
with 2. Anything else that escapes is a defect of the program, and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UnmaskError(Exception):
    """What was found, what was expected, what to do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about a misspelt name: ``' Did you mean "x"?'``, or ``''`` if nothing is near."""
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), candidate)
    found = get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f' Did you mean "{folded[found[0]]}"?' if found else ""
