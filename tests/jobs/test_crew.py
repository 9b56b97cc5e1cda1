"""Workers: what they print beside their events is passed over, and one that is gone is waited for no longer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unmask.errors import UnmaskError
from unmask.jobs.crew import beside

WORKER = """
import json, os, signal, sys
for line in sys.stdin:
    job = json.loads(line)
    print("a library says something")
    print(json.dumps({"event": "said", "of": job["n"]}), flush=True)
    if job["n"] == 3:
        sys.stdout.write('{"event": "jo')
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    print(json.dumps({"event": "job"}), flush=True)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "worker_of_a_test.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return "worker_of_a_test"


def test_what_is_no_event_is_passed_over(module: str) -> None:
    found = list(beside(module, [{"n": n} for n in range(3)], 2, 1))
    assert sorted(event["of"] for event in found if event["event"] == "said") == [0, 1, 2]


def test_a_worker_that_is_killed_in_a_line_is_told(module: str) -> None:
    with pytest.raises(UnmaskError, match="ended from outside .signal 9"):
        list(beside(module, [{"n": 3}], 1, 1))
