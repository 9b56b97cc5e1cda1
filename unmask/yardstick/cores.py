"""Work over the cores of a processor: a thread a core, each with batches of its own and one thread for each operation.

For small models this beats sharing every operation among the cores: nothing waits for the slowest thread of each.
PyTorch lets go of Python's lock while it computes. On a GPU the work is done in turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from unmask.jobs.crew import cores

T = TypeVar("T")
AHEAD = 64  # pieces of work that are given out before their results are taken


def over_cores(work: Iterable[Callable[[], T]], device: torch.device) -> Iterator[T]:
    """The results in the order of the work; a worker's error is raised here."""
    if device.type != "cpu":
        for piece in work:
            yield piece()
        return
    before = torch.get_num_threads()  # OMP_NUM_THREADS bounds the whole
    workers = max(1, min(cores(), before))
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for piece in work:
                waiting.append(pool.submit(piece))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)
