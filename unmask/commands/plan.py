"""``unmask plan TEXT``: what a pre-training would take on this machine, before a night is spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unmask.commands.flags import duration
from unmask.commands.watch import Watch


def plan(
    text: Annotated[Path, Parameter(help="a text file, a folder of texts, or a corpus folder")],
    /,
    *,
    budget: Annotated[
        float,
        Parameter(help="time you would give to training", converter=duration, show_default=lambda _: "8h"),
    ] = 28800.0,
    recipe: Annotated[str, Parameter(help="the recipe to time")] = "modern",
    length: Annotated[
        int | None, Parameter(help="tokens of the longest row; the recipe's if not given")
    ] = None,
    vocab_size: Annotated[int, Parameter(help="of the tokenizer, where TEXT is no corpus folder")] = 8192,
    json: Annotated[bool, Parameter(help="the numbers as JSON", negative="")] = False,
) -> None:
    """Say what a pre-training would take on this machine.

    Times real steps of every size and advises the largest that is worth training in the time.

    Example: unmask plan texts/ --budget 8h
    """
    from json import dumps

    from unmask.machine.plan import plan as work_out
    from unmask.machine.words import words
    from unmask.settings import to_json

    with Watch() as watch:
        found = work_out(
            text, budget=budget, recipe=recipe, length=length, vocab_size=vocab_size, say=watch.say
        )
    print(dumps(to_json(found), indent=1) if json else words(found))
