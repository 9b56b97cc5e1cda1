"""Whether freed memory is kept: the arrays of a pass come and go, and giving theirs back costs faults of pages.

Predicting is a tenth to a quarter faster where it is kept, training is not slower (docs/log.md, 2026-11-27). It acts on
the whole process, so the command line does it and a library call does not. What keeps it holds the most that it
ever needed, so one that shall stay small gives it back from time to time.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_NEVER = 1 << 30  # bytes: no array of ours is as large
REST = 16  # pieces of a build, a megabyte of text each, after which it gives back: seldom, since it is wanted again


def keep_memory() -> bool:
    """Have this process keep freed memory; whether it will. Where a person has set the allocator, nothing is done."""
    own = ("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in own):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(name, _NEVER) for name in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


def give_back() -> None:
    """Return the memory that is free now, of glibc and of Arrow, to the system; a few milliseconds."""
    import pyarrow as pa  # not wanted by every command

    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)
