"""``unmask evaluate RUN FILE`` scores a fine-tuned model; ``unmask predict RUN FILE`` says what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unmask.commands.watch import Watch, ask
from unmask.errors import UnmaskError


def evaluate(
    run: Annotated[Path, Parameter(help="a run folder made by `unmask finetune`")],
    file: Annotated[Path, Parameter(help="labelled rows, in the format of the training file")],
    /,
) -> None:
    """Score a fine-tuned model on labelled rows.

    Example: unmask evaluate runs/stars test.csv
    """
    from unmask.jobs.predict import evaluate as job

    print(json.dumps(job(run, file), ensure_ascii=False, indent=1))


def predict(
    run: Annotated[Path, Parameter(help="a run folder made by `unmask finetune`")],
    source: Annotated[str, Parameter(help="rows without labels; - reads standard input")] = "-",
    /,
    *,
    out: Annotated[Path | None, Parameter(help="the file to write; standard output if not given")] = None,
    precision: Annotated[
        Literal["auto", "bf16", "fp32"],
        Parameter(
            help="bf16 moves a probability by less than 0.02; auto takes it where the processor has it"
        ),
    ] = "auto",
) -> None:
    """Predict new rows: one JSON object a row, in their order.

    Rows are read in the format of the training file, or one a line (.txt, standard input).

    Example: unmask predict runs/stars reviews.txt > answers.jsonl
    """
    from unmask.jobs.predict import predict as job

    if out is not None and (out.is_dir() or not out.name):
        raise UnmaskError(
            f"{out} is a folder — a file to write was expected — give --out {out / 'said.jsonl'}"
        )
    if source == "-":
        ask("a row without its label a line")
    with Watch() as watch:
        lines = (
            json.dumps(row, ensure_ascii=False)
            for row in job(run, source if source == "-" else Path(source), watch, precision=precision)
        )
        if out is None:
            for line in lines:
                print(line)
            return
        # Written aside and renamed: a stop leaves no half file that looks whole.
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and not out.is_file():  # /dev/null, a pipe
            with open(out, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
            return
        part = out.with_name(f".{out.name}.part")
        try:
            with open(part, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
            os.replace(part, out)
        finally:
            part.unlink(missing_ok=True)
        watch.say(f"{out} is written")
