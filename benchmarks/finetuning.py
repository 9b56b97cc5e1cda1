"""Rows a second, fine-tuning and predicting, beside `transformers`: its Trainer and its pipeline.

    python -m benchmarks.finetuning [--quick] [--data FOLDER] [--threads N]

The same BERT on both sides (4 layers × 256, vocabulary 8,000, the pooler and a linear layer over two classes), the same
rows, batch 32, AdamW, clipping at 1, dropout 0.1, and four looks at the same dev rows. The peer's Trainer pads each
batch to its longest row, in fp32 and, where the processor has it, in bf16, and the faster counts; its rows are
tokenised before its clock starts. Ours is timed from the files to the chosen weights: reading, tokenising, windows,
batches, training, dev. The pipeline is timed from texts to labels at several batch sizes, precisions as before, and the
fastest counts; ours is the engine of `unmask predict`, texts to labels, too. Losses and probabilities on the same
weights in fp32 are checked equal before anything is timed; every side runs once on a few rows before its clock; the
sides take turns, and medians are compared.

Texts are runs of words of the shipped English text (or of the texts of `--data`), as long in tokens as the rows of
SST-2 (training rows, a vocabulary of 8,192 pieces of English Wikipedia) and of DRCD (question and passage, a token a
character; what is longer than 512 is cut on both sides). The last line is the worst case in relation to its floor.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

FLOORS = {"fine-tuning": (2.5, 4.0), "predicting": (2.5, 5.0)}  # and the aims
VOCAB, LONGEST, BATCH = 8000, 512, 32
BATCHES = (1, 8, 32, 128)  # of the pipeline
#: 65 quantiles, equally spaced from the shortest to the longest row, special tokens included
LENGTHS = {
    "SST-2": (
        3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9, 10, 10, 10, 11, 11, 11, 12, 12, 12, 13,
        13, 14, 14, 14, 15, 15, 16, 17, 17, 18, 18, 19, 20, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 31, 33, 35, 37, 40,
        43, 47, 53, 85,
    ),
    "DRCD": (
        239, 275, 282, 288, 293, 299, 305, 310, 315, 321, 326, 331, 336, 341, 346, 351, 357, 361, 365, 370, 374, 379,
        384, 390, 394, 399, 403, 408, 414, 419, 425, 430, 436, 441, 447, 453, 459, 464, 469, 475, 480, 487, 493, 500,
        507, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512,
    ),
}  # fmt: skip
ROWS = {"SST-2": (2048, 128, 4096), "DRCD": (256, 32, 256)}  # train, dev, predicted
QUICK = (256, 32, 512)


def lengths(name: str, count: int, seed: int) -> np.ndarray:
    """Row lengths drawn from the quantiles of a data set.  # [count]"""
    quantiles = LENGTHS[name]
    at = np.random.default_rng(seed).random(count) * (len(quantiles) - 1)
    return np.interp(at, np.arange(len(quantiles)), quantiles).round().astype(int)


def texts_of(name: str, count: int, seed: int, words: Sequence[tuple[str, int]]) -> list[str]:
    """Runs of words (each with its tokens) that come as near to the drawn lengths as words allow."""
    draws = np.random.default_rng(seed + 1)
    found = []
    for size in lengths(name, count, seed).tolist():
        own: list[str] = []
        at, room = int(draws.integers(len(words))), max(1, size - 2)
        while room > 0:
            word, tokens = words[at % len(words)]
            at += 1
            if tokens <= room or not own:
                own.append(word)
            room -= tokens
        found.append(" ".join(own))
    return found


# -- ours --------------------------------------------------------------------------------------------------------


def write_rows(file: Path, texts: Sequence[str], seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 2, len(texts)).tolist()
    rows = (json.dumps({"text": t, "label": "ab"[y]}) for t, y in zip(texts, labels, strict=True))
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")


def finetune_ours(folder: Path, name: str, part: str = "train") -> float:
    """Seconds of one seed on the rows of a part, from the files to the chosen weights."""
    from unmask.jobs.adapt import finetune_one, prepare
    from unmask.jobs.tuned import FineTuning
    from unmask.tasks.classify import Classify

    began = time.perf_counter()
    p = prepare(
        Classify(head="first"),
        model=folder / "model",
        train=folder / f"{name}-{part}.jsonl",
        dev=folder / f"{name}-dev.jsonl",
        test=None,
        training=FineTuning(epochs=1.0, batch=BATCH, learning_rate=1e-4, length=LONGEST),
        from_scratch=False,
    )
    finetune_one(p, 0, None, lambda event: None)
    return time.perf_counter() - began


# -- the peer ----------------------------------------------------------------------------------------------------


def finetune_peer(folder: Path, name: str, bf16: bool, train: str = "train") -> float:
    """Seconds of `Trainer.train` with four looks at dev; the rows are tokenised beforehand."""
    from transformers import (
        BertForSequenceClassification,
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )

    tokenizer = peer_tokenizer(folder)
    parts = {}
    for part in {train, "dev"}:
        rows = [json.loads(line) for line in (folder / f"{name}-{part}.jsonl").open(encoding="utf-8")]
        encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=LONGEST)
        labels = ["ab".index(row["label"]) for row in rows]
        parts[part] = [
            {**{key: value[n] for key, value in encoded.items()}, "labels": label}
            for n, label in enumerate(labels)
        ]
    steps = -(-len(parts[train]) // BATCH)
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out, per_device_train_batch_size=BATCH, per_device_eval_batch_size=BATCH, num_train_epochs=1,
            learning_rate=1e-4, weight_decay=0.01, max_grad_norm=1.0, bf16=bf16, use_cpu=True, disable_tqdm=True,
            eval_strategy="steps", eval_steps=-(-steps // 4), save_strategy="no", report_to=[],
            logging_strategy="no",
        )  # fmt: skip
        trainer = Trainer(
            model=BertForSequenceClassification.from_pretrained(folder / "model"),
            args=arguments,
            train_dataset=parts[train],
            eval_dataset=parts["dev"],
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda found: {"accuracy": float((found[0].argmax(-1) == found[1]).mean())},
        )
        trainer.remove_callback(PrinterCallback)  # it prints every look at dev
        began = time.perf_counter()
        trainer.train()
        return time.perf_counter() - began


def peer_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "model")


def peer_pipeline(folder: Path, bf16: bool) -> Any:
    import torch
    from transformers import pipeline

    dtype = torch.bfloat16 if bf16 else torch.float32
    return pipeline(
        "text-classification", model=str(folder / "model"), tokenizer=peer_tokenizer(folder), device="cpu", dtype=dtype
    )  # fmt: skip


def ask_peer(pipe: Any, texts: Sequence[str], batch: int) -> list[dict[str, Any]]:
    return list(pipe(list(texts), batch_size=batch, truncation=True, max_length=LONGEST))


# -- before the clock ----------------------------------------------------------------------------------------------


def make(
    folder: Path, data: Path | None, names: Sequence[str], rows: dict[str, tuple[int, int, int]]
) -> None:
    """A tokenizer, a model with its head, and the rows of each data set."""
    import torch

    from benchmarks.material import lines
    from unmask.jobs.tuned import save_task
    from unmask.models import sized
    from unmask.models.weights import save_pretrained
    from unmask.tasks.classify import Classify
    from unmask.tasks.examples import Labels
    from unmask.tokens.train import train_tokenizer

    held = lines(data, 2_000_000)
    tokenizer = train_tokenizer(held, "wordpiece", VOCAB, lowercase=True)
    words = [word for line in held[:4000] for word in line.split()]
    counts = [len(encoded.ids) for encoded in tokenizer.encode_batch(words)]
    known = [(word, count) for word, count in zip(words, counts, strict=True) if count]
    for number, name in enumerate(names):
        train, dev, predicted = rows[name]
        for part, count in (("train", train), ("dev", dev), ("test", predicted)):
            seed = 100 * number + len(part)
            write_rows(folder / f"{name}-{part}.jsonl", texts_of(name, count, seed, known), seed)
    torch.manual_seed(0)
    shape = sized("bert", "mini", tokenizer.vocab.size, LONGEST)
    task = Classify(head="first")
    labels = Labels(kind="classes", names=("a", "b"), weights=(1.0, 1.0))
    model = task.network(shape, tokenizer.vocab, labels)
    torch.nn.init.normal_(
        model.get_parameter("head.out.weight"), std=0.5
    )  # so that the rows differ in their loss
    save_pretrained(folder / "model", "bert", model, shape, tokenizer, heads="classify", labels=["a", "b"])
    save_task(folder / "model", task, labels, LONGEST, LONGEST // 3)


def check_same(folder: Path, name: str) -> None:
    """Loss and probabilities of the same rows on the same weights, fp32, both sides."""
    import torch
    from transformers import BertForSequenceClassification

    from unmask.jobs.predict import Tuned
    from unmask.tasks.examples import Example, Examples

    rows = [json.loads(line) for line in (folder / f"{name}-test.jsonl").open(encoding="utf-8")][:64]
    gold = ["ab".index(row["label"]) for row in rows]
    tuned = Tuned(folder / "model", precision="fp32")
    items = tuple(Example(str(n), n, (row["text"],), None) for n, row in enumerate(rows))
    ours = np.array([[s["probabilities"][x] for x in "ab"] for s in tuned.say(Examples("rows", items))])
    inputs = peer_tokenizer(folder)(
        [row["text"] for row in rows], truncation=True, max_length=LONGEST, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        found = BertForSequenceClassification.from_pretrained(folder / "model").eval()(
            **inputs, labels=torch.tensor(gold)
        )
    loss = float(-np.log(ours[np.arange(len(gold)), gold]).mean())
    print(f"{name}: loss on the same weights, fp32: ours {loss:.6f}, transformers {float(found.loss):.6f}")
    assert abs(loss - float(found.loss)) < 1e-5, "the losses differ"
    apart = float(np.abs(ours - found.logits.softmax(-1).numpy()).max())
    assert apart < 1e-4, f"probabilities differ by {apart}"


# -- the comparison ------------------------------------------------------------------------------------------------


def compare(what: str, name: str, rows: int, sides: dict[str, Callable[[], float]], repeats: int) -> float:
    """Time the sides in turn, print a line each, and return how many times faster ours is than the best peer."""
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, timed in sides.items():
            taken[side].append(timed())
    rates = {side: rows / median(seconds) for side, seconds in taken.items()}
    for side, rate in rates.items():
        spread = f"{rows / max(taken[side]):,.0f} to {rows / min(taken[side]):,.0f}"
        print(f"{what:12} {name:6} {side:32} {rate:8,.0f} rows/s  ({spread})", flush=True)
    ratio = rates["ours"] / max(rate for side, rate in rates.items() if side != "ours")
    floor, aim = FLOORS[what]
    print(f"{what:12} {name:6} {ratio:.2f} times (floor {floor}, aim {aim})", flush=True)
    return ratio / floor


def predicting(folder: Path, name: str, repeats: int, quick: bool) -> float:
    from benchmarks.peers import autocasts
    from unmask.allocator import keep_memory
    from unmask.jobs.predict import PORTION, Tuned
    from unmask.tasks.examples import Example, Examples

    keep_memory()  # as `unmask predict` does; the peers are in this process, too
    rows = [json.loads(line) for line in (folder / f"{name}-test.jsonl").open(encoding="utf-8")]
    texts = [row["text"] for row in rows]
    items = tuple(Example(str(n), n, (text,), None) for n, text in enumerate(texts))
    tuned = Tuned(folder / "model", "auto")

    def ours() -> float:
        began = time.perf_counter()
        for at in range(0, len(items), PORTION):
            tuned.say(Examples("rows", items[at : at + PORTION]))
        return time.perf_counter() - began

    def peer(pipe: Any, batch: int) -> Callable[[], float]:
        def timed() -> float:
            began = time.perf_counter()
            ask_peer(pipe, texts, batch)
            return time.perf_counter() - began

        return timed

    few = texts[: max(2 * max(BATCHES), len(texts) // 8)]
    pilots = {}
    for bf16 in autocasts():
        pipe = peer_pipeline(folder, bf16)
        ask_peer(pipe, few[:16], 8)
        for batch in (8, 32) if quick else BATCHES:
            ask_peer(pipe, few[:batch], batch)  # its shapes are met once
            began = time.perf_counter()
            ask_peer(pipe, few, batch)
            pilots[bf16, batch] = (time.perf_counter() - began, pipe)
    chosen = sorted(pilots, key=lambda key: pilots[key][0])[:2]
    sides = {"ours": ours}
    for bf16, batch in chosen:
        label = f"pipeline, {'bf16' if bf16 else 'fp32'}, batches of {batch}"
        sides[label] = peer(pilots[bf16, batch][1], batch)
    for side in sides.values():  # every shape is met once
        side()
    return compare("predicting", name, len(texts), sides, repeats)


def finetuning(folder: Path, name: str, rows: int, repeats: int) -> float:
    from benchmarks.peers import autocasts

    sides: dict[str, Callable[[], float]] = {"ours": lambda: finetune_ours(folder, name)}
    finetune_ours(folder, name, "dev")  # what is loaded and chosen once is loaded on all sides
    for bf16 in autocasts():
        finetune_peer(folder, name, bf16, "dev")
        sides[f"Trainer, {'bf16' if bf16 else 'fp32'}"] = partial(finetune_peer, folder, name, bf16)
    return compare("fine-tuning", name, rows, sides, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest real case, below 50 seconds")
    parser.add_argument("--data", type=Path, help="a folder of texts in place of the shipped one")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers

    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    names = ["SST-2"] if given.quick else list(LENGTHS)
    rows = {name: QUICK if given.quick else ROWS[name] for name in names}
    repeats = 2 if given.quick else given.repeats
    found = []
    with tempfile.TemporaryDirectory(prefix="unmask-benchmark-") as aside:
        folder = Path(aside)
        make(folder, given.data, names, rows)
        for name in names:
            check_same(folder, name)
            found.append(("predicting", predicting(folder, name, repeats, given.quick)))
            found.append(("fine-tuning", finetuning(folder, name, rows[name][0], repeats)))
    what, worst = min(found, key=lambda pair: pair[1])
    print(f"ratio {worst * FLOORS[what][0]:.2f} floor {FLOORS[what][0]:g}")


if __name__ == "__main__":
    main()
