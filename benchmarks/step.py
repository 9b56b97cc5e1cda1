"""Where the time of one step goes: shares of matrix products, attention's softmax, norms, activations, loss, optimiser.

    python -m benchmarks.step [--quick] [--size mini] [--vocab 8000] [--kind full] [--steps 10]

The ordinary loop of pre-training under torch's profiler, on the shipped text. Self times of operators are summed by
what they are for; the profiler itself costs a few per cent. The last line says what is not a matrix product.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import closing
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.material import lines, text_rows
from benchmarks.ours import going
from benchmarks.pretraining import BATCH, prepare
from unmask.models.weights import load_pretrained
from unmask.optim import Optimizer
from unmask.recipes.bert import Bert
from unmask.tokens import load_tokenizer
from unmask.train import working_precision

PARTS = {  # what an operator's name says of its purpose; the first that fits
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "aten::baddbmm"),
    "softmax": ("softmax",),
    "norms": ("layer_norm",),
    "activations": ("gelu",),
    "optimiser": ("_fused_adamw", "Optimizer.step", "linalg_vector_norm", "_foreach"),
    "moves and casts": (
        "copy_",
        "cat",
        "index",
        "gather",
        "scatter",
        "clone",
        "contiguous",
        "fill_",
        "zero_",
        "empty",
    ),
    "sums": ("aten::sum", "aten::add", "aten::mul", "aten::sub", "aten::div", "argmax"),
}


def part(name: str) -> str:
    return next(
        (p for p, words in PARTS.items() if any(word in name for word in words)), "the rest, Python included"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three steps")
    parser.add_argument("--size", default="mini")
    parser.add_argument("--vocab", type=int, default=8000)
    parser.add_argument("--kind", choices=("full", "real"), default="full")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = Bert(pairs="none")
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place), None, args.vocab, [args.size], 600_000)
        tokenizer = load_tokenizer(Path(place) / "tokenizer")
        loaded = load_pretrained(Path(place) / f"{args.size}-{args.vocab}")
    rows = text_rows(lines(None, 600_000), tokenizer, args.kind)
    model = recipe.network(loaded.shape, rows.vocab).eval()
    loaded.into(model)
    optimizer = Optimizer(model.named_parameters(), working=working_precision("auto", torch.device("cpu")))
    count = 3 if args.quick else args.steps
    taken = going(recipe, model, rows, rows.vocab, optimizer, lambda number: 1e-4, batch=BATCH)
    with closing(taken):
        for _ in range(3):
            next(taken)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(count):
                next(taken)
    shares: dict[str, float] = {}
    for event in seen.key_averages():
        shares[part(event.key)] = shares.get(part(event.key), 0.0) + event.self_cpu_time_total
    total = sum(shares.values())
    for name, spent in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"{100 * spent / total:5.1f} %  {spent / count / 1000:7.1f} ms a step  {name}")
    print(f"not a matrix product: {1 - shares['matrix products'] / total:.0%} of the step")


if __name__ == "__main__":
    main()
