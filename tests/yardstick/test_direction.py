"""Which way round: the better start is called better, the best setting is chosen, and files say what was answered."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from unmask.yardstick import runner
from unmask.yardstick.rows import Item, Rows
from unmask.yardstick.runner import Ready, best_of, select_value
from unmask.yardstick.score import Arm, task_json, verdicts
from unmask.yardstick.submission import text_of
from unmask.yardstick.suites import Submission, SuiteTask

TASK = SuiteTask("made", "classify", ("accuracy",), labels=("0", "1"))
ROWS = Rows(tuple(Item(n, (f"text {n}",), str(n % 2)) for n in range(200)))
RIGHT = [item.gold for item in ROWS.items]
WRONG = ["1" if gold == "0" else "0" for gold in RIGHT]


def arm(good: bool) -> Arm:
    """Three seeds of which nine tenths of the rows are right, or a tenth."""
    said = []
    for seed in range(3):
        mostly, seldom = (RIGHT, WRONG) if good else (WRONG, RIGHT)
        said.append(([seldom[n] if n % 10 == seed else mostly[n] for n in range(len(ROWS))],))
    return Arm(1e-3, 3.0, "auto", 1, (0, 1, 2), tuple(said), (0.0,) * 3, (1.0,) * 3, 10)


@pytest.mark.parametrize("good", [True, False])
def test_the_start_that_is_better_is_called_so(good: bool) -> None:
    arms = {"pretrained": arm(good), "scratch": arm(not good)}
    found = task_json(TASK, arms, ROWS, [ROWS], 0)
    verdicts([found])
    comparison = found["comparison"]
    assert comparison["difference"] == pytest.approx(80.0 if good else -80.0)
    assert comparison["low"] <= comparison["difference"] <= comparison["high"]
    assert comparison["verdict"] == ("better" if good else "worse")
    assert comparison["words"].startswith("pre-training helps" if good else "pre-training hurts")
    assert found["starts"]["pretrained"]["value"]["median"] == pytest.approx(90.0 if good else 10.0)


def test_what_is_chosen_is_best_on_the_rows_that_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = Ready(TASK, ROWS, (ROWS,), (ROWS,), {})
    answers = {
        "a": {"select-0": RIGHT, "report-0": WRONG},
        "b": {"select-0": WRONG, "report-0": RIGHT},
    }
    monkeypatch.setattr(runner, "predictions", lambda cell: answers[cell])
    cells: Any = ["b", "a"]
    assert [select_value(ready, answers[name]) for name in cells] == [0.0, 1.0]
    points: Any = {1e-3: "b", 2e-3: "a"}
    assert best_of(ready, points) == 2e-3


def lines(task: SuiteTask, one: Submission, items: list[Item], said: list[Any]) -> list[Any]:
    return [json.loads(line) for line in text_of(task, one, Rows(tuple(items)), said).splitlines()]


def test_the_files_of_superglue() -> None:
    jsonl = Submission("x.jsonl", form="jsonl")
    yes = lines(
        replace(TASK, labels=("false", "true")),
        replace(jsonl, labels={"0": "false", "1": "true"}),
        [Item(7, ("q", "p"), None), Item(9, ("q", "p"), None)],
        ["1", "0"],
    )
    assert yes == [{"idx": 7, "label": "true"}, {"idx": 9, "label": "false"}]
    whole = lines(TASK, replace(jsonl, whole=True), [Item(3, ("a", "b"), None)], ["1"])
    assert whole == [{"idx": 3, "label": 1}]
    records = [
        Item(5, ("q",), None, about=("Paris",)),
        Item(5, ("q",), None, about=("Rome",)),
        Item(6, ("q",), None, about=("Bonn",)),
    ]
    said = [["1", 0.2], ["1", 0.7], ["0", 0.1]]
    assert lines(replace(TASK, reader="record"), jsonl, records, said) == [
        {"idx": 5, "label": "Rome"},
        {"idx": 6, "label": "Bonn"},
    ]
    answers = [Item(index, ("q", "a"), None) for index in ((1, 0, 0), (1, 0, 1), (1, 4, 0), (2, 0, 3))]
    assert lines(replace(TASK, reader="multirc"), jsonl, answers, ["1", "0", "0", "1"]) == [
        {
            "idx": 1,
            "passage": {
                "questions": [
                    {"idx": 0, "answers": [{"idx": 0, "label": 1}, {"idx": 1, "label": 0}]},
                    {"idx": 4, "answers": [{"idx": 0, "label": 0}]},
                ]
            },
        },
        {"idx": 2, "passage": {"questions": [{"idx": 0, "answers": [{"idx": 3, "label": 1}]}]}},
    ]
