"""Pre-train a language model of the BERT family on your own text, adapt it, and see what that was worth.

The public names below are looked up when first used (PEP 562), so that ``import unmask`` costs nothing and
the command line's help needs no torch. Two verbs have a module of their own name and are imported from it:
``unmask.quickstart.quickstart`` and ``unmask.report.report``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name → the module that defines it. No name may be that of a submodule, whose import would hide it.
_HOME = {
    "Albert": "unmask.recipes.albert",
    "Answer": "unmask.tasks.answer",
    "Bert": "unmask.recipes.bert",
    "Classify": "unmask.tasks.classify",
    "Document": "unmask.corpus",
    "FineTuning": "unmask.jobs.tuned",
    "Ledger": "unmask.corpus.ledger",
    "Modern": "unmask.recipes.modern",
    "Pair": "unmask.tasks.pair",
    "RECIPES": "unmask.recipes",
    "Roberta": "unmask.recipes.roberta",
    "Shape": "unmask.models",
    "Store": "unmask.store",
    "TASKS": "unmask.tasks",
    "Tag": "unmask.tasks.tag",
    "Tokenizer": "unmask.tokens",
    "Training": "unmask.train",
    "UnmaskError": "unmask.errors",
    "bench": "unmask.machine.bench",
    "build": "unmask.store.build",
    "convert": "unmask.jobs.convert",
    "embryo": "unmask.yardstick.embryo.job",
    "evaluate": "unmask.jobs.predict",
    "export": "unmask.jobs.export",
    "fill": "unmask.jobs.fill",
    "finetune": "unmask.jobs.finetune",
    "load_pretrained": "unmask.models.weights",
    "load_tokenizer": "unmask.tokens",
    "minimal_pairs": "unmask.yardstick.minimal_pairs",
    "plan": "unmask.machine.plan",
    "predict": "unmask.jobs.predict",
    "pretrain": "unmask.jobs.pretrain",
    "train_tokenizer": "unmask.tokens",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unmask' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
