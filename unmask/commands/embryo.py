"""``unmask embryo RUN --conllu FILE``: what a run had learnt at each snapshot of its pre-training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unmask.commands.watch import Watch


def embryo(
    *runs: Annotated[
        Path, Parameter(help="runs of `unmask pretrain` that kept snapshots: one, or seeds of one setting")
    ],
    conllu: Annotated[Path, Parameter(help="tagged sentences (CoNLL-U): which kind of word is learnt when")],
    words: Annotated[
        int, Parameter(help="words of a part of speech that are asked, at most; 0 for all")
    ] = 500,
    entities: Annotated[
        Path | None,
        Parameter(help="sentences with entities marked (a word and its BIO tag a line): a probe for them"),
    ] = None,
    sentences: Annotated[
        Path | None,
        Parameter(help="sentences with [MASK], one a line, to watch; the run's own blanks if not given"),
    ] = None,
    task: Annotated[
        str | None, Parameter(help="SUITE:NAME, such as glue:RTE: fine-tuned from the snapshots")
    ] = None,
    data: Annotated[Path | None, Parameter(help="the folder of the suite's files")] = None,
    task_snapshots: Annotated[int, Parameter(help="snapshots that the task is fine-tuned from")] = 8,
    task_seeds: Annotated[int, Parameter(help="fine-tunings from each of them")] = 3,
    task_steps: Annotated[int | None, Parameter(help="updates of each; three epochs if not given")] = None,
) -> None:
    """Watch a model being born: parts of speech, probes, a task and filled blanks over the snapshots.

    Example: unmask embryo runs/bert --conllu en_ewt-ud-dev.conllu
    """
    from unmask.yardstick.embryo.job import embryo as job
    from unmask.yardstick.embryo.job import lines

    with Watch() as watch:
        found = job(
            runs,
            conllu,
            words=words,
            entities=entities,
            sentences=sentences,
            task=task,
            data=data,
            task_snapshots=task_snapshots,
            task_seeds=task_seeds,
            task_steps=task_steps,
            watch=watch,
        )
    print("\n".join(lines(found)))
