"""The loop of a pre-training run meets its folder: from the newest checkpoint to the end of the schedule.

A checkpoint always stands at the end of a line of metrics.jsonl, so that what a stopped run recorded of its schedule
is neither cut nor doubled when it goes on. Whether the weights lie here or in shares over the processes is not known
here: all processes look and save, and the first one writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from unmask.errors import UnmaskError
from unmask.jobs.feed import ahead, to, updates
from unmask.jobs.look import Apply, Heldout
from unmask.jobs.meter import Meter, stuck
from unmask.jobs.sinks import Sink
from unmask.jobs.snapshots import Keeper
from unmask.jobs.stop import Stopped, stop_signals
from unmask.optim import Mover, rate
from unmask.processes import agreed, device
from unmask.recipes import Recipe
from unmask.rows import Rows
from unmask.run import Run
from unmask.settings import show_seconds
from unmask.tokens import Vocab
from unmask.train import Batch, Clock, Training, steps, working_precision

Watch = Callable[[dict[str, Any]], None]
LOOKS = 12  # times the held-out loss is taken in a run
SKIPS = 10  # updates in a row that may be left out because the gradient is not finite
LINE = 1.0  # seconds between lines of metrics.jsonl
STOP, SAVE, LATE = 1, 2, 4  # what the first process may decide after an update


def train(
    recipe: Recipe,
    rows: Rows,
    vocab: Vocab,
    training: Training,
    apply: Apply,
    optimizer: Mover,
    *,
    state: dict[str, Any],
    run: Run | None,
    heldout: Heldout | None,
    places: list[float] | None,
    sinks: list[Sink],
    watch: Watch,
) -> None:
    """Train from `state` (step, seconds, tokens) on. Only the first process has a `run`.

    Raises UnmaskError where not one update fits into the budget or the gradient stays infinite, Stopped when asked.
    """
    assert training.batch and training.learning_rate is not None and training.schedule
    peak, schedule = training.learning_rate, training.schedule
    number, tokens, skips = int(state["step"]), int(state["tokens"]), 0
    clock = Clock(total=training.steps, budget=training.budget, used=state["seconds"], places=places)
    planned = training.steps if places is None else len(places)
    timed = training.budget is not None
    here, norm = 0.0, 0.0
    meter, looked = Meter(), -1.0
    logged = saved = clock.seconds()
    keeper = Keeper(
        None if run is None else run.folder,
        count=training.snapshots,
        total=training.steps if places is None else None,
        start=number,
        working=working_precision(training.precision, device()),
        say=lambda text: watch({"event": "say", "text": text}),
    )
    keeper.passed, keeper.last = int(agreed(float(keeper.passed))), int(agreed(float(keeper.last)))

    def learning_rate(update: int) -> float:
        nonlocal here
        here = agreed(clock.place(update))
        return peak * rate(schedule, here, warmup=training.warmup or 0.0, decay=training.decay or 0.0)

    def log(facts: dict[str, Any]) -> dict[str, Any]:
        line = {"step": number, "seconds": clock.seconds(), "tokens": tokens, **facts}
        if run is not None:
            run.log(line)
        for sink in sinks:
            sink(line)
        return line

    def flush() -> None:
        """Write what the meter holds; a line of a timed run carries the places of its steps."""
        nonlocal meter, logged
        if meter.places:
            now = clock.seconds()
            facts = {**meter.line(now - logged), "gradient_norm": norm, "place": here}
            line = log({**facts, **({"places": meter.places} if timed else {})})
            line = {name: value for name, value in line.items() if name != "places"}
            ends = {
                "steps": planned,
                "budget": None if planned else training.budget,
                "left": clock.left(number),
            }
            watch({"event": "step", **ends, **line})
            meter, logged = Meter(), now

    def look() -> None:
        if heldout is not None and heldout.batches:
            log({"heldout": heldout.loss(apply)})

    def save() -> None:
        nonlocal saved
        flush()
        tensors = {"weights": optimizer.weights(), "optimizer": optimizer.state()}
        if run is not None:
            run.save_checkpoint(number, tensors, {"seconds": clock.seconds(), "tokens": tokens})
        saved = clock.seconds()

    def snapshot() -> None:
        took = keeper.keep(optimizer.weights(), number, clock.seconds(), tokens, here)
        if took is not None and number:  # a run that never takes a step leaves no line
            log({"snapshot": took})

    def loss(batch: Batch) -> dict[str, Tensor]:
        return apply(recipe, to(batch, device()))

    feed = updates(
        recipe,
        rows,
        vocab,
        batch=training.batch,
        accumulate=training.accumulate,
        seed=training.seed,
        start=number,
    )
    with stop_signals() as wanted, ahead(feed) as prepared:
        clip = 1.0 if training.clip is None else training.clip
        going = steps(
            loss,
            prepared,
            terms=recipe.TERMS,
            optimizer=optimizer,
            rate=learning_rate,
            clip=clip,
            start=number,
        )
        if keeper.on and not number:
            snapshot()
        while not agreed(float(clock.over(number))):
            step = next(going)
            number, tokens = step.number, tokens + step.tokens
            now = clock.seconds()
            late = places is None and number == 1 and timed and now > (training.budget or 0.0)
            wish = (STOP if wanted.is_set() else 0) | (LATE if late else 0)
            wish |= SAVE if now - saved >= training.checkpoint_every else 0
            wish = int(agreed(float(wish)))
            if wish & LATE:
                raise _too_short(training, now)
            meter.add(step, here)
            norm = float(step.gradient_norm)
            skips = 0 if step.finite else skips + 1
            if now - logged >= LINE or skips >= SKIPS:
                flush()
            if skips >= SKIPS:
                raise UnmaskError(
                    f"the gradient was not finite in the {SKIPS} updates up to step {number} (rows "
                    f"{(number - SKIPS) * training.batch} to {number * training.batch - 1}) — nothing was learnt from "
                    "them — lower --learning-rate, or use --precision fp32"
                )
            if here >= looked + 1 / LOOKS:
                looked = here
                look()
            if keeper.due(number, here):
                snapshot()
            if wish & (STOP | SAVE):
                save()
            if wish & STOP:
                raise Stopped(f"stopped after step {number}; the same command goes on")
    if not number:
        raise _too_short(training, clock.seconds())
    flush()
    look()
    if keeper.on and keeper.last != number:
        snapshot()
    save()
    if run is not None:
        warning = stuck(
            run.metrics(), next(iter(recipe.TERMS)), run.about["lines"]["unigram"], training.warmup or 0.0
        )
        if warning:
            watch({"event": "say", "text": warning})


def _too_short(training: Training, seconds: float) -> UnmaskError:
    assert training.budget is not None
    return UnmaskError(
        f"budget is {show_seconds(training.budget)} and the first step is not done after {show_seconds(seconds)} — at "
        "least one step must fit — give more time, or a smaller --size, --batch or --length"
    )
