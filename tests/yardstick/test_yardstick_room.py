"""The room of the yardstick: importing it costs no torch, so that the help of its verbs does not either."""

from __future__ import annotations

import subprocess
import sys


def test_the_room_imports_no_torch() -> None:
    code = "import sys, unmask.yardstick; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
