"""What can happen to a run: signals at chosen instants, a disk that fills up, a newest checkpoint that is damaged.

Each mishap begins a sitting with the run's own command, disturbs it, and says what happened; what a person must be
told (that the disk is full, which checkpoint is damaged and which one is taken) is checked on the spot. Full disks are
real where a small file system in memory can be mounted (root on Linux), else a limit on the size of a file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.sittings import Ended, sit

KINDS = ("kill", "in-write", "term", "ctrl-c", "disk", "cut", "flip", "finetune")
SIZE = 96 * 1024 * 1024  # bytes of the small disk


@dataclass(frozen=True)
class Happened:
    """A mishap in words; `wrong` says what should have been otherwise right after it."""

    text: str
    wrong: str = ""


@dataclass(frozen=True)
class Disk:
    """A place whose room can be taken away. `mounted` is False where only the size of files can be limited."""

    folder: Path
    mounted: bool

    @classmethod
    @contextmanager
    def made(cls) -> Iterator[Disk]:
        with tempfile.TemporaryDirectory(prefix="unmask-disk-") as name:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", name]
            try:
                mounted = subprocess.run(mount, capture_output=True).returncode == 0
            except OSError:
                mounted = False
            try:
                yield cls(Path(name), mounted)
            finally:
                if mounted:
                    subprocess.run(["umount", name], check=True, capture_output=True)

    @property
    def words(self) -> str:
        return (
            f"a tmpfs of {SIZE:,} bytes"
            if self.mounted
            else "a limit on the size of files (nothing to mount here)"
        )

    def leave(self, room: int) -> None:
        """Fill it up to `room` bytes."""
        state = os.statvfs(self.folder)
        with open(self.folder / "ballast", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, state.f_bavail * state.f_frsize - room))

    def empty(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)


def checkpoints(out: Path) -> list[Path]:
    return sorted((out / "checkpoints").glob("step-*"))


def happen(
    kind: str, words: Sequence[str], out: Path, log: Path, took: float, rng: np.random.Generator, disk: Disk
) -> Happened | Ended:
    """Let it happen to the run in `out` within the seconds an undisturbed one `took`; its end if that came first."""
    if kind == "disk":
        return full(words, out, log, rng, disk)
    number = {"term": signal.SIGTERM, "ctrl-c": signal.SIGINT}.get(kind, signal.SIGKILL)
    after = float(rng.uniform(0, took))
    began = time.perf_counter()
    sitting = sit(words, log)

    def ripe() -> bool:
        if time.perf_counter() - began < after:
            return False
        return kind not in ("cut", "flip") or bool(checkpoints(out))

    sitting.wait(ripe)
    if kind == "in-write":
        sitting.wait(lambda: any((out / "checkpoints").glob(".step-*.part")))
        time.sleep(float(rng.uniform(0, 0.01)))
    sitting.send(number)
    ended = sitting.end()
    if ended.code == 0:
        return ended
    newest = checkpoints(out)[-1].name if checkpoints(out) else "none"
    text = f"{kind:8s} {signal.Signals(number).name} after {ended.seconds:.3f} s, newest checkpoint {newest}"
    wrong = "" if ended.code == -number else f"it ended with {ended.code}: {ended.said[-300:]}"
    if kind == "in-write":
        half = any((out / "checkpoints").glob(".step-*.part"))
        text += ", one half written" if half else ", one just written"
    if (
        number != signal.SIGKILL
        and ended.code == 130
        and "stopped" in ended.said
        and "Traceback" not in ended.said
    ):
        wrong = ""
    if kind in ("cut", "flip") and not wrong:
        what, wrong = damage(kind, words, out, log, rng)
        text += what
    return Happened(text, wrong)


def damage(
    kind: str, words: Sequence[str], out: Path, log: Path, rng: np.random.Generator
) -> tuple[str, str]:
    """Cut or flip a file of the newest checkpoint; (what was done, what was not said as it should be)."""
    newest = checkpoints(out)[-1]
    file = sorted(newest.iterdir())[int(rng.integers(len(list(newest.iterdir()))))]
    content = bytearray(file.read_bytes())
    at = int(rng.integers(len(content)))
    if kind == "cut":
        file.write_bytes(content[:at])
    else:
        content[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
    before = [int(p.name.removeprefix("step-")) for p in checkpoints(out)[:-1]]
    expected = f"going on from step {before[-1]}\n" if before else "beginning anew"
    sitting = sit(words, log)
    sitting.wait(lambda: bool(re.search(r"going on from|beginning anew", log.read_text(errors="replace"))))
    sitting.send(signal.SIGKILL)
    said = sitting.end().said
    good = f"{newest.name} is damaged" in said and expected in said
    how = "cut at byte" if kind == "cut" else "a bit flipped in byte"
    return f", {file.name} {how} {at}, took {expected.strip().removeprefix('going on from ')}", (
        "" if good else f"that was not said: {said[-300:]}"
    )


def full(
    words: Sequence[str], out: Path, log: Path, rng: np.random.Generator, disk: Disk
) -> Happened | Ended:
    """A sitting on a disk with little room left; then room is made."""
    there = checkpoints(out)
    size = max((sum(f.stat().st_size for f in p.iterdir()) for p in there), default=6_000_000)
    room = int(rng.uniform(0, 1 if len(there) > 1 else 3) * size)
    if disk.mounted:
        disk.leave(room)
        ended = sit(words, log).end()
        disk.empty()
    else:
        room = int(rng.uniform(1000, 0.6 * size))  # the moments are two thirds of a checkpoint
        ended = sit(words, log, largest=room).end()
    if ended.code == 0:
        return ended
    left = checkpoints(out)
    newest = left[-1].name if left else "none"
    return Happened(f"disk     full with room for {room:,} bytes, newest checkpoint {newest}", told(ended))


def told(ended: Ended) -> str:
    """What is wrong with how a full disk was told; "" if nothing is."""
    said = ended.said
    words = ("No space left", "File too large", "os error 28", "os error 27")
    good = ended.code == 2 and "Traceback" not in said and any(w in said for w in words) and "room" in said
    return "" if good else f"a full disk ended with {ended.code}: {said[-400:]}"
