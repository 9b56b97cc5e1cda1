"""A stored evaluation that has a maker becomes a section; one that has none is shown as pairs; nothing breaks out."""

from __future__ import annotations

import json
from pathlib import Path

import altair as alt
import pytest

from unmask.report import report
from unmask.report.figures import data_of, finish
from unmask.report.read import Run
from unmask.report.sections import MAKERS, Section, Table
from unmask.report.sections.form import Figure


def run_folder(folder: Path, name: str, value: object) -> Path:
    (folder / "evaluation").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"verb": "pretrain", "settings": {}}))
    (folder / "evaluation" / f"{name}.json").write_text(json.dumps(value))
    return folder


def made(run: Run, value: dict[str, object]) -> Section | None:
    if not value:
        return None
    points = alt.Chart(data_of([{"x": 1, "y": 2}])).mark_point().encode(x="x:Q", y="y:Q")
    return Section(
        title=f"Measured <b> of {run.name}",
        lead="What was seen",
        figures=[Figure(finish(alt.layer(points), "dots", 90), "Two </script> dots")],
        tables=[Table(["name", "score"], [[str(value["label"]), 12.3456], ["none", None]], "All of them")],
        notes=["a note"],
    )


@pytest.fixture(autouse=True)
def _maker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAKERS, "measured", made)


def test_a_maker_makes_a_section(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "body", "measured.a", {"label": "<script>alert(1)</script>"})
    text = report([run], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Measured &lt;b&gt; of body" in text and "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text and 'class="n"><bdi>12.3</bdi>' in text
    assert '<div class="chart" id="study-0-0">' in text and "Two &lt;/script&gt; dots" in text
    assert "measured.a" not in text.split("<h2>Settings")[0]


def test_none_is_no_section_and_the_unknown_are_pairs(tmp_path: Path) -> None:
    nothing = run_folder(tmp_path / "a", "measured", {})
    unknown = run_folder(tmp_path / "b", "other", {"deep": {"value": 3}})
    text = report([nothing, unknown], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Measured" not in text and "deep.value" in text


def test_leaks_of_several_runs_are_one_section(tmp_path: Path) -> None:
    part = {"rows": 10, "train": {"duplicates": 1, "touched": 2, "too_short": 0, "samples": []}}
    value = {"gram": 13, "shortest": 8, "parts": {"test": part}, "corpora": []}
    runs = [run_folder(tmp_path / name, "leaks", value) for name in ("a", "b", "c")]
    text = report(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("Leaks</bdi></h2>") == 1 and all(f"<caption>{name}</caption>" in text for name in "abc")
