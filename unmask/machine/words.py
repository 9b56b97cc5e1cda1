"""A plan in words: the table, the advice and its rule, how sure it is, and what the lecture's BERT would take."""

from __future__ import annotations

import re
import shlex

from unmask.machine.plan import LECTURE_TOKENS, PER_PARAMETER, UPDATES, Candidate, Plan
from unmask.settings import show_bytes, show_count, show_seconds

MANY = 40  # epochs of the original BERT; more of the same text teaches little


def words(plan: Plan) -> str:
    """The plan as lines for the terminal."""
    text = plan.text
    how = "counted" if text.exact else f"estimated from {show_bytes(text.sampled)} of it"
    lines = [
        f"text      {show_count(text.tokens)} tokens, {how}; as a corpus {show_bytes(text.disk)} on disk",
        f"time      {show_seconds(plan.budget)} with the recipe {plan.recipe}",
        "",
        f"{'size':8}{'parameters':>16}{'tokens/s':>10}{'updates':>12}{'tokens seen':>16}{'epochs':>9}"
        f"{'seen/param.':>13}{'memory':>9}{'disk':>9}",
        *(_row(candidate) for candidate in plan.candidates),
        "",
        f"No larger size was timed: {plan.stopped}."
        if plan.stopped.split()[0] != "all"
        else "All sizes were timed.",
        f"The rule: a size is worth its time from {PER_PARAMETER:.0f} tokens seen for each parameter of its layers and "
        f"{UPDATES:,} updates on. It is a rule of thumb, not a law.",
        *_advice(plan),
        *_sure(plan),
        *_lecture(plan),
    ]
    return "\n".join(lines)


def _row(size: Candidate) -> str:
    return (
        f"{size.size:8}{show_count(size.parameters):>16}{size.tokens_per_second:>10,.0f}{size.updates:>12,}"
        f"{show_count(size.tokens):>16}{size.epochs:>9.3g}{size.per_parameter:>13.3g}"
        f"{show_bytes(size.memory):>9}{show_bytes(size.disk):>9}"
    )


def _advice(plan: Plan) -> list[str]:
    if plan.advised is None:
        smallest = plan.candidates[0]
        need = max(
            PER_PARAMETER * smallest.body / smallest.tokens_per_second, UPDATES * smallest.seconds_per_update
        )
        return [
            f"Advice: no size is worth training in {show_seconds(plan.budget)}; {smallest.size} would be in about "
            f"{show_seconds(need)}. A shorter run shows that it works, not how well."
        ]
    size = next(candidate for candidate in plan.candidates if candidate.size == plan.advised)
    split = f" --accumulate {size.accumulate}" if size.accumulate > 1 else ""
    made = plan.source if plan.text.exact else "corpus"
    lines = [f"Advice: {size.size}, the largest that is worth it. Next:"]
    if not plan.text.exact:
        lines.append(
            f"  unmask corpus {shlex.quote(plan.source)} --out corpus --vocab-size {plan.vocab_size}"
        )
    lines.append(
        f"  unmask pretrain {plan.recipe} {shlex.quote(made)} --size {size.size} --length {size.length} "
        f"--budget {_written(plan.budget)}{split}"
    )
    if size.epochs > MANY:
        lines.append(
            f"The text would be read {size.epochs:.0f} times; past {MANY} or so it teaches little. "
            f"More text helps more than more time, or {show_seconds(plan.budget * MANY / size.epochs)} will do."
        )
    return lines


def _written(seconds: float) -> str:
    """A duration as an option is written: 8h, 1h30m, 90s."""
    return re.sub(r"(?<=[a-z])00[ms]$", "", show_seconds(seconds).replace(" ", ""))


def _sure(plan: Plan) -> list[str]:
    size = next((c for c in plan.candidates if c.size == plan.advised), plan.candidates[0])
    return [
        f"How sure: {size.timed} steps of {size.size} were timed; by the slower and the faster of them the tokens lie "
        f"between {show_count(size.low)} and {show_count(size.high)}. A machine that gets hot or busy is slower than "
        "that, and the held-out checks of a run take some of its time."
    ]


def _lecture(plan: Plan) -> list[str]:
    return [
        f"The original BERT (12 × 768; 1 million updates of 256 rows of 512, {show_count(LECTURE_TOKENS)} tokens) "
        f"would take about {_years(plan.lecture_seconds)} here, or {_years(plan.lecture_short_seconds)} with nine "
        f"tenths of its updates on rows of 128, as it was done. Scaled from {plan.lecture_from} by the "
        "parameters of the layers; attention over long rows comes on top, and large matrices run somewhat faster."
    ]


def _years(seconds: float) -> str:
    days = seconds / 86400
    if days < 2:
        return show_seconds(seconds)
    number, unit = (days, "days") if days < 400 else (days / 365.25, "years")
    return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
