"""How cost grows: tokens a second and memory by size and length of a body, and by the size of a corpus.

    python -m benchmarks.growth [--quick] [--recipe modern] [--seconds 8] [--out growth.json]

Bodies: the recipe's ordinary steps on the shipped text, vocabulary 8,000, the same 2,048 tokens a step at every length;
each cell is a process of its own, so that its peak memory is its own (PyTorch, text and tokenizer lie within).
Corpora: `unmask corpus` on the shipped text, beyond its length repeated with every fourth word changed. Printed as
Markdown tables; `python docs/figure.py growth.json` draws docs/growth.svg from the JSON. --quick: two sizes, two
lengths, one corpus.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.corpus import SIZES as CORPORA
from benchmarks.corpus import documents, grown

BODIES = ("tiny", "mini", "small", "medium", "base")
LENGTHS = (64, 128, 256, 512, 1024)
TOKENS = 2048  # of a step
VOCAB = 8000


def body(corpus: str, recipe: str, size: str, length: int, seconds: float) -> dict[str, Any]:
    """One cell: tokens a second by the median step, peak bytes of this process, operations a second."""
    import torch

    from unmask.machine.timing import time_steps
    from unmask.recipes import RECIPES
    from unmask.store import Store

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    timed = time_steps(
        RECIPES[recipe](), Store(Path(corpus)), size, length=length, limit=seconds, rows=TOKENS // length
    )
    step = median(timed.seconds)
    return {
        "size": size, "length": length, "parameters": timed.parameters, "steps": len(timed.seconds),
        "tokens_per_second": timed.tokens / step, "memory": timed.memory, "flops_per_second": timed.flops / step,
    }  # fmt: skip


def apart(*given: Any) -> dict[str, Any]:
    """`body` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(body, *given).result()


def table(cells: list[dict[str, Any]], show: Callable[[dict[str, Any]], str]) -> list[str]:
    """Sizes down, lengths across."""
    lengths = sorted({cell["length"] for cell in cells})
    rows = ["| | " + " | ".join(f"{n:,} tokens" for n in lengths) + " |", "|---|" + "---|" * len(lengths)]
    for size in dict.fromkeys(cell["size"] for cell in cells):
        own = {cell["length"]: cell for cell in cells if cell["size"] == size}
        millions = next(iter(own.values()))["parameters"] / 1e6
        rows.append(f"| {size}, {millions:.1f} M | " + " | ".join(show(own[n]) for n in lengths) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny and mini, 64 and 128 tokens, 10 MB")
    parser.add_argument("--recipe", default="modern")
    parser.add_argument("--seconds", type=float, default=8.0, help="at most, of 3 to 20 steps of a cell")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="of a corpus")
    parser.add_argument("--out", type=Path, default=Path("growth.json"))
    given = parser.parse_args()
    import torch

    from unmask.machine.rates import best, matrix_rates
    from unmask.processes import device
    from unmask.run import machine, write_json
    from unmask.tokens.train import train_tokenizer
    from unmask.train import working_precision

    torch.set_num_threads(len(os.sched_getaffinity(0)))  # as the cells have
    precision = "bf16" if working_precision("auto", device()) is torch.bfloat16 else "fp32"
    found: dict[str, Any] = {"machine": machine(), "recipe": given.recipe, "precision": precision}
    found["matrix_rate"] = best(matrix_rates(device(), precision, 2.0))
    found |= {"bodies": [], "corpora": []}
    texts = [text for text in documents(None) if text.strip()]
    with tempfile.TemporaryDirectory(prefix="unmask-growth-") as place:
        aside = Path(place)
        train_tokenizer(texts[:1000], "wordpiece", VOCAB).save(aside / "tokenizer")
        found["corpora"].append(grown(aside, texts, CORPORA[0], given.processes))
        (aside / "ours").rename(aside / "corpus")
        for size in BODIES[:2] if given.quick else BODIES:
            for length in LENGTHS[:2] if given.quick else LENGTHS:
                cell = apart(str(aside / "corpus"), given.recipe, size, length, given.seconds)
                found["bodies"].append(cell)
                print(
                    f"{size} at {length}: {cell['tokens_per_second']:,.0f} tokens/s, {cell['memory'] / 1e6:,.0f} MB",
                    flush=True,
                )
        write_json(given.out, found)
        for count in [] if given.quick else CORPORA[1:]:
            found["corpora"].append(grown(aside, texts, count, given.processes))
            write_json(given.out, found)
    rate = found["matrix_rate"]
    print(f"\ntokens a second, and the share of {rate / 1e9:,.0f} GFLOP/s in {precision}\n")
    shown = table(
        found["bodies"], lambda c: f"{c['tokens_per_second']:,.0f} ({c['flops_per_second'] / rate:.0%})"
    )
    print("\n".join([*shown, "", "peak memory, MB", ""]))
    print("\n".join(table(found["bodies"], lambda c: f"{c['memory'] / 1e6:,.0f}")))
    print("\n| corpus | tokens | MB/s | peak memory, MB |\n|---|---|---|---|")
    for one in found["corpora"]:
        print(
            f"| {one['bytes'] / 1e6:,.0f} MB | {one['tokens']:,} | {one['bytes_per_second'] / 1e6:.2f} "
            f"| {one['memory'] / 1e6:,.0f} |"
        )


if __name__ == "__main__":
    main()
