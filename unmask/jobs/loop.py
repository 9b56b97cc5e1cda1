"""The loop of a pre-training run meets its folder: from the newest checkpoint to the end of the schedule.

A checkpoint always stands at the end of a line of metrics.jsonl, so that what a stopped run recorded of its schedule
is neither cut nor doubled when it goes on. Whether the weights lie here or in shares over the processes is not known
here: all processes look and save, and the first one writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from threading import Event
from typing import Any

from torch import Tensor

from unmask.errors import UnmaskError
from unmask.jobs.feed import ahead, to, updates
from unmask.jobs.look import Apply, Heldout
from unmask.jobs.meter import Meter, Plateau, stuck
from unmask.jobs.rollback import BACK, Rollback, batch_of, rows_of, target
from unmask.jobs.sinks import Sink
from unmask.jobs.snapshots import Keeper
from unmask.jobs.stop import Stopped
from unmask.optim import Mover, rate
from unmask.processes import agreed, device
from unmask.recipes import Recipe
from unmask.rows import Rows
from unmask.run import Run
from unmask.settings import show_seconds, to_json
from unmask.tokens import Vocab
from unmask.train import Batch, Clock, Training, steps, working_precision

Watch = Callable[[dict[str, Any]], None]
LOOKS = 12  # times the held-out loss is taken in a run
LINE = 1.0  # seconds between lines of metrics.jsonl
LINES = 20_000  # from so many on they come at growing distances: a month has some 120,000
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
    wanted: Event,
    rollbacks: Sequence[Rollback] = (),
    line: float | None = None,
) -> bool:
    """Train from `state` on; whether the schedule was followed to its end. Only the first process has a `run`.

    False: the loss or gradient was not finite in too many updates, and the run goes back; where to stands in run.json,
    and `rollbacks` holds what stood there. `state` is a checkpoint's: step, seconds, tokens; in_a_row and left_out,
    updates that were not finite; rollbacks, how many had happened. `wanted` is set where the run is asked to stop.
    `line` is the seconds between two lines of metrics.jsonl. Raises UnmaskError where not one update fits into the
    budget or going back did not help, Stopped when asked.
    """
    assert training.batch and training.learning_rate is not None and training.schedule
    peak, schedule = training.learning_rate, training.schedule
    number, tokens = int(state["step"]), int(state["tokens"])
    in_a_row, left_out = int(state.get("in_a_row", 0)), int(state.get("left_out", 0))
    used = max(state["seconds"], *(one.seconds for one in rollbacks), 0.0)
    clock = Clock(total=training.steps, budget=training.budget, used=used, places=places)
    planned = training.steps if places is None else len(places)
    timed = training.budget is not None
    here, norm = float(state.get("place", 0.0)), 0.0
    meter, looked = Meter(), -1.0
    logged = saved = clock.seconds()
    stored = number  # the step of the newest checkpoint
    before = run.metrics() if run is not None else []
    plateau = Plateau(
        next(iter(recipe.TERMS)),
        run.about["lines"]["unigram"] if run is not None else 0.0,
        training.warmup or 0.0,
        before,
    )
    seen = int(agreed(float(max((one["step"] for one in before if "heldout" in one), default=-1))))
    del before  # of a long run they are many
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
        for sink in tuple(sinks):
            try:
                sink(line)
            except Exception as error:  # of another's library: a full disk, a service that is away
                sinks.remove(sink)
                text = f"a place that the lines go to failed ({error!r}); the run goes on without it"
                watch({"event": "say", "text": text})
        return line

    def flush() -> None:
        """Write what the meter holds; a line of a timed run carries the places of its steps."""
        nonlocal meter, logged
        if meter.places:
            now = clock.seconds()
            facts = {
                **meter.line(now - logged),
                "gradient_norm": norm if isfinite(norm) else None,
                "place": here,
            }
            logs = log({**facts, **({"places": meter.places} if timed else {})})
            seen = {name: value for name, value in logs.items() if name != "places"}
            ends = {
                "steps": planned,
                "budget": None if planned else training.budget,
                "left": clock.left(number),
            }
            watch({"event": "step", **ends, **seen})
            meter, logged = Meter(), now
            # Only the first process knows the corpus's line, and only it has somebody to tell.
            warning = plateau.add(seen) if run is not None else None
            if warning:
                watch({"event": "say", "text": warning})

    def look() -> None:
        nonlocal seen
        # The last step is looked at once, also after a kill.
        if heldout is not None and heldout.batches and number != seen:
            seen = number
            log({"heldout": heldout.loss(apply)})

    def save() -> None:
        nonlocal saved, stored
        flush()
        if number == stored:  # it is there already: nothing that is whole is ever replaced
            return
        tensors = {"weights": optimizer.weights(), "optimizer": optimizer.state()}
        if run is not None:
            facts = {"seconds": clock.seconds(), "tokens": tokens, "in_a_row": in_a_row, "left_out": left_out}
            facts |= {"place": here}
            needed = max(0, number - in_a_row - BACK)
            run.save_checkpoint(number, tensors, {**facts, "rollbacks": len(rollbacks)}, needed)
        saved, stored = clock.seconds(), number

    def snapshot() -> None:
        took = keeper.keep(optimizer.weights(), number, clock.seconds(), tokens, here)
        if took is not None and number:  # a run that never takes a step leaves no line
            log({"snapshot": took})

    def went_back(new: Sequence[Rollback]) -> None:
        for one in new:
            if one.to == number:
                log({"rollback": to_json(one)})

    def go_back() -> None:
        """Write down where to; raises UnmaskError where that was done often enough."""
        assert training.batch
        bad = range(number - training.skips + 1, number + 1)
        rows_read = rows_of(bad, training.batch, rollbacks)
        if len(rollbacks) >= training.rollbacks:
            raise _gone_wrong(training.skips, number, rows_read, rollbacks)
        back = target(number, training.skips)
        after = batch_of(number, rollbacks) + 1
        new = Rollback(number, back, after, rows_read, clock.seconds())
        if run is not None:
            run.note(rollbacks=[to_json(one) for one in (*rollbacks, new)])
        text = (
            f"the loss or the gradient was not finite in the {training.skips} updates up to step {number} (rows "
            f"{rows_read}): going back to step {back}, and on with the rows after them "
            f"({len(rollbacks) + 1} of {training.rollbacks} times)"
        )
        watch({"event": "say", "text": text})

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
        rollbacks=rollbacks,
    )
    with ahead(feed) as prepared:
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
        went_back(rollbacks[int(state.get("rollbacks", 0)) :])
        while not agreed(float(clock.over(number))):
            step = next(going)
            number, tokens = step.number, tokens + step.tokens
            now = clock.seconds()
            late = (
                places is None and number == 1 and timed and not rollbacks and now > (training.budget or 0.0)
            )
            wish = (STOP if wanted.is_set() else 0) | (LATE if late else 0)
            wish |= SAVE if now - saved >= training.checkpoint_every else 0
            wish = int(agreed(float(wish)))
            if wish & LATE:
                raise _too_short(training, now)
            meter.add(step, here)
            norm = float(step.gradient_norm)
            in_a_row, left_out = (0, left_out) if step.finite else (in_a_row + 1, left_out + 1)
            wrong = in_a_row >= training.skips
            if wrong or now - logged >= (max(LINE, now / LINES) if line is None else line):
                flush()
            if wrong:
                go_back()
                if wish & STOP:
                    raise Stopped(f"stopped after step {number}; the same command goes on")
                return False
            went_back(rollbacks)
            if here >= looked + 1 / LOOKS:
                looked = here
                look()
            if keeper.due(number, here):
                snapshot()
            if wish & (STOP | SAVE):
                save()
            if wish & STOP:
                raise Stopped(f"stopped after step {number}; the same command goes on")
    if not number and not rollbacks:
        raise _too_short(training, clock.seconds())
    if left_out == number:  # nothing was learnt at all: a short run ends before it goes back often enough
        read = rows_of(range(1, number + 1), training.batch, rollbacks) if number else rollbacks[-1].rows
        raise _gone_wrong(number, number, read, rollbacks)
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
    if left_out or rollbacks:
        watch({"event": "say", "text": _summary(left_out, number, rollbacks)})
    return True


def _summary(left_out: int, number: int, rollbacks: Sequence[Rollback]) -> str:
    """What was left out, at the end of a run."""
    text = f"{left_out} of {number:,} updates were left out, as the loss or the gradient was not finite"
    times = "once" if len(rollbacks) == 1 else f"{len(rollbacks)} times"
    passed = ", ".join(one.rows for one in rollbacks)
    return f"{text}; the run went back {times}, past the rows {passed}" if rollbacks else text


def _gone_wrong(count: int, number: int, rows: str, rollbacks: Sequence[Rollback]) -> UnmaskError:
    before = (
        f", after going back {len(rollbacks)} times (past the rows {', '.join(one.rows for one in rollbacks)})"
        if rollbacks
        else ""
    )
    return UnmaskError(
        f"the loss or the gradient was not finite in the {count} updates up to step {number} (rows {rows})"
        f"{before} — a training whose loss is a number was expected; no weight was moved by them, and the checkpoints "
        "before are whole — go on with the same command and a lower rate (--learning-rate … --allow-changed "
        "learning_rate), with --precision fp32 --allow-changed precision, past those rows with --rollbacks "
        f"{len(rollbacks) + 1}, or look at them"
    )


def _too_short(training: Training, seconds: float) -> UnmaskError:
    assert training.budget is not None
    return UnmaskError(
        f"budget is {show_seconds(training.budget)} and the first step is not done after {show_seconds(seconds)} — at "
        "least one step must fit — give more time, or a smaller --size, --batch or --length"
    )
