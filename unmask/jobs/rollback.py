"""Going back: what a run does whose loss or gradient stays not finite, so that it costs some rows and not the night.

An update that is not finite is left out. After `Training.skips` of them in a row the run returns to where it was
`BACK` updates before the first, and from there on reads the rows that come after the bad ones. After
`Training.rollbacks` returns it ends with an error that names the step, the rows and what to try. Large runs were
restarted in this way by hand (PaLM, Chowdhery et al. 2022, section 5.1: about 100 steps before the spike, past 200 to
500 batches).

Differs in that where to is a count of updates and not "the last checkpoint": the clock decides when checkpoints are
written, so with the last one a run that was killed would end in other bytes. The newest whole checkpoint at or before
that update is loaded (else the run begins anew) and the updates in between are done again, with the same result as
before. A return is written to run.json before anything else happens, so a kill at any instant repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unmask.settings import from_json

BACK = 100  # updates before the first bad one that a run returns to


@dataclass(frozen=True)
class Rollback:
    """One return. Batch number b holds the rows b · batch to (b + 1) · batch − 1."""

    step: int  # the last of the updates that were not finite
    to: int  # the update after which it goes on
    batch: int  # the number of the batch that update to + 1 reads
    rows: str  # the rows that were not finite, in words
    seconds: float  # of training when it happened


def recorded(about: Mapping[str, Any]) -> tuple[Rollback, ...]:
    """The returns that stand in run.json, in their order."""
    return tuple(from_json(Rollback, entry, "run.json: rollbacks") for entry in about.get("rollbacks", []))


def batch_of(update: int, rollbacks: Sequence[Rollback]) -> int:
    """The number of the batch that update number `update` (1 is the first) reads."""
    for one in reversed(rollbacks):
        if update > one.to:
            return one.batch + update - one.to - 1
    return update - 1


def target(step: int, skips: int) -> int:
    """The update to return to when the last `skips` up to `step` were not finite."""
    return max(0, step - skips - BACK)


def stands(step: int, seen: int, rollbacks: Sequence[Rollback]) -> bool:
    """Whether a checkpoint of `step`, written when `seen` returns had happened, is not of a path that was left."""
    return all(one.to >= step for one in rollbacks[seen:])


def rows_of(updates: range, batch: int, rollbacks: Sequence[Rollback]) -> str:
    """The rows that these updates read, in words: "40 to 79", or "36 to 39 and 80 to 115"."""
    spans: list[list[int]] = []
    for number in (batch_of(update, rollbacks) for update in updates):
        if spans and spans[-1][1] == number * batch - 1:
            spans[-1][1] = (number + 1) * batch - 1
        else:
            spans.append([number * batch, (number + 1) * batch - 1])
    return " and ".join(f"{first} to {last}" for first, last in spans)
