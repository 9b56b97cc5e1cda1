"""Before a night is spent: what a pre-training on this text takes on this machine, and which size is worth it.

A size is *worth training* in a time if it sees at least twenty tokens for each parameter of its layers (the rule of
thumb of Hoffmann et al. 2022, found for decoders; for masked models, which answer 15 % of what they see, it is
rather too kind than too strict) and takes at least 1,000 updates, so that warm-up and decay have room. The largest
such size is advised. Sizes are timed from the smallest up and no further than the first that is not worth it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError, nearest
from unmask.machine.environment import memory
from unmask.machine.sample import Text, look
from unmask.machine.timing import Timing, count, time_steps
from unmask.models import SIZES
from unmask.recipes import RECIPES
from unmask.settings import show_bytes, show_seconds

PER_PARAMETER = 20.0  # tokens seen for each parameter of the layers
UPDATES = 1_000
# Bytes a parameter while training: master, gradient, two moments, working weight and its gradient (in bf16 4 less).
STATE = 4 + 4 + 8 + 4 + 4
KEPT = 5  # checkpoints on disk at once, at most: four that stay and one being written
CHECKPOINT = 4 + 8  # bytes a parameter: master and two moments
MODEL = 4  # bytes a parameter of the model folder
LECTURE_BODY = 12 * 12 * 768**2  # parameters of the layers of 12 × 768
LECTURE_UPDATES, LECTURE_ROWS = 1_000_000, 256
LECTURE_TOKENS = LECTURE_UPDATES * LECTURE_ROWS * 512  # as the paper counts
LECTURE_SHORT = (
    LECTURE_UPDATES * LECTURE_ROWS * (0.9 * 128 + 0.1 * 512)
)  # 90 % of the updates had rows of 128


@dataclass(frozen=True)
class Candidate:
    """What one size does in the budget. ``low`` and ``high`` bound the tokens by the slow and the fast steps."""

    size: str
    parameters: int
    body: int
    batch: int
    accumulate: int
    length: int
    timed: int  # steps that were timed
    seconds_per_update: float
    tokens_per_second: float
    updates: int
    tokens: float
    low: float
    high: float
    epochs: float
    per_parameter: float
    memory: int
    disk: int
    worth: bool


@dataclass(frozen=True)
class Plan:
    """The answer of ``plan``. ``advised`` is None if no size is worth training in the time."""

    recipe: str
    budget: float
    source: str  # the texts, or the corpus folder
    vocab_size: int
    text: Text
    candidates: tuple[Candidate, ...]
    advised: str | None
    stopped: str  # why no larger size was timed
    lecture_seconds: float  # 131 billion tokens through 12 × 768 here
    lecture_short_seconds: float  # the same with 90 % of the updates on rows of 128
    lecture_from: str  # the size whose speed that is scaled from


def plan(
    text: str | Path,
    *,
    budget: float = 28800.0,
    recipe: str = "modern",
    length: int | None = None,
    vocab_size: int = 8192,
    sizes: Sequence[str] = tuple(SIZES),
    limit: float = 20.0,
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Times real steps of ``sizes``, at most ``limit`` seconds each, on ``text`` (texts or a corpus folder).

    ``budget`` in seconds. Raises UnmaskError if not even one update of the smallest size fits.
    """
    if recipe not in RECIPES:
        raise UnmaskError(
            f'recipe "{recipe}" — one of {", ".join(RECIPES)} was expected.{nearest(recipe, RECIPES)}'
        )
    if not sizes:
        raise UnmaskError(f"no sizes — at least one of {', '.join(SIZES)} was expected — name one")
    if budget <= 0:
        raise UnmaskError(f"budget is {budget} s — more than 0 is needed — give more, such as 8h")
    chosen = RECIPES[recipe]()
    found: list[Candidate] = []
    stopped = "all sizes were timed"
    with tempfile.TemporaryDirectory(prefix="unmask-plan-") as aside:
        say(f"looking at {text}")
        store, about = look(Path(text), Path(aside), vocab_size)
        for size in sizes:
            wanted = length or int(chosen.training(size)["length"])
            parameters, _ = count(chosen, store, size, wanted)
            if found and STATE * parameters > 0.8 * memory():
                need = show_bytes(STATE * parameters)
                stopped = f"{size} needs {need} and more, this machine has {show_bytes(memory())}"
                break
            say(f"timing {size}")
            timing = time_steps(chosen, store, size, length=length, limit=limit)
            candidate = work_out(timing, budget, about)
            if not found and candidate.seconds_per_update > budget:
                raise UnmaskError(
                    f"budget is {show_seconds(budget)} and one update of {size} takes "
                    f"{show_seconds(candidate.seconds_per_update)} — at least one must fit — give more time"
                )
            found.append(candidate)
            if not candidate.worth:
                stopped = f"{size} is not worth training in the time, so a larger one is not either"
                break
    worth = [candidate.size for candidate in found if candidate.worth]
    largest = found[-1]
    rate = largest.tokens_per_second * largest.body / LECTURE_BODY
    return Plan(
        recipe=recipe,
        budget=budget,
        source=str(text),
        vocab_size=vocab_size,
        text=about,
        candidates=tuple(found),
        advised=worth[-1] if worth else None,
        stopped=stopped,
        lecture_seconds=LECTURE_TOKENS / rate,
        lecture_short_seconds=LECTURE_SHORT / rate,
        lecture_from=largest.size,
    )


def work_out(timing: Timing, budget: float, text: Text) -> Candidate:
    """A size in the budget: the median step, and the spread from the slowest and the fastest tenth of them."""
    fast, middle, slow = (float(value) for value in np.quantile(timing.seconds, (0.1, 0.5, 0.9)))
    accumulate = -(-timing.batch // timing.rows)
    update = middle * timing.batch / timing.rows
    tokens = budget / middle * timing.tokens
    updates = int(budget / update)
    per_parameter = tokens / timing.body
    return Candidate(
        size=timing.size,
        parameters=timing.parameters,
        body=timing.body,
        batch=timing.batch,
        accumulate=accumulate,
        length=timing.length,
        timed=len(timing.seconds),
        seconds_per_update=update,
        tokens_per_second=timing.tokens / middle,
        updates=updates,
        tokens=tokens,
        low=budget / slow * timing.tokens,
        high=budget / fast * timing.tokens,
        epochs=tokens / max(text.tokens, 1),
        per_parameter=per_parameter,
        memory=timing.memory,
        disk=int(timing.parameters * (MODEL + KEPT * CHECKPOINT + timing.snapshots) + text.disk),
        worth=per_parameter >= PER_PARAMETER and updates >= UPDATES,
    )
