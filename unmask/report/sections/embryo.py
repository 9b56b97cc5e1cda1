"""The section of `unmask embryo`: which words are learnt when, probes, a task over the steps, and watched sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unmask.report.read import Run
from unmask.report.sections.embryo_figures import curves, order, probe, task
from unmask.report.sections.form import Cell, Figure, Section, Table, Viewer, Watched
from unmask.settings import show_count, show_seconds

Json = dict[str, Any]
NAMES = {
    "ADJ": "adjectives", "ADP": "prepositions", "ADV": "adverbs", "AUX": "auxiliaries", "CCONJ": "conjunctions",
    "DET": "determiners", "INTJ": "interjections", "NOUN": "nouns", "NUM": "numbers", "PART": "particles",
    "PRON": "pronouns", "PROPN": "proper nouns", "SCONJ": "subordinators", "VERB": "verbs",
}  # fmt: skip


def section(run: Run, value: Json) -> Section | None:
    """Figures, the ordered list, and the viewer. None where no class was looked at."""
    classes, runs = value.get("classes"), value.get("runs")
    if not isinstance(classes, dict) or not classes or not runs:
        return None
    named = {name: NAMES.get(name, name) for name in value["order"]["masked"]}
    figures = [
        Figure(
            curves(value, named, against="tokens"),
            "Masked words put back whole, against the tokens read; leftmost: before the first update",
        ),
        Figure(
            curves(value, named, against="tokens", rescaled=True),
            "The same as a share of the value at the end: how fast, not how well",
        ),
        Figure(curves(value, named, against="seconds"), "The same against the seconds of training"),
        Figure(
            curves(value, named, against="tokens", kind="seen"),
            "Unmasked words put back: the word itself through the network, not a prediction",
        ),
    ]
    if "surprisal" in value["order"]:
        figures.append(
            Figure(
                curves(value, named, against="tokens", kind="surprisal"),
                "Surprisal of masked words in nats: it falls before a first guess is right, and lower is better",
            )
        )
    if (spec := order(value, named)) is not None:
        figures.append(
            Figure(
                spec,
                "Where half of the gain is there, with its band; the diamond: other words of equal frequency",
            )
        )
    for name, one in (value.get("probes") or {}).items():
        figures.append(
            Figure(
                probe(value, one),
                f"Probe for {name}: test words classified right by a linear layer on frozen states, by layer; "
                "dashed: freshly drawn encoders",
            )
        )
    if value.get("task"):
        figures.append(
            Figure(
                task(value),
                f"{value['task']['name']}: {value['task']['metric']} by the updates of pre-training",
            )
        )
    return Section(
        title=f"How {run.name} was born",
        lead=f"{len(runs[0]['step'])} snapshots of {'its training' if len(runs) == 1 else f'{len(runs)} trainings'}, "
        f"asked for words of {value['file']}. {_first_and_last(value)}",
        figures=figures,
        tables=[_ordered(value, named), *([_task(value)] if value.get("task") else [])],
        notes=_notes(value),
        viewers=[_viewer(value)] if value.get("fills") else [],
    )


def _first_and_last(value: Json) -> str:
    """The order in a sentence, of the classes that were learnt at all."""
    names = [
        n for n in value["order"]["masked"] if value["classes"][n]["masked"]["learnt"]["tokens"] is not None
    ]
    words = [NAMES.get(name, name) for name in names]
    if not words:
        return "No part of speech was learnt."
    rest = len(value["classes"]) - len(words)
    left = f"; {rest} of {len(value['classes'])} parts of speech were not learnt" if rest else ""
    if len(words) == 1:
        return f"Only the {words[0]} were learnt{left}."
    return f"First come the {words[0]}, last the {words[-1]}{left}."


def _ordered(value: Json, named: dict[str, str]) -> Table:
    rows: list[list[Cell]] = []
    for name, words in named.items():
        entry = value["classes"][name]
        own, seen, matched = entry["masked"]["learnt"], entry["seen"]["learnt"], entry["matched"]
        other = matched["others_learnt"] if matched else None
        surprisal = entry.get("surprisal") or {}
        rows.append(
            [
                words,
                entry["words"],
                _when(own),
                _band(own),
                _when(other),
                _when(seen),
                _when(surprisal.get("learnt")),
                _nats(_last(surprisal.get("beyond"))),
                _share(_last(entry["masked"]["accuracy"])),
                _share(_last(entry["masked"]["one_piece"])),
                _share(_last(entry["masked"]["several"])),
                _share(entry["unknown"]),
            ]
        )
    head = [
        "part of speech", "words", "learnt at, tokens", "band", "other words of its frequencies", "unmasked learnt at",
        "surprisal, half of its fall", "nats below frequency alone", "masked, at the end", "words of one piece",
        "of several", "left out as unknown",
    ]  # fmt: skip
    return Table(head, rows, "The order: tokens read when half of the gain in masked accuracy is there")


def _task(value: Json) -> Table:
    found = value["task"]
    steps, tokens = value["runs"][0]["step"], value["runs"][0]["tokens"]
    rows: list[list[Cell]] = [
        [
            f"step {steps[one['snapshot']]:,}",
            show_count(tokens[one["snapshot"]]),
            round(one["median"], 1),
            f"{one['low']:.1f} – {one['high']:.1f}",
        ]
        for one in found["scores"]
    ]
    rows.append(["most frequent answer", None, round(found["majority"], 1), None])
    return Table(["snapshot", "tokens", found["metric"], "range of seeds"], rows, f"{found['name']} × 100")


def _viewer(value: Json) -> Viewer:
    run = value["runs"][0]
    moments = [
        f"step {step:,} · {show_count(tokens)} tokens · {show_seconds(seconds)}"
        for step, tokens, seconds in zip(run["step"], run["tokens"], run["seconds"], strict=True)
    ]
    sentences = []
    for item in value["fills"]:
        for mask in range(len(item["snapshots"][0])):
            guesses = [[(g["token"], g["probability"]) for g in one[mask]] for one in item["snapshots"]]
            sentences.append(Watched(item["text"], guesses))
    return Viewer(moments, sentences, "The five likeliest pieces of each blank, over the training")


def _notes(value: Json) -> list[str]:
    counts = dict(value.get("counts") or {})
    left = ", ".join(
        f"{count:,} {what}"
        for what, count in counts.items()
        if what not in ("sentences", "words", "asked") and count
    )
    notes = [
        f"{counts.get('words', 0):,} words, {counts.get('asked', 0):,} asked, the same at every snapshot; not asked: "
        f"{left or 'none'}. A word is right only if all its pieces are.",
        "Learnt: where the curve first has half of its gain, between snapshots on a log scale; the band is a bootstrap "
        f"over words{' and runs' if len(value['runs']) > 1 else ''}. Frequencies are of {value.get('frequency')}.",
        "Nats below frequency alone: how much likelier than its frequency a masked word of one piece is at the end, on "
        "average; above 0 the words around it say something.",
    ]
    for name, one in (value.get("probes") or {}).items():
        notes.append(
            f"Probe for {name}: {len(one['labels'])} classes, {one['train']:,} training and {one['test']:,} test words "
            f"of other rows; the most frequent class scores {one['majority']:.1f}."
        )
    return notes


def _when(learnt: Json | None) -> str:
    return "–" if not learnt or learnt["tokens"] is None else show_count(learnt["tokens"])


def _band(learnt: Json) -> str:
    if learnt["low"] is None:
        return "not learnt"
    rest = f"; not in {100 * learnt['not_learnt']:.0f} % of draws" if learnt["not_learnt"] > 0.005 else ""
    return f"{show_count(learnt['low'])} – {show_count(learnt['high'])}{rest}"


def _last(curves: Sequence[Sequence[float]] | None) -> float | None:
    return sum(curve[-1] for curve in curves) / len(curves) if curves else None


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
