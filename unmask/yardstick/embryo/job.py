"""`unmask embryo RUN --conllu FILE`: what a model had learnt at each snapshot of its pre-training, from birth on.

Over the snapshots, against tokens and time: masked and plain reconstruction by part of speech with bands, the order in
which the classes are learnt, words of other classes at the same frequencies beside each, probes with random encoders
beside them, a task's score, and the fills of a few sentences. Several runs are seeds of one setting. Kept in
RUN/evaluation/embryo.json of the first. Everything that can be wrong is found before the first snapshot is opened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.errors import UnmaskError
from unmask.processes import device
from unmask.settings import show_count, show_seconds, to_json
from unmask.tasks.read import Sentence, read_sentences
from unmask.train import working_precision
from unmask.yardstick.embryo.bodies import Body, bodies_of, unigram_of
from unmask.yardstick.embryo.look import fills, masked_says, reader_with, seen_hits
from unmask.yardstick.embryo.order import band, bins, control, learnt
from unmask.yardstick.embryo.probes import Probe, layers_of, probe_of, probed
from unmask.yardstick.embryo.sentences import sentences_of
from unmask.yardstick.embryo.tagged import Sample, read_conllu, sample
from unmask.yardstick.embryo.tasks import TaskAsked, prepared, task_scores
from unmask.yardstick.likelihood import Reader

Json = dict[str, Any]
Watch = Callable[[Json], None]
RANDOM = 3  # freshly drawn encoders beside the probes


def embryo(
    runs: Sequence[str | Path],
    conllu: str | Path,
    *,
    words: int = 500,
    entities: str | Path | None = None,
    sentences: str | Path | None = None,
    task: str | None = None,
    data: str | Path | None = None,
    task_snapshots: int = 8,
    task_seeds: int = 3,
    task_steps: int | None = None,
    watch: Watch = lambda event: None,
) -> Json:
    """Look at every snapshot of one run, or of several seeds of it, and keep what was seen.

    conllu: tagged sentences. words: at most so many of a part of speech are asked, 0 for all. entities: sentences with
    BIO tags for a second probe. sentences: lines with [MASK] for the viewer; the run's own blanks without. task:
    "SUITE:NAME", with `data`, fine-tuned from `task_snapshots` of the snapshots with `task_seeds` seeds. Raises
    UnmaskError, before any work, for runs without snapshots, files that do not fit, and whatever the task refuses.
    """
    if words < 0:
        raise UnmaskError(f"words is {words} — 0 (all) or more is needed — give another")
    bodies = bodies_of([Path(run) for run in runs])
    first = bodies[0]
    tokenizer, longest = first.source.tokenizer, first.shape.positions - 2
    unigram = unigram_of(first.run)
    tagged = sample(read_conllu(Path(conllu)), tokenizer, longest=longest, most=words, unigram=unigram)
    probes = {"part of speech": probe_of(tagged)}
    if entities is not None:
        marked = _types(read_sentences(Path(entities)), Path(entities))
        names = sorted({tag for s in marked for tag in s.tags})
        found = sample(marked, tokenizer, longest=longest, most=words, unigram=unigram, names=names)
        probes["entity"] = probe_of(found)
    texts = sentences_of(first, Path(sentences) if sentences is not None else None)
    asked = prepared(first, task, data, task_snapshots, task_seeds, task_steps)
    say(watch, _counted(tagged, Path(conllu).name))
    started = time.perf_counter()
    looks = [_look(body, tagged, probes, texts if n == 0 else [], watch) for n, body in enumerate(bodies)]
    result: Json = {
        "runs": [_facts(body) for body in bodies],
        "file": Path(conllu).name,
        "counts": tagged.counts,
        "frequency": "the corpus of the pre-training" if unigram is not None else "the file of tags",
        **_classes(tagged, bodies, looks),
        "probes": {name: _probe(probe, first, looks, name) for name, probe in probes.items()},
        "fills": [
            {"text": text, "snapshots": [one["fills"][n] for one in looks[0]]} for n, text in enumerate(texts)
        ],
        "task": _task(bodies, asked, watch),
        "seconds": time.perf_counter() - started,
    }
    first.run.save_evaluation("embryo", result)
    return result


def say(watch: Watch, text: str) -> None:
    watch({"event": "say", "text": text})


def _counted(tagged: Sample, name: str) -> str:
    rest = {k: v for k, v in tagged.counts.items() if k not in ("sentences", "words", "asked") and v}
    left = ", ".join(f"{count:,} {what}" for what, count in rest.items())
    return (
        f"{name}: {tagged.counts['words']:,} words of {tagged.counts['sentences']:,} sentences, "
        f"{tagged.counts['asked']:,} of {len(tagged.classes)} parts of speech asked; not asked: {left or 'none'}"
    )


def _types(sentences: Sequence[Sentence], path: Path) -> list[Sentence]:
    """BIO tags as the types of entities: B-person and I-person are person."""
    found = [
        Sentence(
            s.line,
            s.words,
            tuple(t.partition("-")[2] if t[:2] in ("B-", "I-", "E-", "S-", "M-") else "O" for t in s.tags),
            s.group,
        )
        for s in sentences
    ]
    if all(tag == "O" for s in found for tag in s.tags):
        raise UnmaskError(
            f"{path} marks no entity — expected tags such as B-person, I-person and O — name another file"
        )
    return found


def _look(
    body: Body, tagged: Sample, probes: dict[str, Probe], texts: Sequence[str], watch: Watch
) -> list[Json]:
    """What each snapshot of a run says."""
    training = body.run.settings["training"]
    dtype = working_precision(training.get("precision", "auto"), device())
    layers, found, begun = layers_of(body.shape.layers), [], time.perf_counter()
    for n, snapshot in enumerate(body.snapshots, 1):
        reader = reader_with(body.recipe, body.shape, body.source.frame, snapshot.weights(), dtype)
        found.append(_one(reader, body, tagged, probes, texts, layers))
        seconds = time.perf_counter() - begun
        left = seconds * (len(body.snapshots) - n) / n
        watch(
            {
                "event": "step", "text": f"snapshots of {body.run.folder.name}", "step": n,
                "steps": len(body.snapshots), "seconds": seconds, "left": left,
            }
        )  # fmt: skip
    return found


def _one(
    reader: Reader,
    body: Body,
    tagged: Sample,
    probes: dict[str, Probe],
    texts: Sequence[str],
    layers: list[int],
) -> Json:
    full = reader.to(torch.float32)
    hits, nats = masked_says(reader, tagged)
    return {
        "masked": hits,
        "surprisal": nats,
        "seen": seen_hits(reader, tagged),
        "probes": {name: probed(full, probe, layers) for name, probe in probes.items()},
        "fills": fills(full, body.source.tokenizer, texts),
    }


def _facts(body: Body) -> Json:
    return {
        "name": body.run.about["name"],
        "seed": body.run.settings["training"].get("seed"),
        "step": [s.step for s in body.snapshots],
        "tokens": [s.tokens for s in body.snapshots],
        "seconds": [s.seconds for s in body.snapshots],
        "place": [s.place for s in body.snapshots],
    }


def _classes(tagged: Sample, bodies: list[Body], looks: list[list[Json]]) -> Json:
    """Curves, places in the order and controls of every class."""
    hits = {
        kind: [np.stack([one[kind] for one in look]).astype(np.float64) for look in looks]
        for kind in ("masked", "seen")
    }  # [snapshots, words] of each run
    surprisal = [np.stack([one["surprisal"] for one in look]) for look in looks]
    tokens = [body.tokens for body in bodies]
    frequency = np.array([w.frequency for w in tagged.words])
    single, where = frequency > 0, bins(frequency)
    one_piece = np.array([len(w.ids) == 1 for w in tagged.words])
    classes: Json = {}
    for name, numbers in tagged.classes.items():
        own = np.zeros(len(tagged.words), bool)
        own[numbers] = True
        entry: Json = {
            "words": len(numbers),
            "one_piece": int((own & one_piece).sum()),
            "unknown": tagged.unknown.get(name, 0.0),
            "log2_frequency": float(np.log2(frequency[own & single]).mean())
            if (own & single).any()
            else None,
        }
        for kind, found in hits.items():
            bands = [band([h[:, own]]) for h in found]
            entry[kind] = {
                "accuracy": [(h[:, own].mean(1)).tolist() for h in found],
                "low": [b[0].tolist() for b in bands],
                "high": [b[1].tolist() for b in bands],
                "one_piece": _mean(found, own & one_piece),
                "several": _mean(found, own & ~one_piece),
                "learnt": to_json(learnt([h[:, own] for h in found], tokens)),
            }
        entry["surprisal"] = _surprisal(surprisal, tokens, frequency, own)
        matched = control(tagged.classes, name, where)
        entry["matched"] = None
        if matched is not None:
            used = matched.others > 0
            entry["matched"] = {
                "covered": matched.covered,
                "own": [(h @ matched.own).tolist() for h in hits["masked"]],
                "others": [(h @ matched.others).tolist() for h in hits["masked"]],
                "learnt": to_json(learnt([h[:, matched.own > 0] for h in hits["masked"]], tokens)),
                "others_learnt": to_json(
                    learnt([_weighted(h[:, used], matched.others[used]) for h in hits["masked"]], tokens)
                ),
            }
        classes[name] = entry
    return {
        "classes": classes,
        "order": {kind: _order(classes, kind) for kind in (*hits, "surprisal")},
    }


def _surprisal(
    nats: list[np.ndarray], tokens: list[np.ndarray], frequency: np.ndarray, own: np.ndarray
) -> Json:
    """The mean surprisal of a class, when half of its fall is over, and how far below that of frequency alone it is.

    `beyond`: of words of one piece whose frequency is known, minus the logarithm of that frequency, less their
    surprisal; above 0 the context says something.
    """
    bands = [band([n[:, own]]) for n in nats]
    known = own & (frequency > 0)
    alone = -np.log(frequency[known])
    return {
        "nats": [n[:, own].mean(1).tolist() for n in nats],
        "low": [b[0].tolist() for b in bands],
        "high": [b[1].tolist() for b in bands],
        "beyond": [(alone - n[:, known]).mean(1).tolist() for n in nats] if known.any() else None,
        "learnt": to_json(learnt([-n[:, own] for n in nats], tokens)),
    }


def _weighted(hits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Hits whose plain mean is the weighted one, so that words can be drawn: [snapshots, words]."""
    scaled: np.ndarray = hits * (weights * len(weights) / weights.sum())
    return scaled


def _mean(found: list[np.ndarray], chosen: np.ndarray) -> list[list[float]] | None:
    return [h[:, chosen].mean(1).tolist() for h in found] if chosen.any() else None


def _order(classes: Json, kind: str) -> list[str]:
    """Classes by where they are learnt; those that are not come last."""
    return sorted(classes, key=lambda name: (classes[name][kind]["learnt"]["tokens"] or float("inf"), name))


def _probe(probe: Probe, body: Body, looks: list[list[Json]], name: str) -> Json:
    layers = layers_of(body.shape.layers)
    random = [
        probed(
            reader_with(body.recipe, body.shape, body.source.frame, None, torch.float32, 1000 + n),
            probe,
            layers,
        )
        for n in range(RANDOM)
    ]
    return {
        "labels": list(probe.labels),
        "train": int(probe.training.sum()),
        "test": int((~probe.training).sum()),
        "majority": probe.majority,
        "layers": layers,
        "accuracy": [[one["probes"][name] for one in look] for look in looks],
        "random": random,
    }


def _task(bodies: list[Body], asked: TaskAsked | None, watch: Watch) -> Json | None:
    return None if asked is None else task_scores(bodies[0], asked, lambda text: say(watch, text), watch)


def lines(result: Json) -> list[str]:
    """The order for a terminal: a class a line, when it is learnt, and how well it ends."""
    runs = result["runs"]
    found = [
        f"masked words of {result['file']} over {len(runs[0]['step'])} snapshots"
        + (f", {len(runs)} seeds" if len(runs) > 1 else ""),
        f"{'':<7}{'learnt at (tokens)':<44}{'same frequency':>16}{'at the end':>12}{'beyond frequency':>18}",
    ]
    for name in result["order"]["masked"]:
        entry = result["classes"][name]
        own, matched = entry["masked"]["learnt"], entry["matched"]
        other = matched["others_learnt"]["tokens"] if matched else None
        when = "not learnt" if own["tokens"] is None else _band(own)
        end = np.mean([curve[-1] for curve in entry["masked"]["accuracy"]])
        beyond = entry["surprisal"]["beyond"]
        nats = f"{np.mean([curve[-1] for curve in beyond]):+.2f} nats" if beyond else "–"
        found.append(
            f"{name:<7}{when:<44}{show_count(other) if other else '–':>16}{100 * end:>10.1f} %{nats:>18}"
        )
    found.append(f"in {show_seconds(result['seconds'])}")
    return found


def _band(own: Json) -> str:
    return f"{show_count(own['tokens'])} [{show_count(own['low'])} – {show_count(own['high'])}]"
