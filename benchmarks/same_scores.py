"""Fine-tuning scores as the plain path does: ours beside `transformers` in an ordinary loop, from the same weights.

    python -m benchmarks.same_scores [--quick] [--data FOLDER] [--seeds 3] [--steps 200]

The plain path is in fp32: BertForSequenceClassification, rows padded to the longest of their batch, AdamW with biases
and norms left from the decay, linear schedule, dropout 0.1. Ours is `unmask classify` as a user gets it: rows end to
end, bf16 where the processor has it, the head on [CLS] as there. Both start from the same drawn body and take the last
weights. The task is made of the shipped text: is a paragraph the first of its article or a later one; with `--data` it
is SST-2 (glue/SST-2 in that folder). The same: the seeds' ranges overlap, and both are above the most frequent answer.
The last line is `same X of Y`; exit code 1 where one is not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.pretraining import prepare
from benchmarks.published_sets import lines as unpacked
from benchmarks.same_training import told

BATCH, RATE, WORDS, VOCAB = 32, 1e-3, 60, 8000
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Work:
    """The rows of both sides, and the folder with the weights that both start from."""

    folder: Path
    model: Path
    parts: dict[str, Rows]  # train, dev (which decides nothing: one look, at the end) and test


def paragraphs(train: int, test: int) -> dict[str, Rows]:
    """As many first as later paragraphs; an article's rows lie in one part."""
    from unmask.data import english

    made: Rows = []
    for document in english.documents(0):
        own = [line for line in document.text.splitlines() if len(line.split()) >= 12]
        if len(own) >= 3:
            cut = [" ".join(own[at].split()[:WORDS]) for at in (0, len(own) // 2)]
            made += [{"text": cut[0], "label": "first"}, {"text": cut[1], "label": "later"}]
        if len(made) >= train + 2 * test:
            break
    return {"train": made[2 * test :], "dev": made[:test], "test": made[test : 2 * test]}


def reviews(data: Path, train: int, test: int) -> dict[str, Rows]:
    """SST-2: its training rows, of its dev rows one half as dev and one as test."""
    found: dict[str, Rows] = {}
    for part in ("train", "dev"):
        rows = (line.split("\t") for line in islice(unpacked(data / f"glue/SST-2/{part}.tsv.xz"), 1, None))
        found[part] = [{"text": text, "label": label} for text, label in rows]
    half = min(test, len(found["dev"]) // 2)
    return {"train": found["train"][:train], "dev": found["dev"][:half], "test": found["dev"][half:][:half]}


def ours(work: Work, seed: int, steps: int) -> float:
    """Accuracy × 100 on the test rows."""
    from unmask.jobs.adapt import finetune_one
    from unmask.jobs.adapt import prepare as prepared
    from unmask.jobs.tuned import FineTuning
    from unmask.tasks.classify import Classify

    p = prepared(
        Classify(head="first"),
        model=work.model,
        train=work.folder / "train.jsonl",
        dev=work.folder / "dev.jsonl",
        test=work.folder / "test.jsonl",
        training=FineTuning(steps=steps, batch=BATCH, learning_rate=RATE, evaluate_every=steps),
        from_scratch=False,
    )
    return float(finetune_one(p, seed, None, lambda event: None)["test"]["accuracy"])


def plain(work: Work, seed: int, steps: int) -> float:
    """The same by `transformers` and torch alone."""
    from transformers import (
        AutoTokenizer,
        BertForSequenceClassification,
        get_linear_schedule_with_warmup,
        logging,
    )

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(work.model)
    model = BertForSequenceClassification.from_pretrained(work.model).train()
    names = sorted({row["label"] for row in work.parts["train"]})
    vectors = [p for p in model.parameters() if p.ndim < 2]
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}], lr=RATE
    )
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    rows, order, draws = work.parts["train"], np.zeros(0, np.int64), np.random.default_rng(seed)

    def batch(some: Rows) -> dict[str, torch.Tensor]:
        texts = [row["text"] for row in some]
        return dict(tokenizer(texts, truncation=True, max_length=128, padding=True, return_tensors="pt"))

    for _ in range(steps):
        if len(order) < BATCH:
            order = draws.permutation(len(rows))
        own, order = [rows[n] for n in order[:BATCH]], order[BATCH:]
        labels = torch.tensor([names.index(row["label"]) for row in own])
        model(**batch(own), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
    right = 0
    test = work.parts["test"]
    with torch.no_grad():
        for at in range(0, len(test), BATCH):
            said = model(**batch(test[at : at + BATCH])).logits.argmax(-1).tolist()
            right += sum(names[n] == row["label"] for n, row in zip(said, test[at:], strict=False))
    return 100 * right / len(test)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="size tiny, 60 updates, two seeds")
    parser.add_argument("--size", default="mini")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size, steps, seeds = ("tiny", 60, 2) if args.quick else (args.size, args.steps, args.seeds)
    train, test = (1500, 400) if args.quick else (4000, 1000)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, None, VOCAB, [size], 600_000)
        parts = reviews(args.data, train, test) if args.data else paragraphs(train, test)
        for name, rows in parts.items():
            text = "\n".join(json.dumps(row) for row in rows)
            (folder / f"{name}.jsonl").write_text(text + "\n", encoding="utf-8")
        work = Work(folder, folder / f"{size}-{VOCAB}", parts)
        labels = [row["label"] for row in parts["test"]]
        majority = 100 * max(labels.count(name) for name in set(labels)) / len(labels)
        found: dict[str, list[float]] = {"ours": [], "transformers": []}
        for seed in range(seeds):
            found["ours"].append(ours(work, seed, steps))
            found["transformers"].append(plain(work, seed, steps))
    task = "SST-2" if args.data else "first paragraphs"
    print(
        f"{task}, {size}, {steps} updates, {len(labels)} test rows, the most frequent answer {majority:.1f}"
    )
    for side, scores in found.items():
        print(f"  {side}: {median(scores):.1f} [{min(scores):.1f}–{max(scores):.1f}] of {seeds} seeds")
    mine, theirs = found.values()
    checks = [
        ("the ranges overlap", min(mine) <= max(theirs) and min(theirs) <= max(mine)),
        ("both are above the most frequent answer", median(mine) > majority < median(theirs)),
    ]
    return told(checks)


if __name__ == "__main__":
    sys.exit(main())
