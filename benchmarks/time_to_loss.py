"""Seconds until the masked loss that BERT's published recipe in `transformers` reaches after `--seconds`.

    python -m benchmarks.time_to_loss --seconds 900 [--size mini] [--seeds 3] [--runs FOLDER]
    python -m benchmarks.time_to_loss --quick

The peer is really run: BertForMaskedLM, AdamW, linear schedule with 1 % warm-up, dropout 0.1, batches of 32 full
windows of 128 tokens, in fp32 or in bf16 by autocast, whichever is faster here; of four learning rates the one that is
best on a choice split (never at the edge of the grid, or it is said). Ours is the `modern` recipe with the settings
that a user gets who names none, by budget; a ladder of budgets is climbed until a run ends at or below the target, and
its first of 30 looks there counts. Same text, tokenizer, layers and width, threads; the same cloze positions (15 %) of
a test split on which no setting was chosen (the budget of ours is: the first that gets there).

Clocks: the peer's counts its steps alone (its batches are made beforehand); ours counts reading, masking, packing and
steps. Looks at the loss stop both clocks. Each (side, rate or budget, horizon, seed) is a folder: a finished one is
never repeated, and one during which the machine's matrix rate moved by more than 15 % is run again, twice at most.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from zlib import crc32

import numpy as np
import torch

from benchmarks.material import text_rows
from benchmarks.ours import train_for
from benchmarks.peers import Peer, autocasts, bf16_pays, padded
from unmask.batch import collate
from unmask.corpus import Document
from unmask.data import english
from unmask.machine.rates import best, matrix_rates
from unmask.models.weights import save_pretrained
from unmask.optim import rate
from unmask.randomness import generator
from unmask.recipes.bert import Bert
from unmask.recipes.modern import Modern
from unmask.run import machine, write_json
from unmask.store import Store
from unmask.store.build import build
from unmask.tokens import Tokenizer
from unmask.training import Training, resolved

RATES = (1e-4, 3e-4, 1e-3, 2e-3)
RUNGS = (1 / 40, 1 / 20, 1 / 10, 1 / 5, 1 / 2.5, 1.0)  # our budget as a share of the peer's seconds
BATCH, LENGTH, VOCAB = 32, 128, 8000
LOOKS = 30  # at the loss, in a run of ours
WINDOWS = 160  # of each of the two splits
STEADY = 0.15  # how far the matrix rate may move during a run
FLOORS = {"mini": 6.0, "medium": 4.0, "small": 4.0, "tiny": 6.0}


@dataclass(frozen=True)
class Material:
    """The same text for both sides: a corpus folder, the peer's rows of it, and the two splits as masked rows."""

    folder: Path
    store: Store
    tokenizer: Tokenizer
    train: list[str]
    splits: dict[str, list[dict[str, np.ndarray]]]  # choice, test


def material(folder: Path, small: bool) -> Material:
    """Documents are split by a hash of their id that nothing else uses: 4 % test, 4 % choice, the rest train."""
    parts: dict[str, list[Document]] = {"train": [], "choice": [], "test": []}
    size = 0
    for document in english.documents(0):
        draw = crc32(f"time to loss {document.id}".encode()) % 100
        part = "test" if draw < 4 else "choice" if draw < 8 else "train"
        parts[part].append(document)
        size += len(document.text)
        if small and size > 700_000:
            break
    place = folder / "corpus"
    if (place / "manifest.json").exists():  # made before; several processes may read it, one must make it
        store = Store(place)
    else:
        store = build(documents=parts["train"], out=place, vocab_size=VOCAB, heldout=0.0, language="en")
    tokenizer = store.tokenizer
    asked = Bert(pairs="none")
    splits = {}
    for name in ("choice", "test"):
        rows = text_rows([d.text for d in parts[name]], tokenizer, "full")
        splits[name] = [
            asked.example(rows(n), tokenizer.vocab, generator(1, f"cloze {name}", n))
            for n in range(min(WINDOWS, len(rows)))
        ]
    return Material(folder, store, tokenizer, [d.text for d in parts["train"]], splits)


def unigram(m: Material) -> float:
    """The loss on the test blanks of a model that knows only how frequent tokens are in the training text, in nats."""
    share = np.asarray(m.store.unigram, dtype=np.float64) + 1.0
    log = np.log(share / share.sum())
    targets = np.concatenate([e["targets"] for e in m.splits["test"]])
    return float(-log[targets].mean())


# -- the two sides ---------------------------------------------------------------------------------------------------


def run_peer(
    m: Material, size: str, seconds: float, learning_rate: float, seed: int, bf16: bool
) -> dict[str, Any]:
    """The published recipe for `seconds` of steps; the loss on both splits at the end."""
    recipe = Bert(pairs="none")
    vocab = m.tokenizer.vocab
    torch.manual_seed(seed)
    shape = recipe.shape(size, vocab, LENGTH)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(
            Path(folder), recipe.FAMILY, recipe.network(shape, vocab), shape, m.tokenizer, heads="pretraining"
        )
        peer = Peer(Path(folder), bf16=bf16, dropout=0.1, rate=learning_rate)
    torch.manual_seed(seed)
    rows = text_rows(m.train, m.tokenizer, "full")
    spent, number, curve = 0.0, 0, []
    while spent < seconds:
        # its schedule knows the time, as ours does: linear up for 1 %, then down to 0 at the end
        factor = rate("linear", min(1.0, (spent + 1e-3) / seconds), warmup=0.01, decay=0.0)
        for group in peer.optimizer.param_groups:
            group["lr"] = learning_rate * factor
        own = range(number * BATCH, (number + 1) * BATCH)
        examples = [recipe.example(rows(n), vocab, generator(seed, "noise", n)) for n in own]
        loss, took = peer.step(padded(examples, vocab.pad))
        spent, number = spent + took, number + 1
        curve.append((spent, float(loss)))

    def mean(examples: list[dict[str, np.ndarray]]) -> float:  # over all blanks, as `cloze` has it
        parts = [examples[at : at + 16] for at in range(0, len(examples), 16)]
        blanks = [sum(len(e["targets"]) for e in part) for part in parts]
        return float(np.average([peer.loss(padded(part, vocab.pad)) for part in parts], weights=blanks))

    losses = {name: mean(examples) for name, examples in m.splits.items()}
    every = max(1, len(curve) // 100)
    return {"steps": number, "seconds": spent, "losses": losses, "curve": curve[::every]}


def run_ours(m: Material, size: str, budget: float, seed: int) -> dict[str, Any]:
    """The `modern` recipe by budget, looked at `LOOKS` times: (seconds, test loss) along the way."""
    recipe = Modern()
    training = resolved(recipe, size, Training(budget=budget, seed=seed))
    assert training.length
    shape = recipe.shape(size, m.tokenizer.vocab, training.length)
    look = cloze(m.splits["test"])
    return train_for(recipe, shape, training, m.store, lambda model: look(recipe, model), looks=LOOKS)


def cloze(examples: Sequence[dict[str, np.ndarray]]) -> Callable[[Any, Any], float]:
    """The mean masked loss over fixed blanks, in nats, of a recipe's model."""
    batches = [collate(examples[at : at + 16]) for at in range(0, len(examples), 16)]
    blanks = sum(len(batch["targets"]) for batch in batches)

    def look(recipe: Any, model: Any) -> float:
        with torch.no_grad():
            return sum(float(recipe.loss(model, batch)["mlm"]) for batch in batches) / blanks

    return look


# -- resumable runs --------------------------------------------------------------------------------------------------


def once(folder: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The stored result of a finished run, or a new one, repeated where the machine was not steady."""
    path = folder / "result.json"
    if path.exists():
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
        if stored["machine"]["threads"] != torch.get_num_threads():
            raise SystemExit(
                f"{folder} was run with {stored['machine']['threads']} threads — name another --runs"
            )
        if not stored["steady"]:
            print(f"  {folder.name}, of an earlier time, was never steady: its seconds say less", flush=True)
        return stored
    precision = "bf16" if bf16_pays() else "fp32"
    for attempt in range(3):
        before = best(matrix_rates(torch.device("cpu"), precision, 1.0))
        result = make()
        after = best(matrix_rates(torch.device("cpu"), precision, 1.0))
        moved = abs(after - before) / max(after, before)
        if moved <= STEADY:
            break
        print(
            f"  the matrix rate moved by {moved:.0%} during {folder.name}"
            + (": again" if attempt < 2 else "")
        )
    folder.mkdir(parents=True, exist_ok=True)
    if moved > STEADY:
        print(f"  {folder.name} was never steady: its seconds say less", flush=True)
    result |= {"matrix_rate": [before, after], "steady": moved <= STEADY, "machine": machine()}
    write_json(path, result)
    return result


def faster_in_bf16(m: Material, size: str) -> bool:
    """Whether the peer's step is faster under autocast here."""
    found = {}
    for bf16 in autocasts():
        result = run_peer(m, size, 3.0 if size == "tiny" else 8.0, 1e-3, 0, bf16)
        found[bf16] = result["seconds"] / result["steps"]
    return min(found, key=lambda bf16: found[bf16])


def peers(
    m: Material, runs: Path, size: str, seconds: float, rates: Sequence[float], seeds: int, bf16: bool
) -> Iterator[tuple[float, int, dict[str, Any]]]:
    for learning_rate in rates:
        for seed in range(seeds):
            name = f"peer-{size}-{'bf16' if bf16 else 'fp32'}-{learning_rate:g}-{seconds:g}-{seed}"
            result = once(runs / name, partial(run_peer, m, size, seconds, learning_rate, seed, bf16))
            losses = result["losses"]
            print(
                f"  peer {learning_rate:g} seed {seed}: {result['steps']} steps, choice {losses['choice']:.3f}, "
                f"test {losses['test']:.3f}",
                flush=True,
            )
            yield learning_rate, seed, result


def race(m: Material, runs: Path, size: str, seconds: float, rates: Sequence[float], seeds: int) -> float:
    """Prints every run; the ratio of the peer's seconds to ours, medians over seeds."""
    bf16 = faster_in_bf16(m, size)
    floor = unigram(m)
    print(
        f"{size}, {seconds:g} s, the peer in {'bf16' if bf16 else 'fp32'}; unigram line on the test blanks {floor:.3f}"
    )
    found: dict[float, list[dict[str, Any]]] = {}
    for learning_rate, _, result in peers(m, runs, size, seconds, rates, seeds, bf16):
        found.setdefault(learning_rate, []).append(result)
    chosen = min(found, key=lambda r: median(x["losses"]["choice"] for x in found[r]))
    if len(rates) > 2 and chosen in (min(rates), max(rates)):
        print(f"  the peer's best rate {chosen:g} lies at the edge of its grid")
    target = median(x["losses"]["test"] for x in found[chosen])
    words = "below" if target < floor else "NOT below"
    print(
        f"  target: {target:.3f} nats, at rate {chosen:g}; {abs(floor - target):.2f} {words} the unigram line"
    )
    times = []
    for seed in range(seeds):
        for rung in RUNGS:
            budget = seconds * rung
            name = f"ours-{size}-{budget:g}-for-{seconds:g}-{seed}"
            result = once(runs / name, partial(run_ours, m, size, budget, seed))
            reached = (
                result["loss"] <= target
            )  # at its end, as the peer is judged; a dip on the way is no crossing
            crossed = next((at for at, loss in result["curve"] if reached and loss <= target), None)
            said = f"crossed at {crossed:.1f} s" if crossed else "not there yet"
            print(
                f"  ours seed {seed}, budget {budget:.0f} s: {result['loss']:.3f} nats at its end, {said}",
                flush=True,
            )
            if crossed:
                times.append(crossed)
                break
        else:
            times.append(math.inf)
    print(f"  ours: {median(times):.1f} s [{min(times):.1f}–{max(times):.1f}] over {seeds} seeds")
    return seconds / median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny peer for 15 seconds, one rate and seed")
    parser.add_argument(
        "--seconds", type=float, action="append", help="the peer's; several times for several horizons"
    )
    parser.add_argument("--size", default="mini", choices=sorted(FLOORS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="the peer's grid")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/time-to-loss"), help="where finished runs are kept"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            m = material(Path(folder), small=True)
            ratio = race(m, Path(folder) / "runs", "tiny", 15.0, [1e-3], 1)
        print(f"ratio {ratio:.2f} floor {FLOORS['tiny']:.2f}")
        return
    m = material(args.runs, small=False)
    ratios = [
        race(m, args.runs, args.size, seconds, args.rates, args.seeds)
        for seconds in args.seconds or [900.0, 2700.0]
    ]
    for shorter, longer in zip(ratios, ratios[1:], strict=False):
        if longer < shorter:
            print(f"the ratio falls with the time: {shorter:.1f}, then {longer:.1f}")
    print(f"ratio {min(ratios):.2f} floor {FLOORS[args.size]:.2f}")


if __name__ == "__main__":
    main()
