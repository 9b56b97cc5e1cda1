"""Every hostile input × every entry point that would meet it: `python -m benchmarks.robustness [--quick]`.

Each runs in a child process of its own (forked after the imports), bounded in memory and time. Handled is: a sentence
and exit code 2 without a traceback, or success with what was lost counted in a ledger that balances, or success with
nothing to be said; which of them is stated with the input (`tests/hostile/make.py`). All else is a failure: crashed
(a traceback, a signal, another exit code, a wrong message), hung, or over memory. The last line is
`handled X of Y`, and the exit code is 0 if X equals Y.

Peak memory is what the child's resident set grows by while the input is handled (its high-water mark, after it was
reset); seconds are of the processor, so that a busy machine changes little.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "hostile"))

from case import Case

MEMORY = 1024  # MiB that handling any input may take
SECONDS = 60  # of the processor, and more for files of many megabytes: `_seconds`
_WALL = 900  # seconds after which a child that waits for something is ended
_ADDRESSES = 6 << 30  # bytes of address space beyond what is there: what spares the machine
_LINE = 64 << 20  # bytes of the longest lines in a quick run; else a gigabyte


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    case: Case
    verdict: str  # handled crashed hung memory
    why: str
    memory: float  # MiB
    seconds: float


def main() -> int:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a part of the cases, in less than a minute")
    parser.add_argument("--only", default="", help="inputs or entry points whose name holds this text")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the library warns of forks otherwise
    os.environ["RUST_BACKTRACE"] = "0"
    import make

    _import_all()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        _prepare(home, _LINE if chosen.quick else make.GIB)
        print(f"{time.monotonic() - began:.0f} s to make the files", file=sys.stderr)
        cases = [case for case in make.cases(home) if case.quick or not chosen.quick]
        cases = [case for case in cases if chosen.only in f"{case.input} {case.entry}"]
        results = _run_all(cases, home)
    return _table(results, time.monotonic() - began)


def _import_all() -> None:
    """Whatever the entry points import, so that a child starts with it."""
    import unmask.commands
    import unmask.jobs.fill
    import unmask.jobs.finetune
    import unmask.jobs.predict
    import unmask.jobs.pretrain
    import unmask.machine.sample
    import unmask.report.page  # noqa: F401  # all of these are for the children, which are forked


def _prepare(home: Path, size: int) -> None:
    """Make the files in a child: threads that its libraries start must not be there when others are forked."""
    import make

    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException), open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
            make.make(home, size)
            code = 0
        os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("the hostile files could not be made")


def _run_all(cases: list[Case], home: Path) -> list[Result]:
    """As many children at a time as there are processors."""
    todo, results = list(enumerate(cases)), []
    running: dict[int, tuple[int, Case, float]] = {}
    width = len(os.sched_getaffinity(0))
    while todo or running:
        while todo and len(running) < width:
            number, case = todo.pop(0)
            running[_start(case, home / f"case-{number}")] = (number, case, time.monotonic())
        for child, (number, case, began) in list(running.items()):
            done, status, usage = os.wait4(child, os.WNOHANG)
            if not done and time.monotonic() - began > _WALL:
                os.kill(child, signal.SIGKILL)
                done, status, usage = os.wait4(child, 0)
            if done:
                del running[child]
                results.append(_judge(case, home / f"case-{number}", status, usage))
                if results[-1].verdict != "handled":
                    print(_failed(results[-1]), file=sys.stderr, flush=True)
        time.sleep(0.005)
    return results


def _start(case: Case, notes: Path) -> int:
    """A child that makes the input, bounds itself, handles it, and notes how it went."""
    child = os.fork()
    if child:
        return child
    code, error, before = 70, "", 0.0
    try:
        for number, mode in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{notes}.{mode}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(case.given or os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(n, mode, errors="backslashreplace") for n, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        if case.make is not None:
            case.make()
            sys.stdout.flush()
            sys.stderr.flush()
            for number in (1, 2):  # what making it printed is gone, and writing begins at the start again
                os.ftruncate(number, 0)
                os.lseek(number, 0, os.SEEK_SET)
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        before = _status("VmRSS")
        limit = int(_status("VmSize") * 2**20) + _ADDRESSES
        if case.words[:1] != ("report",):  # its engine of figures reserves addresses that it never uses
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        used = int(time.process_time())
        most = used + _seconds(case)
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 5))
        spent = time.process_time()
        code, error = _handle(case)
        spent = time.process_time() - spent
        peak = _status("VmHWM") - before
        sys.stdout.flush()
        sys.stderr.flush()
        Path(f"{notes}.json").write_text(
            json.dumps({"code": code, "error": error, "memory": peak, "seconds": spent})
        )
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(0)


def _seconds(case: Case) -> int:
    """What the input may take: a minute, and a quarter of a second for each MiB of its files (up to a gigabyte)."""
    files = [Path(word) for word in case.words if len(word) < 1000 and os.path.isfile(word)]
    return SECONDS + sum(min(file.stat().st_size, 1 << 30) for file in files) // (4 << 20)


def _handle(case: Case) -> tuple[int, str]:
    """(exit code, the error's words)"""
    from unmask.__main__ import main as command_line
    from unmask.errors import UnmaskError

    if case.call is None:
        return command_line(case.words), ""
    try:
        case.call()
    except UnmaskError as error:
        return 2, str(error)
    return 0, ""


def _status(name: str) -> float:
    """A size of this process, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _judge(case: Case, notes: Path, status: int, usage: resource.struct_rusage) -> Result:
    said = Path(f"{notes}.err").read_text(errors="replace") if Path(f"{notes}.err").exists() else ""
    last = said.strip().splitlines()[-1] if said.strip() else ""
    told = json.loads(Path(f"{notes}.json").read_text()) if Path(f"{notes}.json").exists() else None
    for file in notes.parent.glob(f"{notes.name}.*"):
        file.unlink()
    if told is None:
        ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        hung = ended in (signal.SIGXCPU, signal.SIGKILL)
        why = f"signal {ended}" if ended else last
        verdict = "hung" if hung else "memory" if "MemoryError" in said else "crashed"
        return Result(case, verdict, why, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
    why = _wrong(case, told["code"], said, told["error"] or last)
    verdict = "crashed" if why else "memory" if told["memory"] > MEMORY else "handled"
    return Result(case, verdict, why, told["memory"], told["seconds"])


def _wrong(case: Case, code: int, said: str, message: str) -> str:
    """What is wrong with how a case ended, or ""."""
    if "Traceback" in said:
        return "a traceback: " + message
    if code == 2:
        if case.says is None and not case.either:
            return "refused: " + message
        if case.call is None and not message.startswith("unmask: "):
            return "no sentence at the end: " + message
        return "" if (case.says or "") in message else f'"{case.says}" was expected: {message}'
    if code != 0:
        return f"exit code {code}: {message}"
    if case.says is not None and not case.either:
        return "taken for good"
    if case.counted or case.out is not None:
        return _ledger(case)
    return case.check() if case.check is not None else ""


def _failed(result: Result) -> str:
    return f"{result.verdict}: {result.case.input} × {result.case.entry}: {result.why[:600]}"


def _ledger(case: Case) -> str:
    """Whether the ledger balances and has the reason that was expected."""
    from unmask.corpus.ledger import Ledger, LedgerError

    assert case.out is not None
    try:
        ledger = Ledger.from_json(json.loads((case.out / "ledger.json").read_text()))
    except (OSError, LedgerError) as error:
        return f"its ledger: {error}"
    reasons = [
        reason for stage in ledger.stages.values() for told in stage.counts.values() for reason in told
    ]
    found = not case.counted or any(reason.startswith(case.counted) for reason in reasons)
    return "" if found else f'"{case.counted}" is not in the ledger: {"; ".join(ledger.lines())}'


def _table(results: list[Result], seconds: float) -> int:
    """Print what each input took at most, what failed, and the sum."""
    by_input: dict[str, list[Result]] = {}
    for result in results:
        by_input.setdefault(result.case.input, []).append(result)
    print(f"{'input':58} {'handled':>9} {'peak MiB':>9} {'seconds':>8}")
    for name, held in by_input.items():
        good = sum(result.verdict == "handled" for result in held)
        shown = name if len(name) <= 58 else name[:57] + "…"
        peak, took = max(result.memory for result in held), max(result.seconds for result in held)
        print(f"{shown:58} {f'{good} of {len(held)}':>9} {peak:9.0f} {took:8.1f}")
    for result in results:
        if result.verdict != "handled":
            print(_failed(result))
    counts = Counter(result.verdict for result in results)
    print(
        f"tried {len(results)} ({len(by_input)} inputs): handled {counts['handled']}, crashed {counts['crashed']}, hung"
        f" {counts['hung']}, over memory {counts['memory']}; bounds {MEMORY} MiB and {SECONDS} s each"
    )
    if not results:
        print("no case has such a name")
        return 1
    peak, took = max(result.memory for result in results), max(result.seconds for result in results)
    print(f"peak {peak:.0f} MiB, longest {took:.1f} s; {seconds:.0f} s in all")
    print(f"handled {counts['handled']} of {len(results)}")
    return int(counts["handled"] != len(results))


if __name__ == "__main__":
    sys.exit(main())
