"""Which settings of `modern` are best at equal time: one change a line, two seeds and more, prediction beside result.

    python -m benchmarks.ablation [--seconds 240] [--seeds 2] [--only NAME …] [--runs FOLDER]

Every line is the default with one change, trained for the same processor time on one thread, two runs beside each
other. Judged by the masked loss on the choice split of `benchmarks.time_to_loss` (the same blanks at 15 % for
all), never on its test split. A finished run is a file and is not repeated. The table is printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

SIZE = "mini"


@dataclass(frozen=True)
class Part:
    """The first part of a run: until which share of it, and what differs in it."""

    until: float
    training: dict[str, Any] = field(default_factory=dict)  # length and batch
    recipe: dict[str, Any] = field(default_factory=dict)
    layers: int = 0  # of the network meanwhile; 0: all


@dataclass(frozen=True)
class Change:
    """One line: what differs from the default, and what was expected of it before it was run."""

    name: str
    prediction: str
    training: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    shape: dict[str, Any] = field(default_factory=dict)
    before: tuple[Part, ...] = ()
    variant: str = ""  # of benchmarks.variants


CHANGES = (
    Change("default", "–"),
    Change("AdamW at 1.5e-3", "worse by 0.1: too slow for so few steps", {"learning_rate": 1.5e-3}),
    Change("AdamW at 5e-3", "within 0.05", {"learning_rate": 5e-3}),
    Change("Muon at 2e-3", "level", {"optimizer": "muon", "learning_rate": 2e-3}),
    Change("Muon at 4e-3", "known: 0.43 ahead on a Zen 4", {"optimizer": "muon", "learning_rate": 4e-3}),
    Change("Muon at 6e-3", "known: 0.35 ahead on a Zen 4", {"optimizer": "muon", "learning_rate": 6e-3}),
    Change("linear schedule", "worse by 0.05", {"schedule": "linear"}),
    Change("decay over 0.8 of the run", "within 0.03", {"decay": 0.8}),
    Change("batch 8", "better by 0.05: twice the steps", {"batch": 8}),
    Change("batch 32", "worse by 0.15: half the steps", {"batch": 32}),
    Change("15 % chosen", "worse by 0.1: half the targets a step", recipe={"rate": 0.15}),
    Change("40 % chosen", "worse by 0.03", recipe={"rate": 0.4}),
    Change("all chosen shown as [MASK]", "within 0.03", recipe={"mask": 1.0, "swap": 0.0}),
    Change("length 64", "better by 0.03: cheaper attention, less context", {"length": 64}),
    Change("rows of 64, then 128", "better by 0.05", before=(Part(0.6, {"length": 64, "batch": 32}),)),
    Change(
        "rows of 32, 64, 128",
        "better by 0.1",
        before=(Part(0.3, {"length": 32, "batch": 64}), Part(0.6, {"length": 64, "batch": 32})),
    ),
    Change("batch 8, then 16", "better by 0.05", before=(Part(0.5, {"batch": 8}),)),
    Change("40 %, then 30 % chosen", "within 0.03", before=(Part(0.6, recipe={"rate": 0.4}),)),
    Change(
        "30 %, then 15 % chosen",
        "better by 0.03: judged at 15 %",
        {},
        {"rate": 0.15},
        before=(Part(0.6, recipe={"rate": 0.3}),),
    ),
    Change("depth 2, then 4", "better by 0.05", before=(Part(0.4, layers=2),)),
    Change("untied", "worse by 0.1: a second table to learn and to move", variant="untied"),
    Change("embeddings before every layer", "better by 0.03", variant="embeddings"),
    Change("values of the first layer in all", "better by 0.03", variant="values"),
    Change("post-norm", "worse by 0.5: needs a lower rate", shape={"norm": "post"}),
    Change("learned positions", "worse by 0.1", shape={"rotary": None}),
    Change("no gate, inner width 4 H", "within 0.03", shape={"gate": False, "inner": 1024}),
    Change(
        "no gate, squared ReLU", "within 0.03", shape={"gate": False, "inner": 1024, "activation": "relu2"}
    ),
    Change("biases", "within 0.02", shape={"bias": True}),
    Change("global attention alone", "within 0.02", shape={"window": 0, "global_every": 1}),
    Change("dense layer in the head", "worse by 0.5", shape={"head": "dense"}),
    Change("moment 0.999", "worse by 0.05", {"beta2": 0.999}),
)


def run(folder: str, change: Change, seed: int, seconds: float) -> dict[str, Any]:
    """One run, or what is stored of it."""
    import torch

    from benchmarks.ours import Phase, train_for
    from benchmarks.time_to_loss import cloze, material
    from unmask.recipes.modern import Modern
    from unmask.run import write_json
    from unmask.training import Training, resolved

    name = change.name.replace(",", "").replace(" ", "-").replace("%", "")
    path = Path(folder) / f"{name}-{seconds:g}-{seed}.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    torch.set_num_threads(1)
    m = material(Path(folder), small=False)
    recipe = Modern(**change.recipe)
    training = resolved(recipe, SIZE, replace(Training(budget=seconds, seed=seed), **change.training))
    assert training.length
    shape = replace(recipe.shape(SIZE, m.tokenizer.vocab, training.length), **change.shape)
    look = cloze(m.splits["choice"])
    before = []
    for part in change.before:
        own = replace(training, **part.training)
        assert own.length and own.batch
        before.append(Phase(part.until, replace(recipe, **part.recipe), own.length, own.batch, part.layers))
    result = train_for(
        recipe, shape, training, m.store, lambda model: look(recipe, model), processor=True, before=before,
        variant=change.variant,
    )  # fmt: skip
    write_json(path, result)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=240.0, help="processor time of a run, on one thread")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="names of lines")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    from benchmarks.time_to_loss import material

    material(args.runs, small=False)  # made once, before the processes share it
    chosen = [c for c in CHANGES if not args.only or c.name in args.only]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        waiting = {
            c.name: [pool.submit(run, str(args.runs), c, seed, args.seconds) for seed in range(args.seeds)]
            for c in chosen
        }
        print(
            "| change | prediction | steps | nats, a seed each | mean | to the default |\n|---|---|---|---|---|---|"
        )
        base: float | None = None
        for change in chosen:
            found = [future.result() for future in waiting[change.name]]
            losses = [one["loss"] for one in found]
            if change.name == "default":
                base = mean(losses)
            seeds = ", ".join(f"{loss:.3f}" for loss in losses)
            steps = f"{mean(one['steps'] for one in found):,.0f}"
            print(
                f"| {change.name} | {change.prediction} | {steps} | {seeds} | {mean(losses):.3f} "
                f"| {'–' if base is None else f'{mean(losses) - base:+.3f}'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
