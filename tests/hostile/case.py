"""One hostile input and what it is shown to: a command line, or a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

QUICK = ("--steps", "2", "--seeds", "1", "--workers", "1", "--precision", "fp32")
PRETRAIN = ("--size", "tiny", "--steps", "1", "--length", "32", "--batch", "2")


@dataclass(frozen=True)
class Case:
    """`words` go to the command line, or `call` is called; `make` makes the input first, which is not measured.

    Handled means, where `says` is not None: an error with exit code 2 that holds `says` (a call raises `UnmaskError`).
    Where it is None: success, `check` finds nothing wrong, and the ledger in the folder `out` balances and has a
    reason that begins with `counted`. With `either` both will do.
    """

    input: str
    entry: str
    words: tuple[str, ...] = ()
    call: Callable[[], object] | None = None
    make: Callable[[], object] | None = None
    given: Path | None = None  # standard input
    says: str | None = None
    counted: str = ""
    either: bool = False
    out: Path | None = None
    check: Callable[[], str] | None = None  # what is wrong, or ""
    quick: bool = True
