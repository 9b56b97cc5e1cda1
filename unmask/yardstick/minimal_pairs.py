"""Minimal pairs: does a model prefer the acceptable sentence of each pair, and how far is that from chance?

The pseudo-log-likelihoods of `masked.py`, all three at once, over BLiMP or a file of one's own; beside them the same
network freshly drawn, several seeds, since an untrained body is not at 50 on every phenomenon. Kept in
RUN/evaluation/minimal-pairs.json (minimal-pairs.NAME.json for a file of one's own, ….first-N.json for the first N
pairs of every paradigm). bf16 is used where it changes nothing that matters: a sample of pairs is scored in both
precisions first, and what that changed is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from unmask.errors import UnmaskError, nearest
from unmask.jobs.source import Source, open_source
from unmask.processes import device
from unmask.run import Run
from unmask.settings import show_seconds, to_json
from unmask.train import working_precision
from unmask.yardstick.likelihood import Reader, cut, reader_of, scores
from unmask.yardstick.masked import SCORINGS, Scoring, Sentence
from unmask.yardstick.pairs import Pairs, read_pairs
from unmask.yardstick.seen import seen
from unmask.yardstick.verdicts import judge, verdicts

Precision = Literal["auto", "bf16", "fp32"]
Json = dict[str, Any]
SAMPLE = 201  # pairs that are scored in both precisions
CHANGED = 0.02  # share of the sample's verdicts that bf16 may change; their mean moves by less
CONTROL = 200  # pairs of a paradigm for untrained bodies: their mean over BLiMP is then known to half a point


def minimal_pairs(
    run: str | Path,
    data: str | Path | None = None,
    *,
    scoring: Sequence[Scoring] = SCORINGS,
    each: int | None = None,
    untrained_seeds: int = 5,
    untrained_each: int = CONTROL,
    precision: Precision = "auto",
    watch: Callable[[Json], None] = lambda event: None,
) -> Json:
    """Score a pre-trained run or model folder, and in a run folder keep the result.

    `data`: a file or folder of pairs (`pairs.read_pairs`); BLiMP without it. `each`: the first pairs of every paradigm
    that are scored, all if not given; `untrained_each` the same for untrained bodies. Raises UnmaskError before
    anything is computed for a folder without a masked-LM head, unreadable pairs, and sentences longer than the model.
    """
    if precision not in get_args(Precision):
        raise UnmaskError(
            f'precision "{precision}" — expected auto, bf16 or fp32 — choose one.'
            + nearest(precision, get_args(Precision))
        )
    for given in scoring:
        if given not in SCORINGS:
            raise UnmaskError(
                f'scoring "{given}" — expected some of {", ".join(SCORINGS)} — choose one.{nearest(given, SCORINGS)}'
            )
    forms = [name for name in SCORINGS if name in scoring]
    if not forms:
        raise UnmaskError(f"no scoring is named — expected some of {', '.join(SCORINGS)} — name one")
    if untrained_seeds < 0:
        raise UnmaskError(f"untrained seeds are {untrained_seeds} — 0 or more is needed — give 0 for none")
    if untrained_each < 1 or (each is not None and each < 1):
        raise UnmaskError("fewer than 1 pair a paradigm is asked for — at least 1 is needed — give more")
    source = open_source(Path(run))
    reader = reader_of(source)
    pairs = read_pairs(Path(data) if data is not None else None)
    if each is not None:
        pairs = pairs.shortened(each)
    sentences = _cut(pairs, source)
    started = time.perf_counter()
    chosen, gate, speed = _gate(reader, pairs, sentences, forms, precision)
    control = pairs.first(untrained_each)
    whole = len(pairs) + untrained_seeds * len(control)
    _say(
        watch,
        f"{len(pairs):,} pairs of {pairs.name}, and {untrained_seeds} × {len(control):,} for untrained bodies, in "
        f"{'bf16' if chosen == torch.bfloat16 else 'fp32'}: about {show_seconds(whole / speed)}",
    )
    begun = time.perf_counter()
    every = list(range(len(pairs)))
    found = _judged(reader.to(chosen), pairs, every, sentences, forms, _progress(watch, "the run", begun))
    took = time.perf_counter() - begun
    drawn = []
    for seed in range(untrained_seeds):
        begun_control = time.perf_counter()
        tell = _progress(watch, f"untrained body {seed}", begun_control)
        drawn.append(_judged(reader_of(source, seed).to(chosen), pairs, control, sentences, forms, tell))
    result: Json = {
        "pairs": {
            "name": pairs.name,
            "count": len(pairs),
            "each": each,
            "equal": pairs.equal,
            "digest": pairs.digest,
            "paradigms": len(pairs.paradigms()),
        },
        "scorings": {name: to_json(one) for name, one in found.items()},
        "untrained": {
            "seeds": list(range(untrained_seeds)),
            "pairs": len(control),
            "scorings": {name: [to_json(one[name]) for one in drawn] for name in forms} if drawn else {},
        },
        "precision": gate,
        "pairs_per_second": len(pairs) / took,
        "seconds": time.perf_counter() - started,
        "seen": seen(Path(run)),
    }
    if (Path(run) / "run.json").is_file():
        kept = ["minimal-pairs"]
        kept += [Path(data).name.partition(".")[0]] if data is not None else []
        kept += [f"first-{each}"] if each is not None else []
        Run.open(run).save_evaluation(".".join(kept), result)
    return result


def lines(result: Json) -> list[str]:
    """The result for a terminal: a line a phenomenon, the untrained bodies' range beside it."""
    pairs, scorings = result["pairs"], result["scorings"]
    first = f" (the first {pairs['each']:,} of every paradigm)" if pairs["each"] else ""
    found = [f"{pairs['count']:,} pairs of {pairs['name']}{first}, accuracy × 100 by pseudo-log-likelihood"]
    head = f"{'':<26}" + "".join(f"{name.replace('_', ' '):>14}" for name in scorings) + f"{'untrained':>16}"
    found.append(head)
    names = list(next(iter(scorings.values()))["phenomena"])
    for name in [*names, None]:
        line = f"{(name or 'mean over paradigms'):<26.26}"
        for one in scorings.values():
            line += f"{(one['phenomena'][name] if name else one['whole'])['accuracy']:>14.1f}"
        drawn = result["untrained"]["scorings"].get(next(iter(scorings)), [])
        values = [(one["phenomena"][name] if name else one["whole"])["accuracy"] for one in drawn]
        found.append(line + (f"{min(values):>9.1f} – {max(values):.1f}" if values else ""))
    ties = next(iter(scorings.values()))["whole"]["ties"]
    same = f", {pairs['equal']} of them pairs of equal sentences" if pairs["equal"] else ""
    found.append(f"ties {ties:.2f} % of the pairs, counted half{same}")
    return found


def _cut(pairs: Pairs, source: Source) -> list[Sentence]:
    """Good and bad sentence of pair n at 2n and 2n + 1."""
    texts = [text for pair in pairs.items for text in (pair.good, pair.bad)]
    return cut(
        texts,
        source.tokenizer,
        source.loaded.shape.positions,
        lambda n: f'{pairs.items[n // 2].where}: "{texts[n][:60]}"',
    )


def _gate(
    reader: Reader, pairs: Pairs, sentences: list[Sentence], forms: Sequence[Scoring], precision: Precision
) -> tuple[torch.dtype, Json, float]:
    """The precision to use, what bf16 changed on the sample, and pairs a second in it."""
    paradigms = len(pairs.paradigms())
    numbers = pairs.first(max(1, SAMPLE // paradigms))[: max(SAMPLE, paradigms)]
    half = working_precision("auto" if precision == "auto" else precision, device()) == torch.bfloat16
    found, speeds = {}, {}
    for dtype in (torch.float32, torch.bfloat16) if half else (torch.float32,):
        begun = time.perf_counter()
        found[dtype] = _pairs_scores(reader.to(dtype), numbers, sentences, forms)
        speeds[dtype] = len(numbers) / (time.perf_counter() - begun)
    if not half:
        return torch.float32, {"used": "fp32"}, speeds[torch.float32]
    full, small = found[torch.float32], found[torch.bfloat16]
    changed = float((verdicts(*full) != verdicts(*small)).mean())
    used = torch.bfloat16 if precision == "bf16" or changed <= CHANGED else torch.float32
    facts = {
        "used": "bf16" if used == torch.bfloat16 else "fp32",
        "sample": len(numbers),
        "largest_difference": float(np.abs(full - small).max()),
        "verdicts_changed": 100 * changed,
        "allowed": 100 * CHANGED,
    }
    return used, facts, speeds[used]


def _pairs_scores(
    reader: Reader,
    numbers: Sequence[int],
    sentences: list[Sentence],
    forms: Sequence[Scoring],
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> np.ndarray:
    """Good and bad scores of some pairs in every form: [2, forms, pairs]."""
    chosen = [sentences[2 * n + side] for n in numbers for side in (0, 1)]
    found = scores(reader, chosen, forms, tell)  # [forms, 2 · pairs]
    return np.stack([found[:, 0::2], found[:, 1::2]])


def _judged(
    reader: Reader,
    pairs: Pairs,
    numbers: list[int],
    sentences: list[Sentence],
    forms: Sequence[Scoring],
    tell: Callable[[int, int], None],
) -> dict[str, Any]:
    good, bad = _pairs_scores(reader, numbers, sentences, forms, tell)
    return {name: judge(pairs, numbers, good[n], bad[n]) for n, name in enumerate(forms)}


def _say(watch: Callable[[Json], None], text: str) -> None:
    watch({"event": "say", "text": text})


def _progress(watch: Callable[[Json], None], what: str, begun: float) -> Callable[[int, int], None]:
    def tell(done: int, of: int) -> None:
        seconds = time.perf_counter() - begun
        left = seconds * (of - done) / max(done, 1)
        watch(
            {
                "event": "step",
                "text": f"sentences of {what}",
                "step": done,
                "steps": of,
                "seconds": seconds,
                "left": left,
            }
        )

    return tell
