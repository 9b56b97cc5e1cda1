"""Dev in two halves, fewer training rows, and all of it written as files that `unmask finetune` reads.

What chooses (rate, epochs, checkpoint) and what is reported must not be the same rows: on small sets that is worth
about as much as a standard error (Zhang et al. 2021 divide dev alike). The halves are drawn once, by a seed that is
stated, with equal shares of each label, and rows of one group (a passage, a premise) stay together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.randomness import generator
from unmask.yardstick.rows import Item, Rows
from unmask.yardstick.suites import SuiteTask

SEED = 0  # of the halves and of the training rows that are kept: the same for every model that is compared


def halves(rows: Rows, kind: str, seed: int = SEED) -> tuple[Rows, Rows]:
    """Two halves of the rows: to choose by, to report on; each in the order of the file.

    Groups go, in a random order and the largest first, to the half where their labels are rarer. Of scores, neighbours
    by rank go to different halves. Raises `UnmaskError` for fewer than two groups.
    """
    groups: dict[str, list[int]] = {}
    for number, item in enumerate(rows.items):
        groups.setdefault(f"\0{number}" if item.group is None else item.group, []).append(number)
    if len(groups) < 2:
        raise UnmaskError(
            f"{rows.where}: one row or group alone — at least two are needed, to choose by and to report on"
        )
    strata = _strata(rows.items, kind)
    names = list(groups)
    order = [names[n] for n in generator(seed, "halves", 0).permutation(len(names))]
    order.sort(key=lambda name: -len(groups[name]))  # stable: of equal sizes the order stays random
    counts: tuple[Counter[Any], Counter[Any]] = (Counter(), Counter())
    sizes = [0, 0]
    taken: tuple[list[int], list[int]] = ([], [])
    for name in order:
        own = Counter(strata[n] for n in groups[name])
        gap = sum((counts[0][s] - counts[1][s]) * k for s, k in own.items())
        side = 0 if gap < 0 or (gap == 0 and sizes[0] <= sizes[1]) else 1
        counts[side].update(own)
        sizes[side] += len(groups[name])
        taken[side].extend(groups[name])
    first, second = (tuple(rows.items[n] for n in sorted(side)) for side in taken)
    return replace(rows, items=first), replace(rows, items=second)


def _strata(items: Sequence[Item], kind: str) -> list[Any]:
    if kind == "score":
        place = {
            n: rank // 2
            for rank, n in enumerate(sorted(range(len(items)), key=lambda n: float(items[n].gold)))
        }
        return [place[n] for n in range(len(items))]
    if kind in ("classify", "pair"):
        return [item.gold for item in items]
    return [0] * len(items)


def limited(rows: Rows, most: int | None, kind: str, seed: int = SEED) -> Rows:
    """At most `most` rows, drawn by a seed, one of every label among them; in the order of the file.

    Subsets are nested: fewer rows are among the more.
    """
    if most is None or most >= len(rows):
        return rows
    order = generator(seed, "training rows", 0).permutation(len(rows)).tolist()
    labels: dict[Any, int] = {}
    if kind in ("classify", "pair"):
        for n in order:
            labels.setdefault(rows.items[n].gold, n)
    first = list(labels.values())
    if len(first) > most:
        raise UnmaskError(
            f"{rows.where}: {most} rows for {len(first)} labels — at least one of each is needed — keep more"
        )
    already = set(first)
    chosen = [*first, *(n for n in order if n not in already)][:most]
    return replace(rows, items=tuple(rows.items[n] for n in sorted(chosen)))


# -- files for the fine-tuning ---------------------------------------------------------------------------------------


def write(task: SuiteTask, rows: Rows, path: Path) -> Path:
    """The rows as a file of the task's own kind: JSON lines, CoNLL, or SQuAD's JSON. Returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if task.kind == "tag":
        path = path.with_name(f"{path.name}.conll")
        text = "\n".join(
            "".join(f"{w}\t{t}\n" for w, t in zip(x.texts, x.gold, strict=True)) for x in rows.items
        )
    elif task.kind == "answer":
        path = path.with_name(f"{path.name}.json")
        text = json.dumps({"data": _articles(rows.items)}, ensure_ascii=False)
    else:
        path = path.with_name(f"{path.name}.jsonl")
        text = "".join(json.dumps(_line(x), ensure_ascii=False) + "\n" for x in rows.items)
    path.write_text(text, encoding="utf-8")
    return path


def _line(item: Item) -> dict[str, Any]:
    label = {} if item.gold is None else {"label": item.gold}  # a test row has none
    return {**dict(zip(("text_a", "text_b"), item.texts, strict=False)), **label}


def _articles(items: Sequence[Item]) -> list[dict[str, Any]]:
    """SQuAD's layout, in the order of the rows: neighbours with one group and passage share an article."""
    return [
        {
            "title": group or "",
            "paragraphs": [{"context": passage, "qas": [_question(item) for item in own]}],
        }
        for (group, passage), own in groupby(items, key=lambda item: (item.group, item.texts[1]))
    ]


def _question(item: Item) -> dict[str, Any]:
    answers = [{"text": t, "answer_start": -1 if at is None else at} for t, at in item.gold]
    return {"id": item.key, "question": item.texts[0], "answers": answers, "is_impossible": not answers}
