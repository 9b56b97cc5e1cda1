"""What this process may use of the machine, and who else uses it: read from the system, nothing is measured.

The processors that count are those that the process may run on (affinity), bounded by the quota of its control
group: a container of 2 processors on a machine of 64 has 2. Where the system does not tell (no Linux), the number of
processors stands for all of it and nobody is seen at work.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
CPUS = Path("/sys/devices/system/cpu")
PROC = Path("/proc")


@dataclass(frozen=True)
class Processors:
    """`allowed` by affinity; `quota` of the control group in processors, None for no bound; `cores` not counting
    the second thread of a core; `usable` is how many threads can really run at once."""

    name: str
    allowed: int
    quota: float | None
    cores: int

    @property
    def usable(self) -> int:
        return max(1, min(self.allowed, int(self.quota + 0.5) if self.quota else self.allowed))


def processors() -> Processors:
    """The processors of this process."""
    allowed = allowed_processors()
    return Processors(_name(), len(allowed), quota(), _cores(allowed))


def allowed_processors() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def quota(root: Path = CGROUP) -> float | None:
    """Processors that the control group may use at a time (version 2, then 1), None for no bound."""
    try:
        most, period = (root / "cpu.max").read_text().split()
        return None if most == "max" else int(most) / int(period)
    except (OSError, ValueError):
        pass
    try:
        most, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(most) / int(period) if int(most) > 0 else None
    except (OSError, ValueError):
        return None


def _cores(allowed: list[int], root: Path = CPUS) -> int:
    groups = set()
    for number in allowed:
        try:
            groups.add((root / f"cpu{number}" / "topology" / "thread_siblings_list").read_text())
        except OSError:
            return len(allowed)
    return len(groups)


def _name() -> str:
    try:
        lines = (PROC / "cpuinfo").read_text().split("\n")
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory() -> int:
    """Bytes of memory that this process may take: of the machine, or what its control group (a container) allows."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_allowed(CGROUP)])


def _allowed(root: Path) -> list[int]:
    """The limits of memory that stand in the control group's own files, of either version (Linux)."""
    found = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        found += [int(text)] if text.isdigit() else []  # "max": no limit
    return found


@dataclass(frozen=True)
class Moment:
    """Seconds of work so far: of the allowed processors, of this process, and of every other one by its number."""

    at: float
    total: float
    own: float
    each: dict[int, float]


@dataclass(frozen=True)
class Others:
    """What other processes took between two moments, in processors, and the busiest of those that can be seen."""

    processors: float
    busiest: str  # "name (process 123, 0.9 processors)", or "" where none is seen


def moment() -> Moment | None:
    """Now; None where the system does not tell."""
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    try:
        lines = (PROC / "stat").read_text().split("\n")
    except OSError:
        return None
    wanted = {f"cpu{number}" for number in allowed_processors()}
    total = 0.0
    for line in lines:
        name, *counts = line.split() or [""]
        if name in wanted:
            user, nice, system, _, _, irq, soft, *_ = map(int, counts)  # neither idle nor waiting nor stolen
            total += (user + nice + system + irq + soft) / tick
    own = sum(os.times()[:4])
    each = {int(entry.name): seconds for entry in PROC.iterdir() if (seconds := _taken(entry, tick)) >= 0}
    return Moment(time.monotonic(), total, own, each)


def _taken(entry: Path, tick: int) -> float:
    """Seconds that a process took; -1 for what is none, and for this one."""
    if not entry.name.isdigit() or int(entry.name) == os.getpid():
        return -1.0
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1.0
    if os.getpid() in (int(fields[1]), int(fields[2])):  # its own children
        return -1.0
    return (int(fields[11]) + int(fields[12])) / tick


def others(before: Moment, after: Moment) -> Others:
    """Who else worked between two moments."""
    seconds = max(after.at - before.at, 1e-9)
    share = max(0.0, (after.total - before.total) - (after.own - before.own)) / seconds
    grown = {n: (taken - before.each.get(n, 0.0)) / seconds for n, taken in after.each.items()}
    busiest = max(grown, key=lambda n: grown[n], default=None)
    if busiest is None or grown[busiest] < 0.05:
        return Others(share, "")
    try:
        name = (PROC / str(busiest) / "comm").read_text().strip()
    except OSError:
        name = "a process that has ended"
    return Others(share, f"{name} (process {busiest}, {grown[busiest]:.1f} processors)")
