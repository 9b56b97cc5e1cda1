"""Sittings of a run: `unmask` in a process of its own, made by a fork, so that torch is imported once for all.

The child calls the ordinary `main` of the command line with the words a person would type; nothing of it is
replaced. The parent computes nothing with torch (a fork would then lack its threads); what the first sitting
imported along the way the parent imports too, since most of a short sitting would be that.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOTS = (
    "torch",
    "unmask",
    "cyclopts",
    "rich",
    "numpy",
    "safetensors",
    "tokenizers",
    "pyarrow",
)  # imported for all
READY = 2e-4  # seconds between two looks at a child


@dataclass(frozen=True)
class Ended:
    """How a sitting ended. code: the exit code, or minus the signal that ended it; `said`: its standard error."""

    code: int
    seconds: float
    said: str


@dataclass
class Sitting:
    """A sitting that runs."""

    pid: int
    log: Path
    began: float
    code: int | None = None
    seconds: float = 0.0

    def over(self) -> bool:
        """Whether it has ended by now."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code, self.seconds = os.waitstatus_to_exitcode(status), time.perf_counter() - self.began
        return self.code is not None

    def wait(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait for its end, or for what `until` asks; whether it has ended."""
        while not self.over() and not until():
            time.sleep(READY)
        return self.code is not None

    def send(self, number: int) -> None:
        """Send a signal, if there is somebody left to get it."""
        if not self.over():
            os.kill(self.pid, number)

    def end(self) -> Ended:
        self.wait()
        assert self.code is not None
        return Ended(self.code, self.seconds, self.log.read_text(encoding="utf-8", errors="replace"))


def sit(words: Sequence[str], log: Path, *, largest: int | None = None, note: Path | None = None) -> Sitting:
    """Begin `unmask WORDS`. `largest` bounds the bytes of a file it writes; `note` gets the names of its modules."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = open(
        log, "w", encoding="utf-8"
    )  # here: whoever looks at it must not read what the last sitting said
    began = time.perf_counter()
    pid = os.fork()
    if pid:
        file.close()
        return Sitting(pid, log, began)
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        file.close()
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        from unmask.__main__ import main

        sys.argv = ["unmask", *words]
        code = main(list(words))
        if note is not None:
            note.write_text("\n".join(sorted(sys.modules)), encoding="utf-8")
    except BaseException:  # a child must never come back into the parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def import_as(note: Path) -> None:
    """Import what an earlier sitting imported, so that the next ones need not."""
    for name in note.read_text(encoding="utf-8").split():
        if name.split(".")[0] in ROOTS:
            try:
                importlib.import_module(name)
            except ImportError:  # a name that is no module of its own, such as torch.ops
                continue
