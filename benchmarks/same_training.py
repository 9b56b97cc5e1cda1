"""Nothing was bought with wrongness: the fast path beside the reference, on the same weights and batches.

    python -m benchmarks.same_training [--quick] [--size mini]

fp32: `transformers`' BertForMaskedLM without dropout, AdamW with our groups, clipping, against our ordinary loop in
fp32: step 1 within 1e-5, each of 30 steps within 1e-3 (nats). bf16: our loop in bf16 with fp32 masters against our loop
in fp32: the mean of the last 50 of 300 losses within 1e-2 (left out where the processor has no bf16). Rows are lines of
text of their true lengths. The last line is `same X of Y`; exit code 1 where one is not.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.material import TextRows, lines, text_rows
from benchmarks.ours import going
from benchmarks.peers import bf16_pays, padded
from benchmarks.pretraining import prepare
from unmask.models.weights import load_pretrained
from unmask.optim import Optimizer
from unmask.randomness import generator
from unmask.recipes.bert import Bert
from unmask.tokens import load_tokenizer

BATCH, VOCAB, RATE = 16, 8000, 1e-3
RECIPE = Bert(pairs="none")


def ours(folder: Path, rows: TextRows, count: int, working: torch.dtype) -> list[float]:
    """The mean losses of `count` steps of the ordinary loop, from the weights of the folder."""
    loaded = load_pretrained(folder)
    model = RECIPE.network(loaded.shape, rows.vocab).eval()
    loaded.into(model)
    optimizer = Optimizer(model.named_parameters(), beta2=0.999, working=working)
    taken = going(
        RECIPE, model, rows, rows.vocab, optimizer, lambda number: RATE * min(1.0, number / 10), batch=BATCH
    )
    with closing(taken):
        found = [step.loss() for step in islice(taken, count)]
    return found


def reference(folder: Path, rows: TextRows, count: int) -> list[float]:
    """The same by `transformers` and torch alone."""
    from transformers import BertForMaskedLM, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = BertForMaskedLM.from_pretrained(
        folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager"
    )
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.999),
    )
    found = []
    for number in range(count):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (number + 1) / 10)
        own = range(number * BATCH, (number + 1) * BATCH)
        examples = [RECIPE.example(rows(n), rows.vocab, generator(0, "noise", n)) for n in own]
        loss = model(**padded(examples, rows.vocab.pad)).loss
        found.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return found


def told(checks: Sequence[tuple[str, bool]]) -> int:
    """Prints what was compared and whether it held, then `same X of Y`; the exit code."""
    for words, held in checks:
        print(("same   " if held else "OTHER  ") + words)
    print(f"same {sum(held for _, held in checks)} of {len(checks)}")
    return 0 if all(held for _, held in checks) else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="size tiny, and 100 steps of bf16, the last 20 compared"
    )
    parser.add_argument("--size", default="mini")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size = "tiny" if args.quick else args.size
    many, last = (100, 20) if args.quick else (300, 50)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, args.data, VOCAB, [size], 600_000)
        tokenizer = load_tokenizer(folder / "tokenizer")
        rows = text_rows(lines(args.data, 600_000), tokenizer, "real")
        model = folder / f"{size}-{VOCAB}"
        theirs = np.array(reference(model, rows, 30))
        exact = np.array(ours(model, rows, many if bf16_pays() else 30, torch.float32))
        apart = np.abs(exact[:30] - theirs)
        half = np.array(ours(model, rows, many, torch.bfloat16)) if bf16_pays() else None
    checks = [
        (f"{size}, fp32, step 1 against transformers: {apart[0]:.1e} nats", apart[0] <= 1e-5),
        (f"{size}, fp32, 30 steps against transformers: at most {apart.max():.1e} nats", apart.max() <= 1e-3),
    ]
    if half is None:
        print("bf16 is not tried: this processor has none, and trains in fp32")
    else:
        drift = abs(half[-last:].mean() - exact[-last:].mean())
        words = (
            f"{size}, bf16 against fp32, mean of the last {last} of {many} steps: {drift:.1e} nats "
            f"({half[-last:].mean():.4f} and {exact[-last:].mean():.4f})"
        )
        checks.append((words, drift <= 1e-2))
    return told(checks)


if __name__ == "__main__":
    sys.exit(main())
