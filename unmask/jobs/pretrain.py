"""Pre-training: a recipe, a corpus folder and a budget become a run folder with a model in it.

The same call again goes on where the last whole checkpoint stands: rows, masks and partners have coordinates, so
the position in the data is one number, the step. By `steps` the final weights are the same bytes as an undisturbed
run's; by `budget` each step's place in the schedule is written to metrics.jsonl, time already used counts, and
`replay` follows the recorded places of another run instead of the clock.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from unmask.errors import UnmaskError
from unmask.jobs.adapt import model_folder
from unmask.jobs.card import write_card
from unmask.jobs.look import Apply, Heldout, choose_blanks, filled
from unmask.jobs.loop import Watch, train
from unmask.jobs.meter import recorded_places
from unmask.jobs.rollback import Rollback, recorded, stands
from unmask.jobs.sinks import check_sinks, opened
from unmask.jobs.stop import Stopped, stop_signals
from unmask.models import Shape, size_of
from unmask.models.weights import load_pretrained, save_pretrained
from unmask.models.weights.roberta import check_head
from unmask.optim import Mover, Optimizer
from unmask.processes import agreed, device, joined
from unmask.recipes import Recipe
from unmask.run import Run
from unmask.settings import to_json
from unmask.store import Store
from unmask.train import Training, working_precision
from unmask.training import resolved

__all__ = ["Stopped", "pretrain", "recorded_places", "resolved"]

#: settings that change nothing of the result, so a run may go on with others
FREE = ("corpus", "training.checkpoint_every", "training.log", "training.shard", "training.snapshots",
        "training.rollbacks")  # fmt: skip
#: settings that a checkpoint cannot be loaded under others of, that decide what a run is, or by which rows are counted
FIXED = ("recipe.name", "recipe.pairs", "size", "source", "replay", "training.optimizer", "training.batch")


def silent(event: dict[str, Any]) -> None:
    """A watcher that does not look."""


def pretrain(
    recipe: Recipe,
    corpus: str | Path,
    *,
    out: str | Path,
    size: str = "mini",
    training: Training | None = None,
    source: str | Path | None = None,
    replay: Path | None = None,
    allow_changed: Sequence[str] = (),
    watch: Watch = silent,
    command: str = "",
    line: float | None = None,
) -> Run:
    """Pre-train and return the run.

    `source` is a model folder to go on from: its tokenizer must be the corpus's, and its size counts, not `size`.
    `replay` is a run whose recorded places in the schedule are followed. `allow_changed` names settings with which a
    stopped run may go on though they are others than before. `watch` is told of steps and of what is said; `line` is
    the seconds between two lines of metrics.jsonl (1 if None, 0: a line an update). Raises UnmaskError for settings
    that cannot work, before any training, and Stopped when asked to stop.
    """
    if replay is not None and training is not None and training.steps is not None:
        raise UnmaskError(
            f"both steps ({training.steps}) and replay ({replay}) are given — a replay takes as many updates as the "
            "run that it follows — leave one out"
        )
    source, replay = (Path(path) if path else None for path in (source, replay))
    if source is not None and (own := size_of(load_pretrained(model_folder(source)).shape)) != size:
        watch({"event": "say", "text": f"size {own}, as {source}, whose rate and batch are the defaults"})
        size = own
    training = resolved(recipe, size, training or Training())
    assert training.length is not None and training.batch is not None
    check_sinks(training.log)
    store, held = Store(Path(corpus)), Store(Path(corpus), part="heldout")
    places = recorded_places(replay) if replay else None
    with ExitStack() as held_open, joined() as (rank, world):
        if training.batch < world * training.accumulate:
            raise UnmaskError(
                f"batch is {training.batch} for {world} processes × {training.accumulate} micro-batches — each needs a "
                "row — raise --batch"
            )
        watch = watch if rank == 0 else silent
        rows = recipe.rows(store, training.length, training.seed)
        model, shape = _network(recipe, store, size, training, source, watch)
        run, new = None, False
        if rank == 0:
            new = not (Path(out) / "run.json").exists()
            run = _folder(
                recipe, corpus, out, size, training, source, replay, allow_changed, command, store, model, shape
            )  # fmt: skip
            held_open.enter_context(run.alone())
        if agreed(float(run is not None and run.finished)):
            watch({"event": "say", "text": f"{out} is finished; nothing to do"})
            return Run.open(out)
        model.to(device()).eval()  # no dropout in pre-training
        blanks = choose_blanks(held, shape.positions)
        if run is not None and "fills" not in run.evaluations():
            run.save_evaluation("fills", [_renamed(b, "before") for b in filled(model, store, blanks)])
        try:
            heldout = None
            if run is not None or training.shard:  # shares are gathered by all
                heldout = Heldout(
                    recipe,
                    held,
                    training.length,
                    device(),
                    lambda text: watch({"event": "say", "text": text}),
                )
            names = training.log if run is not None else ()
            done, wanted = False, held_open.enter_context(stop_signals())
            while not done:  # a run that goes back begins again, as one that was stopped does
                apply, optimizer = _ready(model, training)
                rollbacks, state = _resume(Path(out), run, optimizer, watch)
                settings = run.settings if run is not None else {}
                with opened(names, Path(out), settings, state["step"], watch) as sinks:
                    done = train(
                        recipe, rows, store.tokenizer.vocab, training, apply, optimizer, state=state, run=run,
                        heldout=heldout, places=places, sinks=sinks, watch=watch, wanted=wanted, rollbacks=rollbacks,
                        line=line,
                    )  # fmt: skip
                if not done:
                    del apply, optimizer, model  # room for the next
                    model, _ = _network(recipe, store, size, training, source)
                    model.to(device()).eval()
        except UnmaskError:
            if run is not None and new and not run.metrics():
                _remove(run.folder)
            raise
        weights = optimizer.weights()
        if run is not None:
            try:
                _close(run, recipe, store, shape, weights, blanks)
            except (OSError, SafetensorError) as error:
                raise UnmaskError(
                    f"the model could not be written ({error}) — {run.folder / 'model'} needs room — make room and run "
                    "the same command again; the last checkpoint is whole"
                ) from error
    return Run.open(out)


def _ready(model: nn.Module, training: Training) -> tuple[Apply, Mover]:
    """How a recipe's loss is had of the model, and what moves it: here, or in shares over the processes."""
    working = working_precision(training.precision, device())
    kind = training.optimizer or "adamw"
    weight_decay = 0.01 if training.weight_decay is None else training.weight_decay
    beta1 = 0.9 if training.beta1 is None else training.beta1
    beta2 = 0.98 if training.beta2 is None else training.beta2
    if training.shard:
        from unmask.sharded import Sharded, ShardedOptimizer

        shards = Sharded(model, working)
        chosen: type[ShardedOptimizer] | type[Optimizer] = ShardedOptimizer
        loss: Apply = shards
    else:
        chosen, loss = Optimizer, lambda recipe, batch: recipe.loss(model, batch)
    return loss, chosen(
        model.named_parameters(),
        kind=kind,
        weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        working=working,
    )


def _resume(
    out: Path, run: Run | None, optimizer: Mover, watch: Watch
) -> tuple[tuple[Rollback, ...], dict[str, Any]]:
    """Put the newest whole checkpoint in place; return where the run went back, and the state to go on from.

    A checkpoint of a path that the run left by going back is not taken. All processes read the same folder.
    """
    agreed(0.0)  # the first process has written what the others read now
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "tokens": 0}
    there = Run.open(out)
    rollbacks = recorded(there.about)
    if any((out / "checkpoints").glob("step-*")):
        checkpoint = there.load_checkpoint(
            lambda text: watch({"event": "say", "text": text}),
            lambda state: stands(state["step"], state.get("rollbacks", 0), rollbacks),
        )
        if checkpoint is not None:
            optimizer.load(checkpoint.tensors["weights"], checkpoint.tensors["optimizer"])
            state = {**checkpoint.state, "step": checkpoint.step}
            watch({"event": "say", "text": f"going on from step {state['step']}"})
        else:
            watch({"event": "say", "text": "no checkpoint to go on from is left: beginning anew"})
    if agreed(float(state["step"])) != state["step"]:
        raise UnmaskError(
            f"the processes found different checkpoints in {out} (step {state['step']} here) — all must see one "
            "folder — put --out on a disk that they share"
        )
    if run is not None:
        run.forget_after(state["step"])
        if run.about.get("changed") and "step" not in run.about["changed"][-1]:
            run.about["changed"][-1]["step"] = state["step"]
            run.note()
    return rollbacks, state


def _close(
    run: Run, recipe: Recipe, store: Store, shape: Shape, weights: dict[str, torch.Tensor], blanks: list[Any]
) -> None:
    """The last fills, model/ and its card, from the fp32 weights."""
    model = recipe.network(shape, store.tokenizer.vocab).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(weights[name])
    after = filled(model, store, blanks)
    old = run.evaluations().get("fills", [])
    run.save_evaluation("fills", [{**o, **_renamed(a, "after")} for o, a in zip(old, after, strict=False)])
    save_pretrained(run.folder / "model", recipe.FAMILY, model, shape, store.tokenizer, heads="pretraining")
    write_card(run)
    run.finish()


def _network(
    recipe: Recipe, store: Store, size: str, training: Training, source: Path | None, watch: Watch = silent
) -> tuple[nn.Module, Shape]:
    """The network in fp32 with weights drawn from the seed, or with the body and head of `source`.

    `watch` is told of what the source lacks, which is drawn from the seed.
    """
    vocab = store.tokenizer.vocab
    assert training.length is not None
    torch.manual_seed(training.seed)
    shape = recipe.shape(size, vocab, training.length)
    if source is None:
        return recipe.network(shape, vocab), shape
    loaded = load_pretrained(model_folder(source))
    if loaded.tokenizer is None or loaded.tokenizer.fingerprint != store.tokenizer.fingerprint:
        raise UnmaskError(
            f"the tokenizer of {source} is not the corpus's — going on with a body needs its own tokenizer — "
            f"build the corpus with --tokenizer {model_folder(source)}"
        )
    if loaded.family != recipe.FAMILY:
        raise UnmaskError(
            f"{source} is a {loaded.family} and the recipe {recipe.NAME} trains a {recipe.FAMILY} — they must agree — "
            "choose the recipe of that family"
        )
    if training.length > loaded.shape.positions:
        raise UnmaskError(
            f"rows of {training.length} tokens — {source} takes {loaded.shape.positions} at most — give "
            f"--length {loaded.shape.positions}, or less"
        )
    check_head(loaded.family, loaded.shape, "tokens")  # what is trained must be something that can be written
    model, fresh = loaded.around(lambda shape: recipe.network(shape, vocab))
    if fresh:
        watch({"event": "say", "text": f"{source} has no {', '.join(fresh)}: drawn at random, to be learnt"})
    return model, loaded.shape


def _renamed(found: dict[str, Any], when: str) -> dict[str, Any]:
    return {"text": found["text"], "truth": found["truth"], when: found["fills"]}


def _remove(folder: Path) -> None:
    """Take away a folder of a run that never took a step: what was written there just now, nothing else.

    A folder with `PARTS` and no run.json was refused, so these are the run's own.
    """
    for part in ("tensorboard", "snapshots"):
        shutil.rmtree(folder / part, ignore_errors=True)
    own = (".lock", "evaluation/fills.json", "metrics.jsonl", "run.json")
    for path in [folder / name for name in own]:
        path.unlink(missing_ok=True)
    for path in [folder / "evaluation", folder]:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _folder(
    recipe: Recipe,
    corpus: str | Path,
    out: str | Path,
    size: str,
    training: Training,
    source: Path | None,
    replay: Path | None,
    allow_changed: Sequence[str],
    command: str,
    store: Store,
    model: nn.Module,
    shape: Shape,
) -> Run:
    """The run folder, made or opened again."""
    settings = {
        "recipe": {"name": recipe.NAME, **to_json(recipe)},
        "corpus": str(corpus),
        "corpus_fingerprint": store.fingerprint,
        "size": size,
        "source": str(source) if source else None,
        "replay": str(replay) if replay else None,
        "training": to_json(training),
    }
    working = "bf16" if working_precision(training.precision, device()) is torch.bfloat16 else "fp32"
    lines = {"uniform": math.log(store.tokenizer.vocab.size), "unigram": store.unigram_entropy}
    about = {
        "path": str(corpus),
        "fingerprint": store.fingerprint,
        "tokens": store.tokens,
        "documents": store.documents,
    }
    followed: list[Any] = Run.open(replay).about.get("rollbacks", []) if replay else []
    run = Run.create(
        out,
        verb="pretrain",
        settings=settings,
        call=f"unmask.pretrain({recipe!r}, {str(corpus)!r}, out={str(out)!r}, size={size!r}, training={training!r}"
        + "".join(f", {k}={str(v)!r}" for k, v in (("source", source), ("replay", replay)) if v)
        + ")",
        command=command,
        lines=lines,
        tokenizer=store.tokenizer.fingerprint,
        parameters=sum(p.numel() for p in model.parameters()),
        shape=to_json(shape),
        working=working,
        allow=FREE,
        allow_changed=allow_changed,
        fixed=FIXED,
        # A replay reads the rows that the other run read in the end.
        **({"rollbacks": [{**one, "seconds": 0.0} for one in followed]} if followed else {}),
        corpus=about,
    )
    if run.about.get("tokenizer", store.tokenizer.fingerprint) != store.tokenizer.fingerprint:
        raise UnmaskError(
            f"{out} was trained with another tokenizer than {corpus} has — its table knows the old tokens — build the "
            "corpus with --tokenizer and the folder of the old one, or give another --out"
        )
    if not run.finished and run.about["corpus"]["fingerprint"] != store.fingerprint:  # changed by a person
        run.about |= {"corpus": about, "lines": lines}
    if run.about.get("shape", to_json(shape)) != to_json(shape):
        raise UnmaskError(
            f"{out} holds a network of another shape (tokenizer, length or size) — weights keep theirs in the middle "
            "of a run — give another --out"
        )
    if not run.finished and run.about.get("working") != working:
        newest = run.about.get("changed", [{"step": 0}])[-1]
        # Named by a person, just now: a change that was gone on with has its step.
        meant = "step" not in newest and "training.precision" in newest["settings"]
        if not meant and "working" in run.about:
            raise UnmaskError(
                f"{out} was trained in {run.about['working']}, and precision {training.precision} is {working} on this "
                f"machine — a run keeps its precision — go on where it began, or here with --precision {working} "
                "--allow-changed precision"
            )
        run.note(working=working)
    return run
