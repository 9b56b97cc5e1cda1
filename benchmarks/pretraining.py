"""Tokens a second of pre-training, ours beside `transformers`' BertForMaskedLM in a plain loop.

    python -m benchmarks.pretraining [--quick] [--data FOLDER]

The BERT architecture, 4 layers × 256 (and 12 × 768), rows of at most 128 tokens, 32 of them a step, the same rows
with the same blanks on both sides. Each side is a process of its own, so that the peer can have the allocator
settings that help it; the sides take turns, a few steps each, and medians are compared. Losses on the same weights
and rows are checked equal before anything is timed. Our time holds masking, packing, the step and the thread that
prepares; the peer's batches are ready beforehand. Ours trains without dropout, as it always does; the peer with
BERT's 0.1, and in one case without. The last line is the case that does worst in relation to its floor.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.material import lines, padding, text_rows

BATCH = 32
#: glibc's settings that help a loop which frees half a gigabyte of logits each step
TUNED = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967295:glibc.malloc.trim_threshold=4294967295"
NATIVE = {  # (vocabulary, rows, peer's precision, peer's allocator) → floor, 4 × 256, a processor with bf16
    (8000, "full", "fp32", "default"): 4.0,
    (8000, "full", "bf16", "default"): 2.6,
    (8000, "real", "fp32", "default"): 6.5,
    (8000, "real", "bf16", "default"): 4.0,
    (30522, "full", "fp32", "default"): 6.0,
    (30522, "full", "bf16", "default"): 3.5,
    (30522, "full", "fp32", "tuned"): 4.2,
    (30522, "full", "bf16", "tuned"): 2.8,
    (30522, "real", "fp32", "default"): 10.0,
    (30522, "real", "bf16", "default"): 6.5,
    (30522, "real", "fp32", "tuned"): 7.0,
    (30522, "real", "bf16", "tuned"): 4.5,
}
PLAIN_FLOORS = {"full": 2.2, "real": 4.0}  # vocabulary 8,000, a processor without bf16
EVEN = {"fp32": 3.2, "bf16": 2.1}  # the peer without dropout, 8,000, full
BASE = {"fp32": 3.5, "bf16": 1.9}  # 12 × 768, 30,522, full
SHARE = 0.65  # of the measured matrix rate


@dataclass(frozen=True)
class Side:
    """One process: what it trains and how."""

    who: str  # ours, peer
    vocab: int
    size: str  # mini, base
    precision: str  # fp32, bf16 (ours: what the processor has)
    allocator: str  # default, tuned
    dropout: float  # the peer's
    threads: int
    folder: str  # tokenizer, texts and the common weights
    data: str | None
    characters: int


# -- one side, in a process of its own ---------------------------------------------------------------------------


def serve(side: Side, line: Connection) -> None:
    """Answer ("loss", kind), ("steps", kind, count) and ("flops", kind) until told to stop."""
    import torch

    torch.set_num_threads(side.threads)
    rows = _rows(side)
    answer = _ours(side, rows) if side.who == "ours" else _peer(side, rows)
    while (asked := line.recv()) is not None:
        line.send(answer(*asked))


def _rows(side: Side) -> dict[str, Any]:
    from unmask.tokens import load_tokenizer

    tokenizer = load_tokenizer(Path(side.folder) / "tokenizer")
    texts = lines(Path(side.data) if side.data else None, side.characters)
    return {kind: text_rows(texts, tokenizer, kind) for kind in ("full", "real")}


def _ours(side: Side, rows: dict[str, Any]) -> Any:
    import time

    import torch

    from benchmarks.ours import going
    from unmask.jobs.feed import updates
    from unmask.machine.flops import flops
    from unmask.models.weights import load_pretrained
    from unmask.optim import Optimizer
    from unmask.recipes.bert import Bert
    from unmask.train import Batch, working_precision

    recipe = Bert(pairs="none")
    vocab = rows["full"].vocab
    loaded = load_pretrained(Path(side.folder) / f"{side.size}-{side.vocab}")
    model = recipe.network(loaded.shape, vocab).eval()
    loaded.into(model)
    first = {
        kind: next(updates(recipe, one, vocab, batch=BATCH, accumulate=1, seed=0, start=0))[0]
        for kind, one in rows.items()
    }

    def mean_loss(kind: str) -> float:
        with torch.no_grad():
            return float(recipe.loss(model, first[kind])["mlm"]) / len(first[kind]["targets"])

    exact = {kind: mean_loss(kind) for kind in rows}
    optimizer = Optimizer(
        model.named_parameters(), working=working_precision("auto", torch.device("cpu")), beta2=0.999
    )

    running = {
        kind: going(recipe, model, one, vocab, optimizer, lambda number: 1e-4, batch=BATCH)
        for kind, one in rows.items()
    }

    def work(batch: Batch) -> float:
        return flops(
            loaded.shape, tokens=len(batch["ids"]), targets=len(batch["targets"]), lengths=batch["lengths"]
        )

    def answer(what: str, kind: str, count: int = 1) -> Any:
        if what == "loss":
            return exact[kind]
        if what == "flops":
            return work(first[kind]) / len(first[kind]["ids"])
        taken = []  # the thread ahead starts and ends a turn with its queue full, so its work lies inside
        for _ in range(count):
            began = time.perf_counter()
            step = next(running[kind])
            taken.append((time.perf_counter() - began, step.tokens))
        return taken

    return answer


def _peer(side: Side, rows: dict[str, Any]) -> Any:
    from benchmarks.peers import Peer, padded
    from unmask.randomness import generator
    from unmask.recipes.bert import Bert

    recipe, vocab = Bert(pairs="none"), rows["full"].vocab
    peer = Peer(
        Path(side.folder) / f"{side.size}-{side.vocab}",
        bf16=side.precision == "bf16",
        dropout=side.dropout,
        rate=1e-4,
    )

    def batch(kind: str, number: int) -> tuple[dict[str, Any], int]:
        own = range(number * BATCH, (number + 1) * BATCH)
        examples = [recipe.example(rows[kind](n), vocab, generator(0, "noise", n)) for n in own]
        return padded(examples, vocab.pad), sum(len(e["ids"]) for e in examples)

    at = dict.fromkeys(rows, 0)

    def answer(what: str, kind: str, count: int = 1) -> Any:
        if what == "loss":
            return peer.loss(batch(kind, 0)[0])
        made = [batch(kind, at[kind] + k) for k in range(count)]
        at[kind] += count
        return [(peer.step(one)[1], tokens) for one, tokens in made]

    return answer


# -- both sides --------------------------------------------------------------------------------------------------


@contextmanager
def started(side: Side) -> Iterator[Connection]:
    """A side's process and the line to it; glibc reads its settings when the process starts."""
    context = get_context("spawn")
    here, there = context.Pipe()
    before = os.environ.pop("GLIBC_TUNABLES", None)
    if side.allocator == "tuned":
        os.environ["GLIBC_TUNABLES"] = TUNED
    process = context.Process(target=serve, args=(side, there), daemon=True)
    process.start()
    os.environ.pop("GLIBC_TUNABLES", None)
    if before is not None:
        os.environ["GLIBC_TUNABLES"] = before
    there.close()
    try:
        yield here
        here.send(None)
        process.join(10)
    finally:
        process.kill()


def ask(line: Connection, *words: Any) -> Any:
    line.send(words)
    return line.recv()


def prepare(folder: Path, data: Path | None, vocab: int, sizes: Sequence[str], characters: int) -> None:
    """A tokenizer of this text, and weights that both sides start from."""
    import torch

    from unmask.models.weights import save_pretrained
    from unmask.recipes.bert import Bert
    from unmask.tokens import train_tokenizer

    recipe = Bert(pairs="none")
    tokenizer = train_tokenizer(lines(data, characters), "wordpiece", vocab)
    tokenizer.save(folder / "tokenizer")
    for size in sizes:
        shape = replace(recipe.shape(size, tokenizer.vocab, 128), vocab=vocab)  # a small text may fill fewer
        torch.manual_seed(0)
        model = recipe.network(shape, tokenizer.vocab)
        save_pretrained(
            folder / f"{size}-{vocab}", recipe.FAMILY, model, shape, tokenizer, heads="pretraining"
        )


def tokens_a_second(taken: Sequence[tuple[float, int]]) -> float:
    """By the median step; real rows differ in tokens, so each step counts as its own rate."""
    return median(tokens / seconds for seconds, tokens in taken)


def duel(
    sides: dict[str, Side], kinds: Sequence[str], rounds: int, turn: int, warm: int
) -> dict[tuple[str, str], list[tuple[float, int]]]:
    """Every side's steps, in turns; raises SystemExit where losses on the same weights differ."""
    from contextlib import ExitStack

    taken: dict[tuple[str, str], list[tuple[float, int]]] = {(n, k): [] for n in sides for k in kinds}
    with ExitStack() as stack:
        open_lines = {name: stack.enter_context(started(side)) for name, side in sides.items()}
        for kind in kinds:
            losses = {name: ask(line, "loss", kind) for name, line in open_lines.items()}
            spread = max(losses.values()) - min(losses.values())
            print(
                f"  {kind}: loss {losses['ours']:.6f} nats on the same weights, largest difference {spread:.1e}"
            )
            if not spread <= 1e-5 * losses["ours"]:  # nor where one is no number
                raise SystemExit(f"the sides do not compute the same: {losses}")
        for kind in kinds:
            # Warm for a second at least: oneDNN prepares a product for its very shape.
            for line in open_lines.values():
                until, steps = perf_counter() + 1.0, 0
                while steps < warm or perf_counter() < until:
                    ask(line, "steps", kind, 1)
                    steps += 1
            for _ in range(rounds):
                for name, line in open_lines.items():
                    taken[name, kind] += ask(line, "steps", kind, turn)
        if "full" in kinds:
            FLOPS[sides["ours"].size, sides["ours"].vocab] = ask(open_lines["ours"], "flops", "full")
    return taken


FLOPS: dict[tuple[str, int], float] = {}  # a token, of our step really done


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="vocabulary 8,000 alone, three steps a case")
    parser.add_argument("--data", type=Path, help="a folder of text instead of the shipped one")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side")
    args = parser.parse_args()
    import torch

    from benchmarks.peers import bf16_pays
    from unmask.machine.rates import best, matrix_rates

    torch.set_num_threads(args.threads)  # of the matrix rate, as of the sides
    own = "bf16" if bf16_pays() else "fp32"
    print(f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}, ours in {own}")
    results: list[tuple[str, float, float]] = []
    plans: list[tuple[str, int, str, float, tuple[str, ...]]] = [
        ("mini", 8000, "default", 0.1, ("full", "real"))
    ]
    if not args.quick:
        plans += [
            ("mini", 30522, "default", 0.1, ("full", "real")),
            ("mini", 30522, "tuned", 0.1, ("full", "real")),
            ("mini", 8000, "default", 0.0, ("full",)),
            ("base", 30522, "default", 0.1, ("full",)),
        ]
    characters = 600_000 if args.quick else 4_000_000
    precisions = ("fp32", "bf16") if own == "bf16" else ("fp32",)
    for size, vocab, allocator, dropout, kinds in plans:
        print(f"{size}, vocabulary {vocab:,}, the peer's allocator {allocator}, its dropout {dropout}")
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), args.data, vocab, [size], characters)
            base = Side(
                "ours", vocab, size, own, "default", 0.0, args.threads, folder,
                str(args.data) if args.data else None, characters,
            )  # fmt: skip
            sides = {"ours": base} | {
                p: replace(base, who="peer", precision=p, allocator=allocator, dropout=dropout)
                for p in precisions
            }
            rounds, turn = (3, 1) if args.quick else (2, 1) if size == "base" else (7, 1)
            taken = duel(sides, kinds, rounds, turn, 1 if args.quick or size == "base" else 2)
            rows = _rows(base) if "real" in kinds else {}
        if rows:
            print(f"  padding of real rows in batches of {BATCH}: {padding(rows['real'], BATCH):.0%}")
        for kind in kinds:
            ours = tokens_a_second(taken["ours", kind])
            for precision in precisions:
                peer = tokens_a_second(taken[precision, kind])
                floor = _floor(size, vocab, kind, precision, allocator, dropout, own)
                words = f"{size} {vocab} {kind} {precision}"
                said = f"floor {floor:.1f}" if floor else "no floor"
                print(
                    f"  {kind:5} ours {ours:7,.0f}  peer {precision} {peer:7,.0f} tokens/s"
                    f"  ratio {ours / peer:5.2f}  {said}",
                    flush=True,
                )
                if floor:
                    results.append((words, ours / peer, floor))
        if "full" in kinds and dropout:
            rate = best(matrix_rates(torch.device("cpu"), own, 2.0))
            share = tokens_a_second(taken["ours", "full"]) * FLOPS[size, vocab] / rate
            print(
                f"  ours: {share:.0%} of the measured matrix rate of {rate / 1e9:,.0f} GFLOP/s, floor {SHARE:.0%}"
            )
            if size == "mini" and vocab == 8000:
                results.append(("share of the matrix rate", share, SHARE))
    worst = min(results, key=lambda found: found[1] / found[2])
    print(f"worst in relation to its floor: {worst[0]}")
    print(f"ratio {worst[1]:.2f} floor {worst[2]:.2f}")


def _floor(
    size: str, vocab: int, kind: str, precision: str, allocator: str, dropout: float, own: str
) -> float:
    if own == "fp32":
        return PLAIN_FLOORS[kind] if (size, vocab, dropout) == ("mini", 8000, 0.1) else 0.0
    if size == "base":
        return BASE[precision]
    if not dropout:
        return EVEN[precision]
    return NATIVE[vocab, kind, precision, allocator]


if __name__ == "__main__":
    main()
