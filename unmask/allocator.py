"""glibc keeps what is freed: the arrays of a pass come and go, and giving their memory back costs faults of pages.

Predicting is a tenth to a quarter faster so, training is not slower (docs/log.md, 2026-11-27). It acts on the whole
process, so the command line does it and a library call does not.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_NEVER = 1 << 30  # bytes: no array of ours is as large


def keep_memory() -> bool:
    """Have this process keep freed memory; whether it will. Where a person has set the allocator, nothing is done."""
    own = ("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in own):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(name, _NEVER) for name in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
