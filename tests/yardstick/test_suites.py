"""Suites as files, rows as the benchmarks lay them out, halves of dev: what is read, and what is refused."""

from __future__ import annotations

import json
import lzma
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UnmaskError
from unmask.tasks import Answer
from unmask.yardstick import superglue
from unmask.yardstick.rows import Item, Rows, read_part
from unmask.yardstick.runner import prepare
from unmask.yardstick.setting import Setting
from unmask.yardstick.split import halves, limited, write
from unmask.yardstick.suites import Part, SuiteTask, absent, load_suite, shipped

COUNTS = {  # train, dev, test of GLUE
    "CoLA": (8551, 1043, 1063), "SST-2": (67349, 872, 1821), "MRPC": (3668, 408, 1725), "STS-B": (5749, 1500, 1379),
    "QQP": (363846, 40430, 390965), "MNLI": (392702, 9815 + 9832, 9796 + 9847), "QNLI": (104743, 5463, 5463),
    "RTE": (2490, 277, 3000), "WNLI": (635, 71, 146),
}  # fmt: skip
MINE = """
name = "Mine"
[[task]]
name = "mood"
kind = "classify"
metrics = "accuracy"
labels = ["good", "bad"]
text_a = "review"
train = "train.tsv"
dev = "dev.tsv"
"""


def mine(tmp_path: Path, text: str = MINE) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def task(name: str, suite: str = "glue") -> SuiteTask:
    return next(t for t in load_suite(suite).task if t.name == name)


# -- the files ---------------------------------------------------------------------------------------------------


def test_those_that_ship_load_and_glue_has_the_benchmarks_counts() -> None:
    assert {"glue", "glue-data", "superglue", "superglue-data", "chinese"} <= set(shipped())
    suites = {name: load_suite(name) for name in shipped()}
    found = {
        t.name: (t.train.rows, sum(p.rows or 0 for p in t.dev), sum(p.rows or 0 for p in t.test))
        for t in suites["glue"].counted
        if t.train
    }
    assert found == COUNTS
    assert len(suites["superglue"].counted) == 8
    files = [s.file for t in suites["glue"].task for s in t.submission]
    names = "CoLA SST-2 MRPC STS-B QQP MNLI-m MNLI-mm QNLI RTE WNLI AX".split()
    assert sorted(files) == sorted(f"{name}.tsv" for name in names)


def test_a_users_file(tmp_path: Path) -> None:
    suite = load_suite(mine(tmp_path))
    assert suite.name == "Mine" and suite.task[0].train == Part("train.tsv")
    assert suite.task[0].dev == (Part("dev.tsv"),) and suite.task[0].metrics == ("accuracy",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("labels =", "lables =", "labels"),
        ('"accuracy"', '"acuracy"', 'Did you mean "accuracy"'),
        ('kind = "classify"', 'kind = "clasify"', "classify"),
        ('"accuracy"', '"f1"', "positive"),
        ('dev = "dev.tsv"', "", "dev"),
        ('labels = ["good", "bad"]', "", "labels is missing"),
        ('name = "mood"', 'name = "../mood"', "no folder can have"),
        ("[[task]]", "[task]", "task"),
        ("[[task]]", "[[task", "no TOML"),
        ('kind = "classify"', 'kind = "pair"', "text_b is missing"),
        ('metrics = "accuracy"', 'metrics = "accuracy"\nhuman = [1, 2, 3]', "3 human scores for 1"),
        ('dev = "dev.tsv"', 'dev = "dev.tsv"\nuses = "moood"', 'Did you mean "mood"|uses'),
    ],
)
def test_a_wrong_suite_is_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UnmaskError, match=message):
        load_suite(mine(tmp_path, MINE.replace(old, new)))


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(UnmaskError, match='Did you mean "chinese"'):
        load_suite("chinse")
    with pytest.raises(UnmaskError, match="no file"):
        load_suite("nothing/here.toml")


# -- rows --------------------------------------------------------------------------------------------------------


def put(folder: Path, name: str, lines: list[str]) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def small(t: SuiteTask, rows: int) -> SuiteTask:
    assert t.train is not None
    return replace(t, train=replace(t.train, rows=rows))


def test_cells_keep_quotes_and_empty_ends(tmp_path: Path) -> None:
    put(tmp_path, "CoLA/train.tsv", ['gj04\t1\t\tHe said "no.', "gj04\t0\t*\t  Two  spaces "])
    rows = read_part(small(task("CoLA"), 2), Part("CoLA/train.tsv", 2), tmp_path, labelled=True)
    assert [x.texts for x in rows.items] == [('He said "no.',), ("  Two  spaces ",)]
    assert [x.gold for x in rows.items] == ["1", "0"]
    put(tmp_path, "CoLA/test.tsv", ["index\tsentence", "0\tHello.", "1\t"])
    part = replace(task("CoLA").test[0], rows=2)
    test = read_part(task("CoLA"), part, tmp_path, labelled=False)
    assert [(x.index, x.texts) for x in test.items] == [
        ("0", ("Hello.",)),
        ("1", ("",)),
    ]  # no test row vanishes


def test_packed_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "CoLA").mkdir()
    with lzma.open(tmp_path / "CoLA/dev.tsv.xz", "wt", encoding="utf-8") as file:
        file.write("a\t1\t\tYes.\n")
    assert len(read_part(task("CoLA"), Part("CoLA/dev.tsv"), tmp_path, labelled=True)) == 1
    assert absent(tmp_path, task("CoLA")) == ["CoLA/train.tsv"]


@pytest.mark.parametrize(
    ("lines", "rows", "message"),
    [
        (["a\t1\t\tYes."], 2, "has 1 rows — 2 were expected"),
        (["a\t2\t\tYes."], 1, 'label is "2" — CoLA has 0, 1'),
        (["a\t1"], 1, "line 1: too few columns"),
        ([], 1, "empty"),
    ],
)
def test_cut_files_and_labels_out_of_range(tmp_path: Path, lines: list[str], rows: int, message: str) -> None:
    put(tmp_path, "CoLA/dev.tsv", lines)
    with pytest.raises(UnmaskError, match=message):
        read_part(task("CoLA"), Part("CoLA/dev.tsv", rows), tmp_path, labelled=True)


def test_scores_out_of_range_and_rows_without_a_majority(tmp_path: Path) -> None:
    t = task("STS-B", "chinese")
    put(tmp_path, "dev.csv", ['"a, b",c,5.0', "d,e,5.5"])
    with pytest.raises(UnmaskError, match=r'row 2: the label is "5.5" — STS-B has numbers from 0 to 5'):
        read_part(t, Part("dev.csv"), tmp_path, labelled=True)
    put(tmp_path, "dev.csv", ['"a, b",c,5.0', "d,e,nan"])
    with pytest.raises(UnmaskError, match="nan"):
        read_part(t, Part("dev.csv"), tmp_path, labelled=True)
    row = {"sentence1": "a", "sentence2": "b", "prem_id": "p", "label": "-"}
    put(tmp_path, "ocnli.jsonl", [json.dumps(row), json.dumps({**row, "label": "neutral"})])
    rows = read_part(task("OCNLI", "chinese"), Part("ocnli.jsonl", 2), tmp_path, labelled=True)
    assert len(rows) == 1 and "1 rows labelled -" in rows.notes[0]
    put(tmp_path, "ocnli.jsonl", [json.dumps({**row, "sentence2": None})])
    with pytest.raises(UnmaskError, match="line 1: sentence2 is null — expected a text"):
        read_part(task("OCNLI", "chinese"), Part("ocnli.jsonl", 1), tmp_path, labelled=True)


def test_qqp_passes_over_rows_that_the_distribution_broke(tmp_path: Path) -> None:
    head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    put(tmp_path, "QQP/train.tsv", [head, "0\t1\t2\tWhy?\tHow?\t0", "1\t2\t3\tWho?"])
    rows = read_part(task("QQP"), Part("QQP/train.tsv", 1), tmp_path, labelled=True)
    assert len(rows) == 1 and "1 rows with too few columns" in rows.notes[0]


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "train.tsv", ["reviews\tlabel", "nice\tgood"])
    t = load_suite(mine(tmp_path)).task[0]
    with pytest.raises(UnmaskError, match='no column "review".*Did you mean "reviews"'):
        read_part(t, Part("train.tsv"), tmp_path, labelled=True)


def test_short_rows_are_told_by_the_names_of_their_columns(tmp_path: Path) -> None:
    put(tmp_path, "train.tsv", ["review\tlabel", "nice"])
    with pytest.raises(UnmaskError, match="line 2: too few columns — review, label .* were expected"):
        read_part(load_suite(mine(tmp_path)).task[0], Part("train.tsv"), tmp_path, labelled=True)


def test_the_index_of_a_row_is_what_stands_in_the_file(tmp_path: Path) -> None:
    t = task("CB", "superglue")
    row = {"premise": "a", "hypothesis": "b", "label": "neutral"}
    put(tmp_path, "CB/test.jsonl", [json.dumps({**row, "idx": 3}), json.dumps({**row, "idx": "x4"})])
    found = read_part(t, replace(t.test[0], rows=2), tmp_path, labelled=False)
    assert [item.index for item in found.items] == [3, "x4"]


# -- SuperGLUE ---------------------------------------------------------------------------------------------------


def read(name: str, value: dict[str, Any]) -> tuple[list[Any], int]:
    return superglue.READERS[name]([("file, line 1", value)], True)


def test_superglue_rows() -> None:
    (row,), _ = read("wic", {
        "sentence1": "Class!", "sentence2": "It showed class.", "idx": 3, "label": False,
        "start1": 0, "end1": 5, "start2": 10, "end2": 15,
    })  # fmt: skip
    assert row[:3] == (3, ("* Class *!", "It showed * class *."), "false")
    (row,), _ = read("wsc", {
        "text": "Ann told Mary Ann that she left.", "idx": 0, "label": True,
        "target": {"span1_index": 2, "span1_text": "Mary Ann", "span2_index": 5, "span2_text": "she"},
    })  # fmt: skip
    assert row[1] == ("Ann told # Mary Ann # that * she * left.",) and row[2] == "true"
    (row,), _ = read("copa", {
        "premise": "I ran.", "choice1": "It rained.", "choice2": "I was late.", "question": "cause",
        "idx": 1, "label": 1,
    })  # fmt: skip
    assert row[1] == ("I ran because it rained.", "I ran because I was late.") and row[2] == "1"
    answers = [{"idx": 0, "text": "x", "label": 1}, {"idx": 1, "text": "y", "label": 0}]
    passage = {"text": "P", "questions": [{"idx": 4, "question": "Q?", "answers": answers}]}
    rows, count = read("multirc", {"idx": 7, "passage": passage})
    assert count == 1 and [r[0] for r in rows] == [(7, 4, 0), (7, 4, 1)]
    assert rows[0][1] == ("P", "Q? x") and rows[0][3:5] == ("7", "7/4")
    passage = {"text": "Rome and Oslo and Rome", "entities": [
        {"start": 0, "end": 3}, {"start": 9, "end": 12}, {"start": 18, "end": 21}]}  # fmt: skip
    query = {"idx": 9, "query": "@placeholder is big", "answers": [{"text": "Rome", "start": 0, "end": 3}]}
    rows, count = read("record", {"passage": passage, "qas": [query]})
    assert count == 1 and [(r[1][1], r[2]) for r in rows] == [("Rome is big", "1"), ("Oslo is big", "0")]


def test_superglue_rows_that_lack_something() -> None:
    with pytest.raises(UnmaskError, match='line 1: there is no "passage"'):
        read("boolq", {"question": "is it", "idx": 0, "label": True})
    with pytest.raises(UnmaskError, match="cause or effect"):
        read(
            "copa", {"premise": "a", "choice1": "b", "choice2": "c", "question": "why", "idx": 0, "label": 0}
        )


def test_questions_keep_their_order_wherever_their_articles_lie(tmp_path: Path) -> None:
    asked = [("A", "one"), ("B", "two"), ("A", "one"), ("A", "three"), ("A", "three")]
    items = [
        Item(n, (f"q{n}", text), [("x", None)], group, key=f"k{n}") for n, (group, text) in enumerate(asked)
    ]
    own = replace(task("CoLA"), kind="answer")
    path = write(own, Rows(tuple(items), where="here"), tmp_path / "rows")
    read = Answer().read(path)
    assert [x.id for x in read.items] == ["k0", "k1", "k2", "k3", "k4"]
    assert [x.texts for x in read.items] == [item.texts for item in items]


# -- halves ------------------------------------------------------------------------------------------------------


def some(n: int, labels: str = "001", groups: int | None = None) -> Rows:
    items = [
        Item(i, (f"text {i}",), labels[i % len(labels)], None if groups is None else f"g{i % groups}")
        for i in range(n)
    ]
    return Rows(tuple(items), where="here")


def test_halves_divide_every_label_and_nothing_else() -> None:
    rows = some(101)
    a, b = halves(rows, "classify")
    assert {x.index for x in a.items} | {x.index for x in b.items} == set(range(101))
    assert not {x.index for x in a.items} & {x.index for x in b.items}
    for label in "01":
        counts = [Counter(x.gold for x in half.items)[label] for half in (a, b)]
        assert abs(counts[0] - counts[1]) <= 1
    assert halves(rows, "classify") == (a, b) and halves(rows, "classify", seed=1) != (a, b)
    assert [x.index for x in a.items] == sorted(x.index for x in a.items)


def test_groups_stay_together_and_scores_are_spread() -> None:
    a, b = halves(some(90, groups=12), "classify")
    assert not {x.group for x in a.items} & {x.group for x in b.items} and abs(len(a) - len(b)) <= 8
    scored = Rows(tuple(Item(i, ("t",), str(i / 20)) for i in range(100)), where="here")
    a, b = halves(scored, "score")
    assert abs(sum(float(x.gold) for x in a.items) - sum(float(x.gold) for x in b.items)) <= 2.5
    with pytest.raises(UnmaskError, match="at least two"):
        halves(some(5, groups=1), "classify")


def test_fewer_rows_are_among_the_more_and_have_every_label() -> None:
    rows = some(300, "0" * 99 + "1")
    few, more = limited(rows, 20, "classify"), limited(rows, 100, "classify")
    assert {x.index for x in few.items} < {x.index for x in more.items} and len(few) == 20
    assert {x.gold for x in few.items} == {"0", "1"}
    with pytest.raises(UnmaskError, match="one of each"):
        limited(rows, 1, "classify")


def test_settings_that_contradict() -> None:
    with pytest.raises(UnmaskError, match="both steps and epochs"):
        Setting(steps=10, epochs="3")
    with pytest.raises(UnmaskError, match='rates: "fast"'):
        Setting(rates="1e-3,fast")
    with pytest.raises(UnmaskError, match="seeds is 0"):
        Setting(seeds=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "folder"), [("glue-data", "glue"), ("superglue-data", "superglue"), ("chinese", "")]
)
def test_data_sets_have_the_counts_and_labels_of_their_suites(
    suite: str, folder: str, tmp_path: Path
) -> None:
    data = Path(os.environ["DATA"]) / folder
    there = [t for t in load_suite(suite).counted if not absent(data, t)]
    assert len(there) >= 5
    for t in there:
        ready = prepare(t, data, tmp_path, Setting(limit_train=500))
        assert len(ready.select[0]) > 20 and len(ready.report[0]) > 20
