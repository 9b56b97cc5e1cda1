"""What this machine reaches, within a minute: its own limits, the training beside them, and what costs speed.

The limits are measured (`rates.py`), the training is `pretrain`'s own step on shipped text (`timing.py`), and the
share of the limit counts only operations that are done (`flops.py`). Sizes are timed from the smallest up while the
time lasts; the speed of the rest follows from the share that the largest timed size reached, and is marked. Advice is
given where a setting was measured to cost speed, never from a rule alone.

Run as a module this file times one size and prints its tokens a second: so the steps are compared under another
setting of the allocator, which only a new process can have.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import torch

from unmask.allocator import keep_memory
from unmask.data import english
from unmask.errors import UnmaskError, nearest
from unmask.jobs.feed import updates
from unmask.machine.environment import Others, Processors, memory, moment, others, processors
from unmask.machine.plan import STATE
from unmask.machine.rates import Rate, bandwidth, best, matrix_rates, threads
from unmask.machine.timing import LEAST, ROWS, WARM, Timing, count, time_steps, work
from unmask.models import SIZES
from unmask.processes import device
from unmask.recipes import RECIPES, Recipe
from unmask.store import Store
from unmask.store.build import build
from unmask.train import working_precision

#: glibc: large pages, and memory that is given back is kept for the next step
TUNED = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967295:glibc.malloc.trim_threshold=4294967295"
SECONDS = 50.0
TEXT = 1_000_000  # characters of the shipped text
WORTH = 1.07  # a setting that gains less is not worth a line
BUSY = 0.1  # processors that others may take unnoticed
PROBE = (1024, 1024, 1024)
ALLOCATOR_SIZE = "mini"


@dataclass(frozen=True)
class Speed:
    """One size. `share` of the matrix rate; `timed` steps, 0 where it follows from the largest size timed."""

    size: str
    parameters: int
    tokens_per_second: float
    operations_per_token: float
    share: float
    timed: int


@dataclass(frozen=True)
class Bench:
    """What `bench` found. `allocator`: how many times faster steps are with `TUNED`, None where it was not tried."""

    processors: Processors
    device: str
    threads: int
    precision: str
    native_bf16: bool
    rates: tuple[Rate, ...]
    bandwidth: float
    by_threads: dict[str, float]
    recipe: str
    length: int
    sizes: tuple[Speed, ...]
    allocator: float | None
    others: Others | None
    warnings: tuple[str, ...]


def bench(
    recipe: str = "bert", *, seconds: float = SECONDS, say: Callable[[str], None] = lambda line: None
) -> Bench:
    """Measure this machine in about `seconds`. Raises `UnmaskError` for an unknown recipe or no time."""
    if recipe not in RECIPES:
        raise UnmaskError(
            f'recipe "{recipe}" — one of {", ".join(RECIPES)} was expected.{nearest(recipe, RECIPES)}'
        )
    if not seconds > 0:
        raise UnmaskError(f"seconds is {seconds} — more than 0 is needed — give more, such as 50")
    until = time.monotonic() + seconds
    before, where, cpu = moment(), device(), processors()
    native = working_precision("auto", where) is torch.bfloat16
    precision = "bf16" if native else "fp32"
    say("measuring matrix products and memory")
    rates = [
        rate for name in ("fp32", *["bf16"] * native) for rate in matrix_rates(where, name, seconds / 12)
    ]
    moved = bandwidth(where, seconds / 50)
    limit = best([rate for rate in rates if rate.precision == precision])
    by_threads = {} if where.type == "cuda" else _by_threads(cpu, precision, seconds / 60)
    chosen = RECIPES[recipe]()
    with tempfile.TemporaryDirectory(prefix="unmask-bench-") as aside:
        say("a small corpus of the shipped text")
        store = _corpus(Path(aside))
        gain = None
        if where.type == "cpu" and platform.libc_ver()[0] == "glibc" and not _allocator_is_set():
            say("comparing settings of the allocator")
            gain = _allocator_gain(store, recipe, seconds)
        sizes = _sizes(chosen, store, limit, until, where, say)
    after = moment()
    found = others(before, after) if before and after else None
    return Bench(
        processors=cpu,
        device=torch.cuda.get_device_name() if where.type == "cuda" else cpu.name,
        threads=torch.get_num_threads(),
        precision=precision,
        native_bf16=native,
        rates=tuple(rates),
        bandwidth=moved,
        by_threads=by_threads,
        recipe=recipe,
        length=int(chosen.training("mini")["length"]),
        sizes=tuple(sizes),
        allocator=gain,
        others=found,
        warnings=tuple(advice(cpu, torch.get_num_threads(), by_threads, native, gain, found)),
    )


def advice(
    cpu: Processors,
    used: int,
    by_threads: dict[str, float],
    native: bool,
    allocator: float | None,
    found: Others | None,
) -> list[str]:
    """What costs speed and how to mend it; `by_threads` holds the matrix rate for numbers of threads."""
    told = []
    if by_threads:
        better = max(by_threads, key=lambda number: by_threads[number])
        gain = by_threads[better] / by_threads[str(used)]
        if gain > WORTH:
            told.append(
                f"{used} thread{'s' * (used != 1)} on {cpu.usable:,} usable processors: with {better} the matrix rate "
                f"is {gain:.2f} times as high — export OMP_NUM_THREADS={better}"
            )
    if allocator is not None and allocator > WORTH:
        told.append(
            f"the allocator gives memory back and asks for it again: without that steps are {allocator:.2f} times as "
            f"fast — export GLIBC_TUNABLES={TUNED}"
        )
    if found is not None and found.processors > BUSY:
        most = f", most of it {found.busiest}" if found.busiest else ""
        told.append(
            f"other processes took {found.processors:.1f} processors meanwhile{most}: every number here is too low — "
            "end them, or wait, and measure again"
        )
    if not native:
        told.append(
            "this processor does not multiply bf16: training is in fp32, at about half the speed — no setting helps; "
            "processors with AVX-512 BF16 or AMX do (AMD from Zen 4, Intel Xeon from Sapphire Rapids), and GPUs"
        )
    return told


def _by_threads(cpu: Processors, precision: str, seconds: float) -> dict[str, float]:
    """The rate of one product for the number of threads in use, and for those that would be usual."""
    found = {}
    for number in sorted({torch.get_num_threads(), cpu.usable, min(cpu.cores, cpu.usable)}):
        with threads(number):
            rate = matrix_rates(torch.device("cpu"), precision, max(seconds, 0.02), (PROBE,))
        found[str(number)] = best(rate)
    return found


def _corpus(aside: Path) -> Store:
    documents, size = [], 0
    for document in english.documents(0):
        documents.append(document)
        size += len(document.text)
        if size >= TEXT:
            break
    return build(documents=documents, out=aside / "corpus", vocab_size=8192, processes=1)


def _sizes(
    recipe: Recipe, store: Store, limit: float, until: float, where: torch.device, say: Callable[[str], None]
) -> list[Speed]:
    """Every size, timed while the time lasts."""
    vocab, length = store.tokenizer.vocab, int(recipe.training("mini")["length"])
    rows = recipe.rows(store, length, 0)
    batch = next(islice(updates(recipe, rows, vocab, batch=ROWS, accumulate=1, seed=0, start=0), 1))[0]
    tokens, working = len(batch["ids"]), working_precision("auto", where)
    found: list[Speed] = []
    for size in SIZES:
        each = (
            work(recipe.shape(size, vocab, length), batch, where, working) / tokens
        )  # operations of a token
        parameters, _ = count(recipe, store, size, length)
        left = until - time.monotonic()
        share = found[-1].share if found else 0.0
        needed = (WARM + LEAST) * tokens * each / (limit * share) if share else 0.0
        room = STATE * parameters < 0.8 * memory()
        if found and (needed > left or not room or not found[-1].timed):
            found.append(Speed(size, parameters, limit * share / each, each, share, 0))
            continue
        say(f"timing {size}")
        timing = time_steps(
            recipe, store, size, length=length, limit=max(0.0, left / (len(SIZES) - len(found)))
        )
        found.append(speed(timing, limit))
    return found


def speed(timing: Timing, limit: float) -> Speed:
    """Timed steps beside the matrix rate `limit`."""
    step = median(timing.seconds)
    return Speed(
        size=timing.size,
        parameters=timing.parameters,
        tokens_per_second=timing.tokens / step,
        operations_per_token=timing.flops / timing.tokens,
        share=timing.flops / step / limit,
        timed=len(timing.seconds),
    )


def _allocator_is_set() -> bool:
    return "GLIBC_TUNABLES" in os.environ or "malloc" in os.environ.get("LD_PRELOAD", "")


def _allocator_gain(store: Store, recipe: str, seconds: float) -> float | None:
    """How many times as many tokens a second with `TUNED`, each in a new process; None where that takes too long."""
    package = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "unmask.machine.bench", str(store.folder), recipe, str(seconds / 16)]
    rates = []
    for settings in ({}, {"GLIBC_TUNABLES": TUNED}):
        environment = {
            **os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": search, **settings
        }  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=seconds / 4, check=True
            )
        except subprocess.SubprocessError:
            return None
        rates.append(float(done.stdout.split()[-1]))
    return rates[1] / rates[0]


def main() -> None:
    """Print the tokens a second of a small size: corpus folder, recipe, seconds."""
    keep_memory()  # as the command line does
    folder, recipe, limit = sys.argv[1:]
    timing = time_steps(RECIPES[recipe](), Store(folder), ALLOCATOR_SIZE, length=None, limit=float(limit))
    print(timing.tokens / median(timing.seconds))


if __name__ == "__main__":
    main()
