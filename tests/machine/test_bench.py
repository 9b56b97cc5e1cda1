"""A bench: what is read from the system, what advice follows, and a short real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unmask.errors import UnmaskError
from unmask.machine import bench as room
from unmask.machine import environment
from unmask.machine.bench import Bench, Speed, advice, bench, speed
from unmask.machine.environment import Moment, Others, Processors, memory, moment, others, quota
from unmask.machine.limits import words
from unmask.machine.rates import Rate, best, matrix_rates, threads
from unmask.machine.timing import Timing
from unmask.settings import to_json

CPU = Processors("a processor", allowed=8, quota=None, cores=4)


def test_the_quota_of_a_container(tmp_path: Path) -> None:
    assert quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert quota(tmp_path) is None
    old = tmp_path / "old"
    (old / "cpu").mkdir(parents=True)
    (old / "cpu" / "cpu.cfs_quota_us").write_text("400000\n")
    (old / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert quota(old) == 4.0
    (old / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert quota(old) is None


def test_the_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.machine.environment.CGROUP", tmp_path)
    whole = memory()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory() == whole > 1 << 20
    (tmp_path / "memory.max").write_text("1048576\n")
    assert memory() == 1 << 20
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("2097152\n")
    assert memory() == 2 << 20


def test_usable_processors() -> None:
    assert CPU.usable == 8
    assert Processors("", 8, 2.0, 8).usable == 2
    assert Processors("", 8, 0.3, 8).usable == 1
    assert Processors("", 2, 16.0, 2).usable == 2


def test_cores_are_not_counted_twice(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 2},{number % 2 + 2}\n")
    assert environment._cores([0, 1, 2, 3], tmp_path) == 2
    assert environment._cores([0, 1, 9], tmp_path) == 3  # the system does not tell


def test_others_are_what_is_not_ours() -> None:
    before = Moment(10.0, total=100.0, own=50.0, each={1: 5.0, 2: 7.0})
    after = Moment(20.0, total=118.0, own=55.0, each={1: 5.1, 2: 20.0})
    found = others(before, after)
    assert found.processors == pytest.approx(1.3)
    assert "process 2, 1.3 processors" in found.busiest
    assert others(before, before) == Others(0.0, "")


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="the system does not tell")
def test_a_busy_neighbour_is_seen() -> None:
    before = moment()
    code = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.5: pass"
    neighbour = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        neighbour.wait(timeout=60)
    finally:
        neighbour.kill()
    after = moment()
    assert before and after
    # A child that was waited for counts as ours: what others did is the rest.
    assert after.own - before.own >= 0.4
    assert after.total > before.total


def test_advice_names_the_remedy() -> None:
    calm = Others(0.01, "")
    assert advice(CPU, 8, {"4": 100.0, "8": 102.0}, True, 1.01, calm) == []
    (line,) = advice(CPU, 1, {"1": 50.0, "4": 190.0, "8": 150.0}, True, None, None)
    assert (
        line.startswith("1 thread on 8")
        and "3.80 times" in line
        and line.endswith("export OMP_NUM_THREADS=4")
    )
    (line,) = advice(CPU, 8, {"8": 1.0}, True, 1.5, calm)
    assert "1.50 times" in line and f"export GLIBC_TUNABLES={room.TUNED}" in line
    (line,) = advice(CPU, 8, {}, True, None, Others(1.3, "sort (process 7, 0.9 processors)"))
    assert "1.3 processors" in line and "sort (process 7" in line
    (line,) = advice(CPU, 8, {}, False, None, None)
    assert "does not multiply bf16" in line


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError
    assert torch.get_num_threads() == before


def test_a_rate_counts_multiplications_and_additions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.machine.rates._repeat", lambda work, device, seconds: (work(), 0.5)[1])
    (rate,) = matrix_rates(torch.device("cpu"), "fp32", 1.0, ((10, 20, 30),))
    assert rate == Rate("fp32", 10, 20, 30, 2 * 10 * 20 * 30 / 0.5)
    assert best([rate, Rate("fp32", 1, 1, 1, 7.0)]) == rate.operations


def test_a_speed_is_the_median_step() -> None:
    timing = Timing("mini", 5_000_000, 1, 16, 16, 128, (0.1, 0.2, 0.9), 2000.0, 0, flops=4e9)
    assert speed(timing, 1e11) == Speed("mini", 5_000_000, 10_000.0, 2e6, pytest.approx(0.2), 3)


def test_words_of_a_bench() -> None:
    sizes = (Speed("tiny", 10**6, 5000.0, 2e6, 0.5, 20), Speed("mini", 10**7, 800.0, 2e7, 0.5, 0))
    rates = (Rate("fp32", 512, 512, 512, 9e10),)
    found = Bench(
        CPU, "a processor", 8, "fp32", False, rates, 2e10, {"8": 9e10}, "bert", 128, sizes, None, None, ("slow — do",)
    )  # fmt: skip
    told = words(found)
    assert "~ 800" in told and "50%" in told and "! slow — do" in told and "90 GFLOP/s" in told
    assert json.loads(json.dumps(to_json(found)))["sizes"][1]["timed"] == 0


def test_a_short_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TEXT", 60_000)
    monkeypatch.setattr("unmask.machine.rates.COPIED", 1_000_000)
    monkeypatch.setattr("unmask.machine.bench.SIZES", {name: room.SIZES[name] for name in ("tiny", "base")})
    monkeypatch.setenv("GLIBC_TUNABLES", os.environ.get("GLIBC_TUNABLES", ""))  # no other process is started
    found = bench(seconds=0.5)
    tiny, base = found.sizes
    assert tiny.timed >= 3 and 0 < tiny.share < 1 and tiny.tokens_per_second > 0
    assert base.timed == 0 and base.share == tiny.share
    limit = best([rate for rate in found.rates if rate.precision == found.precision])
    assert base.tokens_per_second * base.operations_per_token == pytest.approx(limit * tiny.share)
    assert found.allocator is None and "~ " in words(found)


def test_mistakes_are_sentences() -> None:
    with pytest.raises(UnmaskError, match='Did you mean "bert"'):
        bench("brt")
    with pytest.raises(UnmaskError, match="seconds is 0"):
        bench(seconds=0)
