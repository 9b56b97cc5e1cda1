"""What a run measures of itself between two lines of metrics.jsonl, and what its lines say when read again.

A line holds sums divided by counts, so it is exact whatever it spans. A run by time also records each step's place
in the schedule; `recorded_places` is what a replay follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.run import Run
from unmask.train import Step

NEAR = 0.01  # a loss this close to the unigram entropy, as a share of it, is on the line
SMOOTHING = 0.1  # weight of a new line in the smoothed loss
LEAST = 5  # lines of the last third below which nothing is said
STRETCH = 0.1  # share of the schedule after warm-up on the line, after which a running training is told so
CAUSES = (
    "Likely causes: a learning rate that is too high or too low, a text of repeated lines or one too short to learn "
    "order from, or too few steps"
)


@dataclass
class Meter:
    """What was seen since the last line."""

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
        """The means over `seconds`; no loss where every update was left out."""
        skipped = {"skipped": self.skipped} if self.skipped else {}
        terms = {t: self.sums[t] / n for t, n in self.counts.items() if n}
        if not terms:
            return dict(skipped)
        main = next(iter(terms))
        correct = self.sums.get(f"{main}_correct")
        return {
            "loss": sum(terms.values()),
            "terms": terms,
            "accuracy": None if correct is None else correct / self.counts[main],
            "tokens_per_second": self.tokens / max(seconds, 1e-9),
            **skipped,
        }


def recorded_places(run: Path) -> list[float]:
    """Each step's place in the schedule of a run that was trained by time.

    Raises UnmaskError where it recorded none, or where lines are missing or doubled.
    """
    places: list[float] = []
    for line in Run.open(run).metrics():
        if "places" in line:
            places += line["places"]
            if len(places) != line["step"]:
                raise UnmaskError(
                    f"{run}: {len(places)} places up to the line of step {line['step']} — one for every step was "
                    "expected; lines of metrics.jsonl are missing or doubled — a replay would be another run"
                )
    if not places:
        raise UnmaskError(
            f"{run} recorded no places — only a run with --budget does — give that run, or --steps"
        )
    return places


def _off(value: float, unigram: float) -> bool:
    """Whether a loss is not on the line. A text of one word alone has an entropy of 0, which nothing divides."""
    return abs(value - unigram) > NEAR * unigram


def stuck(lines: Sequence[dict[str, Any]], term: str, unigram: float, warmup: float) -> str | None:
    """What to tell of a run whose smoothed `term` stayed at the unigram entropy over the last third of its schedule.

    None for a run that left the line, or that has too few lines to say so.
    """
    smooth, last = None, []
    for line in lines:
        if (line.get("terms") or {}).get(term) is None or line.get("place", 0.0) < warmup:
            continue
        value = float(line["terms"][term])
        smooth = value if smooth is None else (1 - SMOOTHING) * smooth + SMOOTHING * value
        if line["place"] >= 2 / 3:
            last.append(smooth)
    if len(last) < LEAST or any(_off(value, unigram) for value in last):
        return None
    return (
        f"the masked loss stayed at {last[-1]:.2f} nats, where the frequencies of words alone lead "
        f"({unigram:.2f}): the model has learnt nothing of their order. {CAUSES}"
    )


class Plateau:
    """Says, once and while a run trains, that its smoothed `term` sits at the unigram entropy.

    Every run passes that line, most within a hundredth or two of the schedule after warm-up; one that is on it for
    `STRETCH` of it is told. `before` are the lines of earlier sittings, of which nothing is said again.
    """

    def __init__(self, term: str, unigram: float, warmup: float, before: Sequence[dict[str, Any]]) -> None:
        self._term, self._unigram, self._warmup = term, unigram, warmup
        self._smooth: float | None = None
        self._since: float | None = None  # the place at which it came on the line
        self._lines = 0  # since then
        self._said = False
        for line in before:
            self.add(line)

    def add(self, line: dict[str, Any]) -> str | None:
        """What to tell after this line of metrics.jsonl, if anything."""
        value = (line.get("terms") or {}).get(self._term)
        if value is None or line.get("place", 0.0) < self._warmup:
            return None
        self._smooth = value if self._smooth is None else (1 - SMOOTHING) * self._smooth + SMOOTHING * value
        if _off(self._smooth, self._unigram):
            self._since, self._lines = None, 0
            return None
        self._since = line["place"] if self._since is None else self._since
        self._lines += 1
        if self._said or self._lines < LEAST or line["place"] - self._since < STRETCH:
            return None
        self._said = True
        return (
            f"step {line['step']:,}: the masked loss sits at {self._smooth:.2f} nats, where the frequencies of words "
            f"alone lead ({self._unigram:.2f}), and has for {100 * (line['place'] - self._since):.0f} % of the run: so "
            f"far the model has learnt nothing of their order. {CAUSES}"
        )
