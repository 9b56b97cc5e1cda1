"""Verdicts in words claim what the ranges show and no more; the terminal table keeps the numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from unmask.report import results_table
from unmask.report.read import Run, read_run
from unmask.report.verdict import Row, Score, headline, judge, paired, score


def seeds(*values: float) -> Score:
    return Score(sorted(values)[len(values) // 2], min(values), max(values), values, len(values))


def row(scratch: Score | None, pretrained: Score | None, majority: float | None = None) -> Row:
    return Row("tags", "accuracy", "test", "500 / 1,000", majority, scratch, pretrained)


@pytest.mark.parametrize(
    ("scratch", "pretrained", "majority", "kind", "words"),
    [
        (seeds(60, 61, 62), seeds(63, 64, 65), 50, "clear", "worst seed beats the best"),
        (seeds(60, 61, 64), seeds(63, 65, 66), 50, "likely", "overlap"),
        (seeds(60, 61, 62), seeds(62, 63, 64), 50, "likely", "overlap"),  # touching is not beating
        (seeds(60, 61, 64), seeds(58, 60, 66), 50, "none", "below"),
        (seeds(60, 61, 62), seeds(57, 58, 59), 50, "worse", "hurt"),
        (seeds(60, 61, 62), seeds(59, 61, 63), 50, "none", "no difference"),
        (seeds(48, 49, 50), seeds(50, 50.5, 51), 51, "none", "most frequent class"),
        (seeds(60), seeds(70), 50, "open", "one seed"),
        (seeds(60, 61), None, 50, "open", "no pre-trained run"),
        (None, seeds(60, 61), 50, "open", "no from-scratch run"),
    ],
)
def test_verdicts(
    scratch: Score | None, pretrained: Score | None, majority: float, kind: str, words: str
) -> None:
    verdict = judge(row(scratch, pretrained, majority))
    assert verdict.kind == kind
    assert words in verdict.words


def test_headline_counts() -> None:
    clear = row(seeds(60, 61, 62), seeds(63, 64, 65))
    likely = row(seeds(60, 61, 64), seeds(63, 65, 66))
    worse = row(seeds(60, 61, 62), seeds(57, 58, 59))
    assert headline([clear, likely]) == (
        "Pre-training is ahead in 2 of 2 tasks; in 1 the worst pre-trained seed beats the best from-scratch seed"
    )
    assert headline([clear, clear]) == (
        "Pre-training is ahead in 2 of 2 tasks; in each the worst pre-trained seed beats the best from-scratch seed"
    )
    assert headline([worse]) == "Pre-training is ahead in 0 of 1 task; it clearly hurt in 1"
    assert headline([row(seeds(60), seeds(70))]) == (
        "Pre-training is ahead in 1 of 1 task; some starts have one seed alone, which shows no spread"
    )
    assert headline([row(None, seeds(70, 71))]) is None


def test_seed_numbers_are_not_taken_for_scores() -> None:
    held = score({"median": 61.0, "low": 60.0, "high": 62.0, "seeds": [0, 1, 2]})
    assert held is not None
    assert (held.seeds, held.count) == ((), 3)
    held = score({"median": 61.0, "low": 60.0, "high": 62.0, "seeds": [60.0, 62.0, 61.0]})
    assert held is not None
    assert held.seeds == (60.0, 62.0, 61.0)
    assert score({"low": 1.0}) is None
    assert score(None) is None


def test_pairs_need_the_same_rows(folders: Callable[[str], Path]) -> None:
    pretrained, scratch = read_run(folders("finetune")), read_run(folders("scratch"))
    (both,) = paired([scratch, pretrained])
    assert both.scratch and both.pretrained
    assert both.difference == pytest.approx(72.7 - 63.9)
    scratch.evaluations["finetune"]["rows"]["train"] = 499
    apart = paired([scratch, pretrained])
    assert [one.difference for one in apart] == [None, None]


def test_pairs_need_the_same_task_and_training(folders: Callable[[str], Path]) -> None:
    def run(name: str, **settings: object) -> Run:
        found = read_run(folders(name))
        found.about["settings"] = {"label": "stars", "steps": 50, "train": "t.csv", **settings}
        return found

    pretrained = run("finetune", model="a", seed=1, learning_rate=1e-3)
    scratch = run("scratch", model="b", from_scratch=True, learning_rate=3e-3)
    others = [run("scratch", label="helpful"), run("scratch", steps=10)]
    for order in ([pretrained, scratch, *others], [*others, scratch, pretrained]):
        found = paired(order)
        assert [one.difference is not None for one in found] == [True, False, False]
        assert found[0].difference == pytest.approx(72.7 - 63.9)
    twice = paired([pretrained, scratch, run("scratch")])  # a second of the same stands alone
    assert [one.difference is not None for one in twice] == [True, False]


@pytest.mark.parametrize("name", ["shape", "family"])
def test_pairs_need_the_same_network(folders: Callable[[str], Path], name: str) -> None:
    pretrained, scratch = read_run(folders("finetune")), read_run(folders("scratch"))
    scratch.evaluations["finetune"][name] = "another"
    assert [one.difference for one in paired([scratch, pretrained])] == [None, None]


def test_table_keeps_numbers_and_columns(folders: Callable[[str], Path]) -> None:
    tasks = json.loads((folders("quickstart") / "results.json").read_text())["tasks"]
    text = results_table(tasks)
    lines = text.splitlines()
    assert "63.9 [63.8–65.2]" in lines[2] or "63.9 [63.8–65.3]" in lines[2]
    assert "+8.8" in lines[2] and lines[2].endswith("every seed")
    assert "seeds overlap" in lines[5]
    # Chinese characters take two places each: the numbers still stand under one another.
    assert len({cell_len(line[: line.index("]")]) for line in lines[2:6]}) == 1
    assert lines[-1].startswith("Pre-training is ahead in 4 of 4 tasks; in 3 the worst")


def test_table_shows_what_would_hide() -> None:
    text = results_table(
        [{"task": "a\x1b[2J\u202eb\nc", "metric": "accuracy", "majority": None, "scratch": None}]
    )
    assert "\x1b" not in text and "\u202e" not in text
    assert len(text.splitlines()) == 3
