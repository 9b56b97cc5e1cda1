"""Pre-training: a recipe, a corpus folder and a budget become a run folder with a model in it.

The same call again goes on where the last whole checkpoint stands: rows, masks and partners have coordinates, so
the position in the data is one number, the step. By `steps` the final weights are the same bytes as an undisturbed
run's; by `budget` each step's place in the schedule is written to metrics.jsonl, time already used counts, and
`replay` follows the recorded places of another run instead of the clock.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unmask.errors import UnmaskError
from unmask.jobs.adapt import model_folder
from unmask.jobs.card import write_card
from unmask.jobs.feed import ahead, to, updates
from unmask.jobs.look import Heldout, choose_blanks, filled
from unmask.models.weights import load_pretrained, save_pretrained
from unmask.optim import Optimizer, rate
from unmask.processes import agreed, device, join, leave
from unmask.recipes import Recipe
from unmask.run import Run
from unmask.settings import show_seconds, to_json
from unmask.store import Store
from unmask.train import Clock, Step, Training, steps, working_precision

Watch = Callable[[dict[str, Any]], None]
LOOKS = 12  # times the held-out loss is taken in a run
SKIPS = 10  # updates in a row that may be left out because the gradient is not finite
LINE = 1.0  # seconds between lines of metrics.jsonl


class Stopped(KeyboardInterrupt):
    """The run was asked to stop (SIGTERM, Ctrl-C) and did, with a checkpoint: the same command goes on."""


def silent(event: dict[str, Any]) -> None:
    """A watcher that does not look."""


def resolved(recipe: Recipe, size: str, training: Training) -> Training:
    """The training settings with the recipe's values for the size in place of None, and 30 minutes if no end is given."""
    defaults = {k: v for k, v in recipe.training(size).items() if getattr(training, k) is None}
    training = replace(training, **defaults)
    if training.steps is None and training.budget is None:
        training = replace(training, budget=1800.0)
    return training


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; asked a second time, they interrupt at once."""
    wanted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wanted
        return

    def ask(number: int, frame: object) -> None:
        if wanted.is_set():
            raise KeyboardInterrupt
        wanted.set()

    old = {s: signal.signal(s, ask) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield wanted
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@dataclass
class Meter:
    """What was seen since the last line of metrics.jsonl: sums, so that a line is exact whatever it spans."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    places: list[float] = field(default_factory=list)
    tokens: int = 0
    skipped: int = 0

    def add(self, step: Step, place: float) -> None:
        self.places.append(place)
        if not step.finite:
            self.skipped += 1
            return
        for name, value in step.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        for name, n in step.counts.items():
            self.counts[name] = self.counts.get(name, 0) + n
        self.tokens += step.tokens

    def line(self, seconds: float) -> dict[str, Any]:
        terms = {t: self.sums[t] / n for t, n in self.counts.items() if n}
        main = next(iter(self.counts), "")
        correct = self.sums.get(f"{main}_correct")
        return {
            "loss": sum(terms.values()),
            "terms": terms,
            "accuracy": None if correct is None else correct / max(self.counts[main], 1),
            "tokens_per_second": self.tokens / max(seconds, 1e-9),
            **({"skipped": self.skipped} if self.skipped else {}),
        }


def recorded_places(run: Path) -> list[float]:
    """Each step's place in the schedule of a run that was trained by time. Raises UnmaskError where it recorded none."""
    places = [p for line in Run.open(run).metrics() for p in line.get("places", [])]
    if not places:
        raise UnmaskError(f"{run} recorded no places — only a run with --budget does — give that run, or --steps")
    return places


def _network(recipe: Recipe, store: Store, size: str, training: Training, source: Path | None) -> tuple[nn.Module, Any]:
    """The network in fp32 with weights drawn from the seed, or with the body and head of `source`."""
    vocab = store.tokenizer.vocab
    assert training.length is not None
    torch.manual_seed(training.seed)
    shape = recipe.shape(size, vocab, training.length)
    if source is None:
        return recipe.network(shape, vocab), shape
    loaded = load_pretrained(model_folder(source))
    if loaded.tokenizer is None or loaded.tokenizer.fingerprint != store.tokenizer.fingerprint:
        raise UnmaskError(
            f"the tokenizer of {source} is not the corpus's — going on with a body needs its own tokenizer — "
            f"build the corpus with --tokenizer {source}"
        )
    if loaded.family != recipe.FAMILY:
        raise UnmaskError(
            f"{source} is a {loaded.family} and the recipe {recipe.NAME} trains a {recipe.FAMILY} — they must agree — "
            "choose the recipe of that family"
        )
    model = recipe.network(loaded.shape, vocab)
    loaded.into(model)
    return model, loaded.shape


def pretrain(
    recipe: Recipe,
    corpus: str | Path,
    *,
    out: str | Path,
    size: str = "mini",
    training: Training | None = None,
    source: Path | None = None,
    replay: Path | None = None,
    watch: Watch = silent,
    command: str = "",
) -> Run:
    """Pre-train and return the run.

    `source` is a model folder to go on from (its tokenizer must be the corpus's); `replay` is a run whose recorded
    places in the schedule are followed. `watch` is told of steps and of what is said. Raises UnmaskError for settings
    that cannot work, before any training, and Stopped when asked to stop.
    """
    training = resolved(recipe, size, training or Training())
    assert training.length is not None and training.batch is not None
    store = Store(Path(corpus))
    places = recorded_places(replay) if replay else None
    rank, world = join()
    if training.batch < world * training.accumulate:
        raise UnmaskError(
            f"batch is {training.batch} for {world} processes × {training.accumulate} micro-batches — each needs a row — "
            "raise --batch"
        )
    rows = recipe.rows(store, training.length, training.seed)
    model, shape = _network(recipe, store, size, training, source)
    new = not (Path(out) / "run.json").exists()
    run = _folder(recipe, corpus, out, size, training, source, replay, command, store, model, shape) if rank == 0 else None
    finished = bool(agreed(float(run is not None and run.finished)))
    if finished:
        watch({"event": "say", "text": f"{out} is finished; nothing to do"})
        leave()
        return Run.open(out)
    model.to(device()).eval()  # no dropout in pre-training
    if run is not None and new:
        before = filled(model, store, choose_blanks(Store(Path(corpus), part="heldout")))
        run.save_evaluation("fills", [_renamed(b, "before") for b in before])
    optimizer = Optimizer(
        model.named_parameters(),
        kind=training.optimizer or "adamw",
        weight_decay=0.01 if training.weight_decay is None else training.weight_decay,
        beta1=0.9 if training.beta1 is None else training.beta1,
        beta2=0.98 if training.beta2 is None else training.beta2,
        working=working_precision(training.precision, device()),
    )
    try:
        _train(recipe, store, Path(corpus), Path(out), training, model, optimizer, run, places, rows, watch)
    except UnmaskError:
        if run is not None and new and not (run.folder / "checkpoints").exists():
            _remove(run.folder)
        raise
    if run is not None:
        store_heldout = Store(Path(corpus), part="heldout")
        after = filled(model, store, choose_blanks(store_heldout))
        old = run.evaluations().get("fills", [])
        run.save_evaluation("fills", [{**o, **_renamed(a, "after")} for o, a in zip(old, after, strict=False)])
        with torch.no_grad():
            for name, p in model.named_parameters():
                if name in optimizer.weights():
                    p.data = optimizer.weights()[name]
        save_pretrained(run.folder / "model", recipe.FAMILY, model, shape, store.tokenizer, heads="pretraining")
        write_card(run)
        run.finish()
    leave()
    return Run.open(out)


def _renamed(found: dict[str, Any], when: str) -> dict[str, Any]:
    return {"text": found["text"], "truth": found["truth"], when: found["fills"]}


def _remove(folder: Path) -> None:
    """Take away a folder of a run that never took a step: run.json, metrics and first fills, nothing else."""
    for path in [folder / "evaluation" / "fills.json", folder / "metrics.jsonl", folder / "run.json"]:
        path.unlink(missing_ok=True)
    for path in [folder / "evaluation", folder]:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _folder(
    recipe: Recipe,
    corpus: str | Path,
    out: str | Path,
    size: str,
    training: Training,
    source: Path | None,
    replay: Path | None,
    command: str,
    store: Store,
    model: nn.Module,
    shape: Any,
) -> Run:
    """The run folder, made or opened again."""
    settings = {
        "recipe": {"name": recipe.NAME, **to_json(recipe)},
        "corpus": str(corpus),
        "corpus_fingerprint": store.fingerprint,
        "size": size,
        "source": str(source) if source else None,
        "replay": str(replay) if replay else None,
        "training": to_json(training),
    }
    return Run.create(
        out,
        verb="pretrain",
        settings=settings,
        call=f"unmask.pretrain({recipe!r}, {str(corpus)!r}, out={str(out)!r}, size={size!r}, training={training!r})",
        command=command or " ".join(["unmask", *sys.argv[1:]]),
        lines={"uniform": math.log(store.tokenizer.vocab.size), "unigram": store.unigram_entropy},
        parameters=sum(p.numel() for p in model.parameters()),
        shape=to_json(shape),
        corpus={
            "path": str(corpus),
            "fingerprint": store.fingerprint,
            "tokens": store.tokens,
            "documents": store.documents,
        },
    )


def _train(
    recipe: Recipe,
    store: Store,
    corpus: Path,
    out: Path,
    training: Training,
    model: nn.Module,
    optimizer: Optimizer,
    run: Run | None,
    places: list[float] | None,
    rows: Any,
    watch: Watch,
) -> None:
    """From the newest checkpoint, or the beginning, to the end of the schedule."""
    assert training.batch and training.length and training.learning_rate and training.schedule
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "tokens": 0}
    if (out / "checkpoints").is_dir():
        checkpoint = Run.open(out).load_checkpoint(lambda text: watch({"event": "say", "text": text}))
        if checkpoint is not None:
            optimizer.load(checkpoint.tensors["weights"], checkpoint.tensors["optimizer"])
            state = checkpoint.state
            watch({"event": "say", "text": f"going on from step {state['step']}"})
    if run is not None:
        run.forget_after(state["step"])
    heldout = Heldout(recipe, Store(corpus, part="heldout"), training.length, device()) if run is not None else None
    number, tokens, skips = int(state["step"]), int(state["tokens"]), 0
    clock = Clock(total=training.steps, budget=training.budget, used=state["seconds"], places=places)
    here = 0.0

    def learning_rate(update: int) -> float:
        nonlocal here
        here = agreed(clock.place(update))
        assert training.schedule and training.learning_rate
        return training.learning_rate * rate(
            training.schedule, here, warmup=training.warmup or 0.0, decay=training.decay or 0.0
        )

    def line(meter: Meter, since: float, **more: Any) -> dict[str, Any]:
        now = clock.seconds()
        return {"step": number, "seconds": now, "tokens": tokens, **meter.line(now - since), **more}

    def look() -> None:
        if run is not None and heldout is not None and heldout.batches:
            found = heldout.loss(model)
            run.log({"step": number, "seconds": clock.seconds(), "tokens": tokens, "heldout": found})

    def save() -> None:
        if run is not None:
            tensors = {"weights": optimizer.weights(), "optimizer": optimizer.state()}
            run.save_checkpoint(number, tensors, {"seconds": clock.seconds(), "tokens": tokens})

    meter, looked = Meter(), -1.0
    logged = saved = clock.seconds()
    feed = updates(
        recipe,
        rows,
        store.tokenizer.vocab,
        batch=training.batch,
        accumulate=training.accumulate,
        seed=training.seed,
        start=number,
    )
    with stop_signals() as wanted, ahead(feed) as prepared:
        going = steps(
            lambda batch: recipe.loss(model, to(batch, device())),
            prepared,
            terms=recipe.TERMS,
            optimizer=optimizer,
            rate=learning_rate,
            clip=1.0 if training.clip is None else training.clip,
            start=number,
        )
        while not agreed(float(clock.over(number))):
            step = next(going)
            number, tokens = step.number, tokens + step.tokens
            meter.add(step, here)
            now = clock.seconds()
            _check(training, step, number, now, by_time=places is None)
            skips = 0 if step.finite else skips + 1
            if skips >= SKIPS:
                raise UnmaskError(
                    f"the gradient was not finite in the {SKIPS} updates up to step {number} (rows "
                    f"{(number - SKIPS) * training.batch} to {number * training.batch - 1}) — the checkpoint before is whole — "
                    "lower --learning-rate, or use --precision fp32"
                )
            if now - logged >= LINE and meter.counts:
                extra = {"places": meter.places} if training.budget is not None else {}
                record = line(meter, logged, gradient_norm=float(step.gradient_norm), place=here)
                if run is not None:
                    run.log({**record, **extra})
                    watch({"event": "step", "steps": training.steps, "budget": training.budget, "left": clock.left(number), **record})
                meter, logged = Meter(), now
            if here >= looked + 1 / LOOKS:
                looked = here
                look()
            stop = bool(agreed(float(wanted.is_set())))
            if stop or agreed(float(now - saved >= training.checkpoint_every)):
                if run is not None and meter.counts and stop:
                    run.log({**line(meter, logged), **({"places": meter.places} if training.budget is not None else {})})
                save()
                saved = clock.seconds()
            if stop:
                raise Stopped(f"stopped after step {number}; the same command goes on")
    if run is not None and meter.counts:
        run.log({**line(meter, logged), **({"places": meter.places} if training.budget is not None else {})})
    look()
    save()


def _check(training: Training, step: Step, number: int, seconds: float, *, by_time: bool) -> None:
    """Raises UnmaskError where the very first step outlasts the budget."""
    if by_time and training.budget is not None and number == 1 and seconds > training.budget:
        raise UnmaskError(
            f"budget is {show_seconds(training.budget)} and one step takes {show_seconds(seconds)} — at least one step must "
            "fit — give more time, or a smaller --size, --batch or --length"
        )
