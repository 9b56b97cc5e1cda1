"""The ledger: at every stage what came in = kept + split + cut + dropped, each with a reason, a count and samples.

`kept` goes on unchanged, `cut` goes on shorter, `split` goes on in several pieces (each counted where it comes in
next), `dropped` goes no further. The sum is checked while the work runs and again when a ledger is read, so nothing
can disappear in silence: a loop that forgets a case raises within a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OUTCOMES = ("kept", "split", "cut", "dropped")
SAMPLES = 20
_SAMPLE_CHARACTERS = 200


class LedgerError(RuntimeError):
    """The sums of a stage do not hold: a defect of the program, never of the text."""


class Stage:
    """One stage: `take` what comes in, `add` what became of it."""

    def __init__(self, name: str, unit: str) -> None:
        self.name, self.unit = name, unit
        self.came = 0
        self.counts: dict[str, dict[str, int]] = {outcome: {} for outcome in OUTCOMES}
        self.samples: dict[str, dict[str, list[str]]] = {outcome: {} for outcome in OUTCOMES}

    def take(self, count: int = 1) -> None:
        """`count` items came in."""
        self.came += count

    def add(self, outcome: str, reason: str = "", sample: str = "", count: int = 1) -> None:
        """`count` items had this outcome for this reason; the first few samples are remembered."""
        if count:
            reasons = self.counts[outcome]
            reasons[reason] = reasons.get(reason, 0) + count
        if sample:
            samples = self.samples[outcome].setdefault(reason, [])
            if len(samples) < SAMPLES:
                samples.append(sample[:_SAMPLE_CHARACTERS])

    def total(self, outcome: str) -> int:
        """How many items had this outcome, for whatever reason."""
        return sum(self.counts[outcome].values())

    def check(self) -> None:
        """Raise `LedgerError` unless in = kept + split + cut + dropped."""
        if (out := sum(self.total(outcome) for outcome in OUTCOMES)) != self.came:
            told = ", ".join(f"{outcome} {self.total(outcome)}" for outcome in OUTCOMES)
            raise LedgerError(
                f"stage {self.name}: {self.came} {self.unit} came in, {out} are accounted for ({told})"
            )

    def merge(self, other: Stage) -> None:
        """Add the counts of the same stage from elsewhere."""
        self.came += other.came
        for outcome in OUTCOMES:
            for reason, count in other.counts[outcome].items():
                self.add(outcome, reason, count=count)
            for reason, samples in other.samples[outcome].items():
                for sample in samples:
                    self.add(outcome, reason, sample, count=0)

    def line(self) -> str:
        """The stage in one line, for people."""
        parts = []
        for outcome in OUTCOMES:
            for reason, count in sorted(self.counts[outcome].items()):
                parts.append(f"{outcome} {count:,}" + (f" ({reason})" if reason else ""))
        return f"{self.name}: {self.came:,} {self.unit} = " + (" + ".join(parts) or "0")


class Ledger:
    """The stages in their order."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}

    def stage(self, name: str, unit: str = "documents") -> Stage:
        """The stage of this name, made at the first call."""
        return self.stages.setdefault(name, Stage(name, unit))

    def check(self) -> None:
        """Raise `LedgerError` at the first stage whose sum does not hold."""
        for stage in self.stages.values():
            stage.check()

    def merge(self, other: Ledger) -> None:
        """Add another ledger, stage by stage."""
        for stage in other.stages.values():
            self.stage(stage.name, stage.unit).merge(stage)

    def lines(self) -> list[str]:
        """The ledger for people, a line a stage."""
        return [stage.line() for stage in self.stages.values()]

    def to_json(self) -> dict[str, Any]:
        """`{"stages": [{name, unit, in, kept: {reason: {count, samples}}, split, cut, dropped}]}`"""
        return {"stages": [_stage_to_json(stage) for stage in self.stages.values()]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Ledger:
        """Read what `to_json` made, and check its sums."""
        ledger = Ledger()
        for entry in data["stages"]:
            stage = ledger.stage(entry["name"], entry["unit"])
            stage.take(entry["in"])
            for outcome in OUTCOMES:
                for reason, told in entry[outcome].items():
                    stage.add(outcome, reason, count=told["count"])
                    for sample in told["samples"]:
                        stage.add(outcome, reason, sample, count=0)
        ledger.check()
        return ledger


def _stage_to_json(stage: Stage) -> dict[str, Any]:
    data: dict[str, Any] = {"name": stage.name, "unit": stage.unit, "in": stage.came}
    for outcome in OUTCOMES:
        data[outcome] = {
            reason: {"count": count, "samples": stage.samples[outcome].get(reason, [])}
            for reason, count in stage.counts[outcome].items()
        }
    return data
