"""Synthetic run folders, written as the verbs write them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HOSTILE = "</script><script>alert(1)</script>"
TURNED = "user\u202eadmin\u0007\u200b"

# task, shape, metric, majority, scores from scratch, scores pre-trained, part of speech of the difference
TASKS: list[tuple[str, str, str, float | None, list[float], list[float]]] = [
    ("tags", "tag", "accuracy", 13.7, [63.8, 63.9, 65.25], [72.7, 73.3, 71.9]),
    ("follows", "pair", "accuracy", 50.0, [60.3, 61.9, 59.8], [75.1, 75.4, 74.2]),
    ("names", "answer", "exact match", None, [23.3, 25.2, 24.1], [32.3, 33.2, 31.0]),
    ("sentiment 情感", "classify", "accuracy", 51.2, [71.9, 70.6, 73.0], [73.8, 68.7, 74.6]),
]


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def about(verb: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "verb": verb,
        "name": name,
        "settings": {
            "recipe": "bert",
            "size": "tiny",
            "training": {"learning_rate": 0.003, "batch": 16},
            "label": HOSTILE,
        },
        "call": f'unmask.{verb}("corpus", name="{name}")',
        "command": f"unmask {verb} --name {name}",
        "versions": {"unmask": "0.1", "python": "3.11.2", "torch": "2.13.0"},
        "machine": {"processor": "two cores", "memory": "8 GB"},
        "started": "2026-11-24T14:00:00",
        "finished": "2026-11-24T14:05:03",
        **more,
    }


def pretrain(folder: Path, name: str = "body", steps: int = 1200, seed: int = 0, **more: Any) -> Path:
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(1, steps + 1):
        mlm = 3.2 + 5.6 * math.exp(-step / 260) + rng.normal(0, 0.12)
        line = {"step": step, "seconds": step * 300 / steps, "tokens": step * 2048}
        line |= {
            "loss": mlm + 0.6,
            "terms": {"mlm": mlm, "next": 0.69 - 0.1 * step / steps + rng.normal(0, 0.02)},
        }
        lines.append(
            line
            | {
                "accuracy": 0.42 * (1 - math.exp(-step / 300)),
                "learning_rate": 0.003,
                "tokens_per_second": 8500,
            }
        )
        if step % 100 == 0:
            held = {"mlm": 3.25 + 5.6 * math.exp(-step / 260), "accuracy": 0.4 * (1 - math.exp(-step / 300))}
            lines.append({key: line[key] for key in ("step", "seconds", "tokens")} | {"heldout": held})
    corpus = {"path": "corpus/zh", "fingerprint": "ab12", "tokens": 2940000, "documents": 17300}
    more = {"lines": {"uniform": 9.011, "unigram": 6.53}, "parameters": 5_312_256, "corpus": corpus} | more
    write(folder / "run.json", about("pretrain", name, **more))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    believed = [("Paris", 0.41), ("London", 0.12), ("Lyon", 0.08), ("Europe", 0.05), (HOSTILE, 0.02)]
    fills = [
        {
            "text": "The capital of France is [MASK].",
            "before": [
                {"token": token, "probability": 0.0002} for token in ("##ing", "of", "1912", "ы", "king")
            ],
            "after": [{"token": token, "probability": p} for token, p in believed],
            "truth": "Paris",
        },
        {
            "text": "今天天气很[MASK]。",
            "before": [{"token": token, "probability": 0.0003} for token in "的一是在人"],
            "after": [
                {"token": token, "probability": p}
                for token, p in zip("好冷热大美", (0.52, 0.2, 0.1, 0.04, 0.01), strict=True)
            ],
            "truth": None,
        },
    ]
    write(folder / "evaluation/fills.json", fills)
    return folder


def finetune(
    folder: Path,
    start: str,
    task: tuple[str, str, str, float | None, list[float], list[float]] = TASKS[0],
    label: str = HOSTILE,
    name: str | None = None,
) -> Path:
    word, shape, metric, majority, scratch, pretrained = task
    scores = scratch if start == "scratch" else pretrained
    summary = {
        "median": sorted(scores)[len(scores) // 2],
        "low": min(scores),
        "high": max(scores),
        "seeds": scores,
    }
    lines: list[dict[str, Any]] = []
    for seed, reached in enumerate(scores):
        rng = np.random.default_rng(seed)
        for step in range(1, 121):
            fall = math.exp(-step / (25 if start == "pretrained" else 60))
            lines.append(
                {
                    "seed": seed,
                    "step": step,
                    "seconds": step / 6,
                    "loss": 0.4 + 2 * fall + rng.normal(0, 0.08),
                }
            )
            if step % 20 == 0:
                lines.append(
                    {
                        "seed": seed,
                        "step": step,
                        "dev": {"loss": 0.5 + 2 * fall, metric: reached * (1 - fall)},
                    }
                )
    write(folder / "run.json", about("finetune", name or f"{word}-{start}"))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluation = {
        "task": word, "shape": shape, "metric": metric, "start": start,
        "rows": {"train": 500, "dev": 500, "test": 1000},
        "majority": {metric: majority} if majority is not None else {},
        "scores": {"dev": {metric: summary}, "test": {metric: summary}},
        "no_better": False, "learning_rate": 0.002, "labels": [label, TURNED],
    }  # fmt: skip
    write(folder / "evaluation/finetune.json", evaluation)
    return folder


def ledger(folder: Path) -> None:
    stages = [
        {
            "name": "clean", "in": 17300, "unit": "documents", "kept": 16900, "split": 0, "cut": 0,
            "dropped": [
                {"reason": "too short", "count": 250, "samples": ["ok", HOSTILE]},
                {"reason": TURNED, "count": 150, "samples": ["line\u2028break\ud800"]},
            ],
        },
        {"name": "duplicates", "in": 16900, "unit": "documents", "kept": 16800, "split": 0, "cut": 0,
         "dropped": [{"reason": "seen before", "count": 100, "samples": []}]},
    ]  # fmt: skip
    write(folder / "ledger.json", {"stages": stages})


def quickstart(folder: Path) -> Path:
    write(folder / "run.json", about("quickstart", "quickstart-zh"))
    write(folder / "corpus/manifest.json", {})
    ledger(folder / "corpus")
    pretrain(folder / "body")
    tasks = []
    for task in TASKS:
        word, _, metric, majority, *scores = task
        starts = {}
        for start, held in zip(("scratch", "pretrained"), scores, strict=True):
            finetune(folder / "tasks" / word / start, start, task)
            starts[start] = {"median": sorted(held)[1], "low": min(held), "high": max(held), "seeds": held}
        tasks.append(
            {
                "task": word,
                "metric": metric,
                "rows": {"train": 500, "test": 1000},
                "majority": majority,
                **starts,
            }
        )
    write(folder / "results.json", {"tasks": tasks})
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run folder of a kind, each written once a session."""
    root = tmp_path_factory.mktemp("runs")
    kinds: dict[str, Callable[[], Path]] = {
        "quickstart": lambda: quickstart(root / "quickstart"),
        "pretrain": lambda: pretrain(root / "pretrain", "bert"),
        "second": lambda: pretrain(
            root / "second", HOSTILE, steps=300, seed=1, lines={"uniform": 8.5, "unigram": 6.1}
        ),
        "scratch": lambda: finetune(root / "scratch", "scratch"),
        "finetune": lambda: finetune(root / "finetune", "pretrained"),
    }

    def get(kind: str) -> Path:
        folder = root / kind
        return folder if folder.exists() else kinds[kind]()

    return get
