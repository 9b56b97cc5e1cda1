"""A lock on a folder: the second process is told, and a kill lets go."""

import subprocess
import sys
from pathlib import Path

import pytest

from unmask.alone import alone
from unmask.errors import UnmaskError

HOLDS = """
import sys, time
from pathlib import Path
from unmask.alone import alone
with alone(Path(sys.argv[1])):
    print("alone", flush=True)
    time.sleep(600)
"""


def test_one_process_works_in_a_folder(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "alone\n"
    with pytest.raises(UnmaskError, match=f"another process works in {tmp_path}"), alone(tmp_path):
        raise AssertionError("let in")
    other.kill()
    other.wait()
    with alone(tmp_path):
        pass
    with alone(tmp_path):  # and again
        pass
