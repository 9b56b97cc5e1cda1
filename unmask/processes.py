"""Several processes as one: what torchrun started, and how they agree.

Everything that decides (the clock, a wish to stop) is decided by the first process and told to the others as one
number, so that no process can take another step than its fellows. Numbers and flat gradients are all that is
exchanged; no objects, so nothing is pickled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """Within it this process is one of the group if torchrun started us; gives (rank, how many).

    Where an error ends it nobody is waited for: the others may be waiting for this one, and torchrun ends them.
    """
    mine = "RANK" in os.environ and "WORLD_SIZE" in os.environ and not dist.is_initialized()
    if mine:
        device()  # the GPU is chosen before the group is made
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield processes()
        if mine:
            dist.barrier()
    finally:
        if mine:
            # A thread of gloo's needs the interpreter to free its last tensors, and aborts the process if that is
            # ending by then (torch 2.13). Nothing tells when it is done; it takes well under a millisecond.
            time.sleep(0.2)
    if mine:
        dist.destroy_process_group()


def processes() -> tuple[int, int]:
    """(rank, how many): (0, 1) when alone."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def device() -> torch.device:
    """This process's GPU, or the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(chosen)
    return chosen


def agreed(value: float) -> float:
    """The first process's value, on all of them."""
    if not dist.is_initialized():
        return value
    tensor = torch.tensor(
        [value], dtype=torch.float64, device=device() if dist.get_backend() == "nccl" else "cpu"
    )
    dist.broadcast(tensor, 0)
    return float(tensor.item())
