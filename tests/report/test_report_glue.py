"""The published tables recompute to their printed averages; the chart of the lecture is made of them and of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unmask.report import report
from unmask.report.read import Run
from unmask.report.sections.glue import mean, published, ratios, relation, section

# mean of the ratios to the human values
RELATIONS = {
    "CBoW": 0.664, "InferSent": 0.722, "BiLSTM+ELMo+Attn": 0.811, "GPT-1": 0.842, "BERT tiny": 0.724,
    "BERT base": 0.905,
    "BERT large": 0.933, "SpanBERT large": 0.960, "StructBERT large": 0.973, "RoBERTa large": 1.023, "T5 base": 0.952,
    "T5 11B": 1.044, "DeBERTa + TuringNLRv4": 1.049,
}  # fmt: skip


def rows(table: str) -> dict[str, Any]:
    return {row["model"]: row for row in published()[table]["rows"]}


@pytest.mark.parametrize(("table", "count"), [("glue", 27), ("superglue", 14)])
def test_rows_give_their_printed_averages(table: str, count: int) -> None:
    held = published()[table]
    assert len(held["rows"]) == count and set(held["shown"]) < {row["model"] for row in held["rows"]}
    for row in held["rows"]:
        assert list(row["cells"]) == held["tasks"] and row["source"]
        score = mean([mean(row["cells"][task]) for task in held["tasks"]])
        assert score == pytest.approx(row["score"], abs=0.06), row["model"]


def test_the_rule_of_the_average_is_told_apart_from_others() -> None:
    cells = rows("glue")["BERT medium"]["cells"]
    values = [mean(v) for v in cells.values()]
    assert mean(values) == pytest.approx(73.51, abs=0.005)
    two = [x for task, v in cells.items() for x in (v if task == "MNLI" else [mean(v)])]
    assert mean(two) == pytest.approx(74.12, abs=0.005)
    assert mean(values[:-1]) == pytest.approx(74.91, abs=0.005)
    assert mean([mean(v) for v in rows("superglue")["BERT large"]["cells"].values()]) == pytest.approx(
        69.006, abs=5e-4
    )


def test_relations_to_people() -> None:
    held = rows("glue")
    tasks = published()["glue"]["tasks"]
    found = ratios(held["BERT large"], held["human"], tasks)
    assert [round(x, 2) for x in found.values()] == [0.91, 0.97, 1.05, 0.94, 1.15, 0.93, 1.02, 0.75, 0.68]
    for model, expected in RELATIONS.items():
        assert mean(list(ratios(held[model], held["human"], tasks).values())) == pytest.approx(
            expected, abs=6e-4
        ), model
    assert held["BERT large"]["score"] / held["human"]["score"] == pytest.approx(
        0.925, abs=1e-3
    )  # the other reading


def arm(value: float) -> dict[str, Any]:
    spread = {"median": value, "low": value - 1, "high": value + 1, "seeds": [value - 1, value, value + 1]}
    return {"value": spread, "failed": [], "seeds": [0, 1, 2], "learning_rate": 1e-3}


def result(**more: Any) -> dict[str, Any]:
    task = {
        "name": "CoLA", "metrics": ["matthews"], "rows": {"train": 9, "report": 5}, "majority": 0.0, "human": 66.4,
        "starts": {"scratch": arm(10.0), "pretrained": arm(33.2)}, "note": "", "comparison": {"words": "<b>helps</b>"},
    }  # fmt: skip
    rte = {**task, "name": "RTE", "human": 93.6, "metrics": ["accuracy"], "note": "small"}
    means = {"name": "mean of 2 of 9 tasks, which is no GLUE score", "tasks": ["CoLA", "RTE"], "missing": ["QQP"],
             "starts": {"pretrained": {"mean": 33.2, "relation": 0.43}}}  # fmt: skip
    return {
        "suite": "GLUE",
        "published": "glue",
        "protocol": "halves",
        "tasks": [task, rte],
        "means": means,
        **more,
    }


def points(spec: Any) -> list[dict[str, Any]]:
    return [p for data in spec["datasets"].values() for p in data if "ratio" in p]


def test_the_chart_has_a_dot_a_task_for_the_run_and_the_published() -> None:
    spec = relation([("body", result())])
    assert spec is not None
    found = points(spec)
    own = [p for p in found if p["who"] != "published"]
    assert len(own) == 4 and own[2]["model"] == "body, pre-trained" and own[2]["ratio"] == pytest.approx(0.5)
    assert {p["model"] for p in found if p["who"] == "published"} == set(published()["glue"]["shown"])
    assert all(p["source"] for p in found) and {p["task"] for p in found} == {"CoLA", "RTE"}
    means = {m["model"]: m["mean"] for data in spec["datasets"].values() for m in data if "mean" in m}
    assert means["body, pre-trained"] == pytest.approx((33.2 / 66.4 + 33.2 / 93.6) / 2, abs=1e-4)
    assert means["BERT large"] == pytest.approx(
        (60.5 / 66.4 + 70.1 / 93.6) / 2, abs=1e-4
    )  # over the same tasks


def test_without_published_rows_or_human_scores(tmp_path: Path) -> None:
    spec = relation([("body", result(published=""))])
    assert spec is not None and all(p["who"] != "published" for p in points(spec))
    bare = result()
    for task in bare["tasks"]:
        task["human"] = None
    assert relation([("body", bare)]) is None
    run = Run(tmp_path, "pretrain", "body", {}, [], [], {}, [])
    made = section(run, bare)
    assert made is not None and len(made.figures) == 1
    assert section(run, {}) is None and section(run, {"tasks": [{"name": "x", "starts": {}}]}) is not None


def test_on_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "body"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"verb": "pretrain", "settings": {}}))
    (folder / "evaluation/glue.json").write_text(json.dumps(result()))
    page = report([folder], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "GLUE: what body is worth" in page and "&lt;b&gt;helps" in page and "<b>helps" not in page
    assert "which is no GLUE score" in page and "Left out, and not in the mean: QQP" in page


def test_several_runs_share_one_chart(tmp_path: Path) -> None:
    """Tasks that only one of them has are left out, and so are their dots and means."""
    fewer = result()
    fewer["tasks"] = fewer["tasks"][:1]
    spec = relation([("one", result()), ("two", fewer)])
    assert spec is not None
    own = [p for p in points(spec) if p["who"] != "published"]
    assert {p["task"] for p in own} == {"CoLA"}
    assert sorted({p["model"].split(",")[0] for p in own}) == ["one", "two"] and len(own) == 4
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        (folder / "evaluation").mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"verb": "pretrain", "settings": {}}))
        (folder / "evaluation/glue.json").write_text(json.dumps(result()))
    page = report(folders, tmp_path / "page.html").read_text(encoding="utf-8")
    title = "GLUE: the runs beside each other"
    assert title in page and page.count("Filled: these runs") == 1
    assert title not in report(folders[:1], tmp_path / "one.html").read_text("utf-8")
