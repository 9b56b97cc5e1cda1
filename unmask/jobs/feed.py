"""The feed of a pre-training run: which rows an update reads, made ready in a thread while the one before computes.

Row n is `rows(n)` with the noise of `generator(seed, "noise", n)`; batch b is rows b·batch … (b+1)·batch − 1.
Update s reads batch s, or a later one if the run went back before it (`rollback`).
With several processes each takes every world-th of them: the same rows with the same masks on any number.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, pairwise

import torch

from unmask.batch import collate
from unmask.jobs.rollback import Rollback, batch_of
from unmask.processes import processes
from unmask.randomness import generator
from unmask.recipes import Recipe
from unmask.rows import Rows
from unmask.tokens import Vocab
from unmask.train import Batch


def updates(
    recipe: Recipe,
    rows: Rows,
    vocab: Vocab,
    *,
    batch: int,
    accumulate: int,
    seed: int,
    start: int,
    rollbacks: Sequence[Rollback] = (),
) -> Iterator[list[Batch]]:
    """The micro-batches of each update from number `start` on (0 is the first), for this process."""
    rank, world = (
        processes()
    )  # batch ≥ world · accumulate: every process has as many micro-batches, none empty
    for number in (batch_of(update, rollbacks) for update in count(start + 1)):
        mine = range(number * batch + rank, (number + 1) * batch, world)
        examples = [recipe.example(rows(n), vocab, generator(seed, "noise", n)) for n in mine]
        ends = [len(examples) * k // accumulate for k in range(accumulate + 1)]
        yield [collate(examples[a:b]) for a, b in pairwise(ends)]


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device; `lengths` stays on the host, where the layout is made."""
    if device.type == "cpu":
        return batch
    return {
        k: v if k == "lengths" else v.pin_memory().to(device, non_blocking=True) for k, v in batch.items()
    }


@contextmanager
def ahead(source: Iterator[list[Batch]], depth: int = 3) -> Iterator[Iterator[list[Batch]]]:
    """The same items, made in a thread; what the thread raises is raised here."""
    ready: queue.Queue[list[Batch] | BaseException] = queue.Queue(depth)
    over = threading.Event()

    def put(item: list[Batch] | BaseException) -> None:
        while not over.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in source:
                put(item)
                if over.is_set():
                    return
        except BaseException as error:  # the consumer raises it
            put(error)

    def items() -> Iterator[list[Batch]]:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield items()
    finally:
        over.set()
        thread.join()
