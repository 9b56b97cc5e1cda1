"""What settings of pre-training are worth at tasks: bodies of equal time, adapted with few labelled rows.

    python -m benchmarks.transfer [--only NAME …] [--seconds 400] [--bodies 2] [--tasks tag blank] [--factors 1 2 0.5]

The loss alone misleads: bodies trained with Muon fill blanks better and are worse at tasks (docs/log.md, 2026-11-27).
Every line is `modern` at size mini with one change, on the corpus of the English quickstart, a budget of one thread a
body, two beside each other. Each body is adapted to the quickstart's tasks, three seeds, at its rate for pre-trained
bodies times each factor; for a line the factor is chosen on dev (mean over its bodies of the median), and test is
told. Held-out nats of different vocabularies do not compare; scores do. What was pre-trained or adapted before under
`--runs` is not repeated. The table is printed as Markdown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.published_sets import unmask
from unmask.data import english
from unmask.quickstart import PLANS, TOKENIZERS, Job, command, job_of
from unmask.run import Run, read_json
from unmask.store.build import build


@dataclass(frozen=True)
class Line:
    """What is added to `unmask pretrain modern`, and the pieces of the tokenizer.

    shallow: the share of the run in which a network of half the depth is trained, which is then stacked. It and `loop`
    are trained by `benchmarks.ours`, with the same steps and without a run folder, by processor time.
    """

    words: tuple[str, ...] = ()
    vocab: int = 8192
    shallow: float = 0.0
    loop: bool = False


LINES = {
    "default": Line(),
    "Muon at 4e-3": Line(("--optimizer", "muon", "--learning-rate", "4e-3")),
    "Muon at 4e-3, decay 0.1": Line(
        ("--optimizer", "muon", "--learning-rate", "4e-3", "--weight-decay", "0.1")
    ),
    "40 % chosen": Line(("--rate", "0.4")),
    "rows of 64": Line(("--length", "64")),
    "default, by the loop alone": Line(loop=True),
    "depth 2, then 4": Line(shallow=0.4, loop=True),
    "vocabulary 4,096": Line(vocab=4096),
    "vocabulary 16,384": Line(vocab=16384),
}


def corpus(runs: Path, vocab: int) -> Path:
    """Where the corpus with so many pieces is or will be."""
    return runs / f"corpus-{vocab}"


def material(runs: Path, vocabularies: Iterable[int]) -> dict[str, Job]:
    """The quickstart's text as corpora, and its tasks by name."""
    files = [f for f in english.write_tasks(runs / "labels", 0) if f.name in PLANS["en"]]
    excluded = sorted({text for f in files for text in f.excluded})
    for vocab in vocabularies:
        if not (corpus(runs, vocab) / "manifest.json").exists():
            build(
                documents=english.documents(0),
                out=corpus(runs, vocab),
                tokenizer=TOKENIZERS["en"],
                vocab_size=vocab,
                language="en",
                exclude=excluded,
            )
    return {f.name: job_of(f, PLANS["en"][f.name]) for f in files}


def body(runs: Path, line: str, seconds: float, seed: int) -> Path:
    """Where a body is or will be."""
    return runs / f"{line.replace(' ', '-').replace('%', 'percent').replace(',', '')}-{seconds:g}-{seed}"


def pretrain(runs: Path, line: str, seconds: float, seed: int) -> None:
    """A body, unless it is there."""
    one, out = LINES[line], str(body(runs, line, seconds, seed))
    if one.loop:
        if not (Path(out) / "nats.json").exists():
            code = f"from benchmarks.transfer import by_loop; by_loop({str(runs)!r}, {line!r}, {seconds}, {seed})"
            subprocess.run(
                [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True
            )
        return
    words = ["pretrain", "modern", str(corpus(runs, one.vocab)), "--out", out, "--budget", f"{seconds:g}"]
    unmask([*words, "--seed", str(seed), "--snapshots", "0", *one.words], 1)


def by_loop(folder: str, line: str, seconds: float, seed: int) -> None:
    """A body by `benchmarks.ours`: its folder gets model/, in the precision of the training, and nats.json."""
    import torch

    from benchmarks.ours import Phase, train_for
    from unmask.jobs.look import Heldout
    from unmask.models.weights import save_pretrained
    from unmask.recipes.modern import Modern
    from unmask.run import write_json
    from unmask.store import Store
    from unmask.training import Training, resolved

    torch.set_num_threads(1)
    one, runs, recipe = LINES[line], Path(folder), Modern()
    place = corpus(runs, one.vocab)
    store, held, out = Store(place), Store(place, part="heldout"), body(runs, line, seconds, seed)
    training = resolved(recipe, "mini", Training(budget=seconds, seed=seed))
    assert training.length and training.batch
    shape = recipe.shape("mini", store.tokenizer.vocab, training.length)
    half = Phase(one.shallow, recipe, training.length, training.batch, shape.layers // 2)
    heldout = Heldout(recipe, held, training.length, torch.device("cpu"), print)

    def look(model: torch.nn.Module) -> float:
        kept = recipe.network(shape, store.tokenizer.vocab)
        kept.load_state_dict({name: value.float() for name, value in model.state_dict().items()})
        save_pretrained(out / "model", recipe.FAMILY, kept, shape, store.tokenizer, heads="pretraining")
        # Every network of a recipe is a module, and `look` is told no more.
        return heldout.loss(lambda asked, batch: asked.loss(model, batch))["mlm"]

    before = [half] if one.shallow else []
    found = train_for(recipe, shape, training, store, look, processor=True, before=before)
    write_json(out / "nats.json", found)


def nats(of: Path) -> float:
    """The held-out loss at the end."""
    if (of / "nats.json").exists():
        return float(read_json(of / "nats.json")["loss"])
    return float([x for x in Run.open(of).metrics() if "heldout" in x][-1]["heldout"]["mlm"])


def adapt(of: Path, job: Job, factor: float) -> None:
    """Three seeds of a task from a body, unless they are there."""
    plan = replace(job.plan, pretrained=job.plan.pretrained * factor)
    unmask(command(replace(job, plan=plan), of, of / "tasks" / f"{factor:g}", "pretrained", 0), 1)


def score(of: Path, task: str, factor: float, part: str) -> dict[str, Any]:
    """Median, low and high of the leading metric."""
    found = read_json(of / "tasks" / f"{factor:g}" / task / "pretrained" / "evaluation" / "finetune.json")
    scores: dict[str, Any] = found["scores"][part][found["metric"]]
    return scores


def row(bodies: Sequence[Path], task: str, factors: Sequence[float]) -> str:
    """The factor that dev chooses, and the test scores with it."""
    chosen = max(factors, key=lambda f: mean(score(of, task, f, "dev")["median"] for of in bodies))
    found = [score(of, task, chosen, "test") for of in bodies]
    told = ", ".join(f"{s['median']:.1f} [{s['low']:.1f}–{s['high']:.1f}]" for s in found)
    return f"{told} (rate × {chosen:g})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=LINES, default=list(LINES), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=400.0, help="of pre-training, on one thread")
    parser.add_argument("--bodies", type=int, default=2, help="seeds of pre-training")
    parser.add_argument("--tasks", nargs="+", choices=PLANS["en"], default=["tag", "blank"])
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 2.0, 0.5])
    parser.add_argument("--runs", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    jobs = material(args.runs, {LINES[name].vocab for name in args.only})
    seeds = range(1, args.bodies + 1)
    with ThreadPoolExecutor(args.processes) as pool:
        list(
            pool.map(
                lambda x: pretrain(args.runs, x[0], args.seconds, x[1]),
                [(n, s) for s in seeds for n in args.only],
            )
        )
        work = [
            (body(args.runs, name, args.seconds, seed), jobs[task], factor)
            for task in args.tasks
            for name in args.only
            for seed in seeds
            for factor in args.factors
        ]
        list(pool.map(lambda x: adapt(*x), work))
    print(f"| line | held-out nats | {' | '.join(args.tasks)} |\n|---|---|{'---|' * len(args.tasks)}")
    for name in args.only:
        own = [body(args.runs, name, args.seconds, seed) for seed in seeds]
        losses = ", ".join(f"{nats(of):.3f}" for of in own)
        print(
            f"| {name} | {losses} | {' | '.join(row(own, task, args.factors) for task in args.tasks)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
