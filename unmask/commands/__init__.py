"""The verbs of the command line, one file each; ``app`` puts those together that a command line needs.

``pretrain``, ``finetune`` and ``why`` have a sub-command for every recipe or task. Their settings live beside torch, so
they are made only when the verb is named: ``unmask --help`` and the help of the other verbs never import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App

import unmask
from unmask.commands import (
    bench,
    corpus,
    embryo,
    evaluate,
    export,
    fill,
    finetune,
    imports,
    minimal_pairs,
    plan,
    pretrain,
    quickstart,
    report,
    verify_resume,
    why,
    yardstick,
)

HELP = "Pre-train a language model of the BERT family on your own text, and see what that was worth."
VERBS = (
    "quickstart",
    "bench",
    "plan",
    "corpus",
    "pretrain",
    "verify-resume",
    "fill",
    "finetune",
    "evaluate",
    "predict",
    "glue",
    "superglue",
    "suite",
    "minimal-pairs",
    "embryo",
    "why",
    "report",
    "import",
    "export",
)


def app(words: Sequence[str]) -> App:
    """The command line for these words."""
    root = App(
        name="unmask",
        help=HELP,
        version=unmask.__version__,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        help_epilogue="`unmask VERB --help` shows a verb; `--debug` keeps the traceback of an error.",
    )
    made: dict[str, Callable[..., Any]] = {
        "quickstart": quickstart.quickstart,
        "bench": bench.bench,
        "plan": plan.plan,
        "corpus": corpus.corpus,
        "fill": fill.fill,
        "evaluate": evaluate.evaluate,
        "predict": evaluate.predict,
        "report": report.report,
        "import": imports.imports,
        "export": export.export,
        "minimal-pairs": minimal_pairs.minimal_pairs,
        "embryo": embryo.embryo,
        **yardstick.verbs(),
    }
    parts: dict[str, Any] = {
        "pretrain": pretrain,
        "finetune": finetune,
        "why": why,
        "verify-resume": verify_resume,
    }
    for order, verb in enumerate(VERBS):
        if verb in made:
            root.command(made[verb], name=verb, sort_key=order)
            continue
        module = parts[verb]
        part = module.make(words) if verb in words else App(name=verb, help=module.HELP)
        part.sort_key = order
        root.command(part)
    return root
