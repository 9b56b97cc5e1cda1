"""``unmask quickstart``: the main job from end to end, on text that ships with the package or on your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unmask.commands.flags import duration
from unmask.commands.watch import Watch


def quickstart(
    *,
    language: Annotated[
        Literal["en", "zh"],
        Parameter(help="of the text and the tasks; of your own text it decides the tokenizer"),
    ] = "en",
    out: Annotated[
        Path | None,
        Parameter(
            help="folder of the runs and the page [default: runs/quickstart-LANGUAGE; with --text runs/quickstart-own]"
        ),
    ] = None,
    budget: Annotated[
        float, Parameter(help="time for pre-training", converter=duration, show_default=lambda _: "5m")
    ] = 300.0,
    steps: Annotated[int | None, Parameter(help="updates of pre-training, in place of the budget")] = None,
    seed: Annotated[int, Parameter(help="of everything that is drawn")] = 0,
    text: Annotated[
        list[str] | None, Parameter(help="your own text instead of the packaged one", negative="")
    ] = None,
    classify: Annotated[Path | None, Parameter(help="your own rows: columns text, label")] = None,
    tag: Annotated[Path | None, Parameter(help="your own rows: a word and its tag a line")] = None,
    pair: Annotated[Path | None, Parameter(help="your own rows: columns text_a, text_b, label")] = None,
    answer: Annotated[
        Path | None, Parameter(help="your own rows: a question, its passage and the answer")
    ] = None,
) -> None:
    """Pre-train, adapt to four tasks, and report.

    Example: unmask quickstart --language en --budget 5m
    """
    from unmask.quickstart import quickstart as run

    with Watch() as watch:
        last = run(
            language=language,
            out=out,
            budget=budget,
            steps=steps,
            seed=seed,
            text=text,
            classify=classify,
            tag=tag,
            pair=pair,
            answer=answer,
            watch=watch,
        )
    print(last)
