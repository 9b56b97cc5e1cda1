"""``unmask pretrain RECIPE CORPUS``: a corpus folder becomes a run folder with a model in it.

One sub-command a recipe, made from ``RECIPES``: its fields are its options, and the training settings are the
options of all. The Python API is ``unmask.pretrain(recipe, corpus, out=..., training=Training(...))``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from unmask.commands.flags import Fields, expand
from unmask.commands.like import find, past_settings
from unmask.commands.watch import Watch
from unmask.settings import to_json

HELP = "Pre-train a model on a corpus folder."
SIZE = "mini"

Changed = Annotated[
    tuple[str, ...],
    Parameter(
        name="--allow-changed",
        help="a setting that may be another than when the run was stopped (repeatable)",
        negative="",
        show_default=False,
    ),
]


def make(words: Sequence[str]) -> App:
    """The verb with a sub-command a recipe; with ``--like``, another run's settings are the defaults."""
    return per_recipe(words, "pretrain", HELP, _verb, "--out runs/{} --size mini --budget 30m")


def per_recipe(
    words: Sequence[str], verb: str, text: str, command: Callable[[str], Any], example: str
) -> App:
    """A verb with a sub-command a recipe that takes all settings of a pre-training, as ``recipe`` and ``training``."""
    # Imported when this verb is meant, so that other help is quick.
    from unmask.recipes import RECIPES
    from unmask.training import Training, resolved

    app = App(name=verb, help=text)
    for name, recipe in RECIPES.items():
        past = past_settings(words, "pretrain", name, RECIPES)
        size = find(words, "--size") or past.get("size", SIZE)
        given = {
            "recipe": Fields(recipe, f"The recipe: {name}", past, order=2),
            "training": Fields(
                Training, "Training", past, to_json(resolved(recipe(), size, Training())), order=3
            ),
        }
        first = text if verb != "pretrain" else (recipe.__doc__ or name).strip().splitlines()[0]
        shown = f"{first}\n\nExample: unmask {verb} {name} corpus {example.format(name)}"
        app.command(expand(command(name), given, past), name=name, help=shown)
    return app


def _verb(name: str) -> Any:
    """The command of one recipe."""
    where = Path(f"runs/{name}")

    def pretrain(
        corpus: Annotated[Path, Parameter(help="folder made by `unmask corpus`")],
        /,
        *,
        out: Annotated[Path, Parameter(help="the run folder; the same command again goes on in it")] = where,
        size: Annotated[str, Parameter(help="tiny, mini, small, medium, base or large")] = SIZE,
        source: Annotated[
            Path | None, Parameter(name="--from", help="a model folder to go on from (same tokenizer)")
        ] = None,
        replay: Annotated[
            Path | None,
            Parameter(help="a run whose recorded places in the schedule are followed: same bytes"),
        ] = None,
        allow_changed: Changed = (),
        like: Annotated[Path | None, Parameter(help="a run whose settings are the defaults here")] = None,
        recipe: Any,
        training: Any,
    ) -> None:
        from unmask.jobs.pretrain import pretrain as job

        with Watch() as watch:
            run = job(
                recipe,
                corpus,
                out=out,
                size=size,
                training=training,
                source=source,
                replay=replay,
                allow_changed=allow_changed,
                watch=watch,
            )
            if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes speaks for all
                watch.say(
                    f'{run.folder} is finished; try: unmask fill {run.folder} "a text with [MASK] in it", or adapt it: '
                    f"unmask finetune classify --model {run.folder} --train FILE"
                )

    return pretrain
