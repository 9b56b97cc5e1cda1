"""Workers: processes that each take the next job as soon as they are done, so that no core waits for another's list.

A worker is a module of this package that is run with `python -m`. What it is told and what it answers are JSON lines on
its standard input and output: a job a line, events back, the one named `over` at the end of each job. No object
crosses between processes, and nothing is pickled.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError

Event = dict[str, Any]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def beside(
    module: str,
    jobs: Sequence[Event],
    workers: int,
    threads: int,
    *,
    first: Event | None = None,
    over: str = "job",
) -> Iterator[Event]:
    """Do the jobs in `workers` processes of `threads` threads and yield their events as they come.

    Each worker is told `first` once, before its first job. Raises UnmaskError for an event "error", with its text, and
    for a worker that a signal ended; RuntimeError for one that failed otherwise. All are ended with the iterator.
    """
    events: queue.Queue[Event | None] = queue.Queue()
    waiting: queue.SimpleQueue[Event] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    package = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": str(threads)}
    started: list[subprocess.Popen[str]] = []

    def feed(worker: subprocess.Popen[str]) -> None:
        """Give a worker a job after another, and pass on what it says."""
        assert worker.stdin is not None and worker.stdout is not None
        told = [] if first is None else [first]
        try:
            while True:
                try:
                    told.append(waiting.get_nowait())
                except queue.Empty:
                    break
                worker.stdin.write("".join(json.dumps(line) + "\n" for line in told))
                worker.stdin.flush()
                told = []
                for line in worker.stdout:
                    event = _event(line)
                    if event is None:  # what a library printed, or a line that a kill cut short
                        continue
                    events.put(event)
                    if event["event"] in (over, "error"):
                        break
                else:
                    break  # it ended; its code tells why
            worker.stdin.close()
        except BrokenPipeError:
            pass
        finally:
            events.put(None)

    try:
        for _ in range(min(workers, len(jobs))):
            worker = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                errors="replace", env=environment,
            )  # fmt: skip
            started.append(worker)
            threading.Thread(target=feed, args=(worker,), daemon=True).start()
        left = len(started)
        while left:
            event = events.get()
            if event is None:
                left -= 1
            elif event["event"] == "error":
                raise UnmaskError(event["text"])
            else:
                yield event
        codes = [worker.wait() for worker in started]
        if any(code < 0 for code in codes):  # a signal: the system took it, most often for its memory
            raise UnmaskError(
                f"a process that trained was ended from outside (signal {-min(codes)}) — memory may be short — try "
                "--workers 1, or a smaller --batch"
            )
        if any(codes):
            raise RuntimeError(f"a worker ended with {max(codes)}; its traceback stands above")
    finally:
        for worker in started:
            if worker.poll() is None:
                worker.terminate()
            worker.wait()


def _event(line: str) -> Event | None:
    """A line of a worker as an event; None for what is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def emit(event: Event) -> None:
    """What a worker says: one event as a line. Where nobody hears it any more, the worker ends without a word."""
    try:
        print(json.dumps(event), flush=True)
    except BrokenPipeError:
        os._exit(1)
