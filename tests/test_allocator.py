"""Freed memory is kept where nobody has set the allocator otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import resource
from unmask.allocator import keep_memory
import numpy as np
print(keep_memory())
np.ones(3_000_000)  # 24 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(3_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.confstr("CS_GNU_LIBC_VERSION") is None, reason="no glibc here"
)
def test_freed_memory_is_kept() -> None:
    found = {}
    for name, more in (("kept", {}), ("own", {"MALLOC_MMAP_THRESHOLD_": "100000"})):
        plain = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and not k.startswith("MALLOC_")}
        done = subprocess.run(
            [sys.executable, "-c", CODE], env={**plain, **more}, capture_output=True, text=True, check=True
        )
        kept, faults = done.stdout.split()
        found[name] = kept, int(faults)
    assert found["kept"][0] == "True" and found["own"][0] == "False"
    assert found["kept"][1] * 10 < found["own"][1]  # 20 arrays of 5,900 pages
