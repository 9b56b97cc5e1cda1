"""``unmask minimal-pairs RUN``: how often the model prefers the acceptable sentence of a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unmask.commands.watch import Watch


def minimal_pairs(
    run: Annotated[Path, Parameter(help="a run folder of `unmask pretrain`, or a model folder")],
    /,
    *,
    data: Annotated[
        Path | None,
        Parameter(
            help="your own pairs: a .tsv, .csv or .jsonl with good, bad and perhaps phenomenon, or a folder of them"
        ),
    ] = None,
    scoring: Annotated[
        tuple[Literal["original", "within_word", "whole_word"], ...],
        Parameter(
            help="every piece alone, with the later pieces of its word masked too, or with the whole word masked",
            negative="",
        ),
    ] = ("original", "within_word", "whole_word"),
    each: Annotated[
        int | None, Parameter(help="score the first so many pairs of every paradigm; all if not given")
    ] = None,
    untrained_seeds: Annotated[
        int, Parameter(help="untrained bodies of the same shape that stand beside")
    ] = 5,
    untrained_each: Annotated[int, Parameter(help="pairs of every paradigm for these")] = 200,
    precision: Annotated[
        Literal["auto", "bf16", "fp32"],
        Parameter(help="auto takes bf16 where it changes at most 2 of 100 verdicts of a sample"),
    ] = "auto",
) -> None:
    """Score minimal pairs by pseudo-log-likelihood: BLiMP (67,000 English pairs), or your own file.

    Example: unmask minimal-pairs runs/bert
    """
    from unmask.yardstick.minimal_pairs import lines
    from unmask.yardstick.minimal_pairs import minimal_pairs as job

    with Watch() as watch:
        found = job(
            run,
            data,
            scoring=scoring,
            each=each,
            untrained_seeds=untrained_seeds,
            untrained_each=untrained_each,
            precision=precision,
            watch=watch,
        )
    print("\n".join(lines(found)))
