"""What a person sees while a job runs: a moving bar on a terminal, a plain line every ten seconds elsewhere.

A job calls ``watch(event)`` with a dict. ``{"event": "step", "step", "steps", "seconds", "budget", "loss",
"accuracy", "tokens_per_second", "left"}`` is one look at the training (``steps`` or ``budget``, in seconds, says
how long it is; the other is None, and so is whatever is not known; "text" may say of what);
``{"event": "say", "text"}`` is a sentence.
Everything goes to standard error, results alone to standard output. ``Watch`` is a context manager, so that an
error or a stop leaves the terminal as it was.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from unmask.errors import UnmaskError
from unmask.settings import show_count, show_seconds

LONGEST = 1024 * 1024  # bytes of a line of standard input
EVERY = 10.0  # seconds between two plain lines
# What a label or a file name could do to a terminal: control characters (its own commands among them) and marks that
# turn the direction of what is written.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The text with unseen marks written out as ``\\u202e``, so that data cannot command the terminal."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def ask(what: str) -> None:
    """Say what is waited for, where a person is at the keyboard and would otherwise wonder."""
    if sys.stdin.isatty():
        print(f"{what}; Ctrl-D ends", file=sys.stderr)


def lines(what: str) -> Iterator[str]:
    """The lines of standard input that hold something, one as soon as it is there.

    Raises UnmaskError where they are no UTF-8, or where there is none.
    """
    ask(what)
    empty = True
    for number, raw in enumerate(iter(lambda: sys.stdin.buffer.readline(LONGEST + 1), b""), 1):
        if len(raw) > LONGEST:
            raise UnmaskError(
                f"standard input, line {number} has more than {LONGEST:,} bytes — {what} was expected — divide it"
            )
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UnmaskError(
                f"standard input, line {number} is not UTF-8: byte {error.start} of it is 0x{raw[error.start]:02x} — "
                "convert it first, for example with iconv -f LATIN1 -t UTF-8"
            ) from None
        if line.strip():
            empty = False
            yield line
    if empty:
        raise UnmaskError(f"standard input is empty — {what} was expected — give a text, or pipe one in")


def share(event: dict[str, Any]) -> float | None:
    """How much of the run is over, between 0 and 1; None if neither steps nor budget is known."""
    if event.get("steps"):
        return min(1.0, float(event["step"]) / float(event["steps"]))
    if event.get("budget"):
        return min(1.0, float(event["seconds"]) / float(event["budget"]))
    return None


def facts(event: dict[str, Any]) -> list[str]:
    """What a step event says, in words and with units; unknown values are left out."""
    before = f"{event['text']}, " if event.get("text") else ""
    found = [f"{before}step {event['step']:,}" + (f" of {event['steps']:,}" if event.get("steps") else "")]
    if event.get("loss") is not None:
        found.append(f"loss {event['loss']:.3f}")
    if event.get("accuracy") is not None:
        found.append(f"masked accuracy {100 * event['accuracy']:.1f} %")
    if event.get("tokens_per_second") is not None:
        found.append(f"{show_count(event['tokens_per_second'])} tokens/s")
    if event.get("left") is not None:
        found.append(f"{show_seconds(event['left'])} left")
    return found


class Watch:
    """Shows the events of a job on ``file`` (standard error); ``now`` is the clock, in seconds."""

    def __init__(self, file: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(file=file or sys.stderr, highlight=False, soft_wrap=True, emoji=False)
        self._now = now
        self._printed = -EVERY
        self._bar: Progress | None = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the bar, so that the next line stands below it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "say":
            self.say(event["text"])
        elif event["event"] == "step":
            self._step(event)

    def say(self, text: str) -> None:
        """A sentence; it ends a bar, since it speaks of what comes next."""
        self.close()
        self._console.print(visible(text), markup=False)
        self._printed = -EVERY

    def _step(self, event: dict[str, Any]) -> None:
        done = share(event)
        if self._console.is_terminal:
            self._move(done, event)
        elif self._now() - self._printed >= EVERY or done == 1.0:
            self._printed = self._now()
            percent = "" if done is None else f"{100 * done:3.0f} %  "
            self._console.print(visible(percent + " · ".join(facts(event))), markup=False)

    def _move(self, done: float | None, event: dict[str, Any]) -> None:
        if self._bar is None:
            # The words may be cut short on a narrow terminal; the bar gives way first.
            words = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
            self._bar = Progress(BarColumn(bar_width=16), words, console=self._console, auto_refresh=False)
            self._bar.add_task("", total=None)
            self._bar.start()
        self._bar.update(
            self._bar.task_ids[0],
            total=None if done is None else 1.0,
            completed=done or 0.0,
            description=visible(" · ".join(facts(event))),
            refresh=True,
        )
