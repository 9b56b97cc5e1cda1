"""``unmask bench``: what this machine reaches, and what costs speed, within a minute."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from unmask.commands.flags import duration
from unmask.commands.watch import Watch


def bench(
    *,
    recipe: Annotated[str, Parameter(help="the recipe whose steps are timed")] = "bert",
    seconds: Annotated[
        float,
        Parameter(help="about how long to measure", converter=duration, show_default=lambda _: "50s"),
    ] = 50.0,
    json: Annotated[bool, Parameter(help="the numbers as JSON", negative="")] = False,
) -> None:
    """Say what this machine reaches: its matrix rate, its memory, tokens a second at each size.

    Warns, with the remedy, where the number of threads, the allocator, other processes or a processor without bf16
    cost speed.

    Example: unmask bench
    """
    from json import dumps

    from unmask.machine.bench import bench as measure
    from unmask.machine.limits import words
    from unmask.settings import to_json

    with Watch() as watch:
        found = measure(recipe, seconds=seconds, say=watch.say)
    print(dumps(to_json(found), indent=1) if json else words(found))
