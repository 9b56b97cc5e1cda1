"""The page: its numbers are the runs' numbers, and nothing a stranger wrote can do anything."""

import base64
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import HOSTILE, TASKS, about, write

from unmask.errors import UnmaskError
from unmask.report import report

Folders = Callable[[str], Path]
VOID = {"meta", "link", "br", "hr", "img", "input", "line", "path", "circle", "rect"}
RAW = ("script", "style")


class Page(HTMLParser):
    """Every element with its attributes, the text of cells, and whether the tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in RAW:
            self.raw.append((tag, dict(attrs), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in RAW:
            tag, attrs, text = self.raw.pop()
            self.raw.append((tag, attrs, text + data))
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(folders: Folders, tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = report([folders("quickstart")], tmp_path_factory.mktemp("page") / "report.html")
    return Page(out.read_text(encoding="utf-8"))


def test_policy_names_every_script_and_style(page: Page) -> None:
    (policy,) = [
        a["content"] or "" for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy and "http" not in policy
    run = [text for tag, attrs, text in page.raw if tag == "script" and "type" not in attrs]
    style = [text for tag, _, text in page.raw if tag == "style"]
    assert (len(run), len(style)) == (2, 1)  # the bundle once, the page's own script, one sheet
    for text in run + style:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.count("sha256-") == 3


def test_no_request_and_no_inline_handler(page: Page) -> None:
    for tag, attrs in page.elements:
        assert not [key for key in attrs if key.startswith("on") or key == "style"], (tag, attrs)
        for key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (attrs.get(key) or "#").startswith(("#", "data:,")), (tag, attrs)
        assert tag not in ("iframe", "object", "embed", "form", "base", "image", "use", "foreignobject")
    (sheet,) = [text for tag, _, text in page.raw if tag == "style"]
    assert "url(" not in sheet and "@import" not in sheet


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        if (attrs.get("href") or "").startswith("#"):
            assert (attrs["href"] or "")[1:] in ids
        if "clip-path" in attrs:
            assert (attrs["clip-path"] or "")[5:-1] in ids


def test_hostile_labels_stay_text(page: Page) -> None:
    assert "<script>alert" not in page.source
    assert HOSTILE in page.text  # shown, letter by letter
    assert "\u202e" not in page.source and "\x07" not in page.source
    assert (
        "⟨U+202E⟩" in page.text
        and "⟨U+0007⟩" in page.text
        and "⟨U+D800⟩" in page.text
        and "⟨U+2028⟩" in page.text
    )
    (data,) = [text for tag, attrs, text in page.raw if attrs.get("type") == "application/json"]
    assert "<" not in data


def test_numbers_are_those_of_the_runs(page: Page) -> None:
    for task, _, _, majority, scratch, pretrained in TASKS:
        cells = page.text[page.text.index(f"{task} ") :]
        line = f"{cells[: cells.index(' test ')]} test"
        for scores in (scratch, pretrained):
            line += f" {sorted(scores)[1]:.1f} [{min(scores):.1f} – {max(scores):.1f}] · 3 seeds"
        line += f" {sorted(pretrained)[1] - sorted(scratch)[1]:+.1f}"
        assert cells.startswith(line)
        assert f" {'–' if majority is None else majority} 500 / 1,000" in cells[len(line) : len(line) + 200]
    (title,) = re.findall(r"<h1>(.*?)</h1>", page.source)
    assert title.startswith("Pre-training is ahead in 4 of 4 tasks; in 3 the worst pre-trained seed")
    assert "8,192 tokens a second" in page.text  # over the whole run; its last line says 8,500
    assert "2.46 million" in page.text and "3.31" in page.text and "39.6 %" not in page.text


def test_charts_hold_the_runs_points(page: Page) -> None:
    (data,) = [text for tag, attrs, text in page.raw if attrs.get("type") == "application/json"]
    charts: dict[str, Any] = json.loads(data)
    assert {
        "ranges-0",
        "loss-seconds",
        "loss-tokens",
        "accuracy",
        "term-0",
        "task-0-loss",
        "task-3-dev",
    } <= set(charts)
    for name, spec in charts.items():
        assert f'id="{name}"' in page.source
        curves = Counter((value.get("kind"), value.get("curve")) for value in _values(spec))
        assert max(curves.values()) <= 400
    assert {value["y"] for value in _values(charts["loss-tokens"]) if "words" in value} == {9.011, 6.53}
    drawn = [value["median"] for value in _values(charts["ranges-0"]) if "median" in value]
    assert sorted(drawn) == sorted(sorted(scores)[1] for task in TASKS for scores in task[4:])


def _values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [value for values in spec["datasets"].values() for value in values]


def test_a_drawing_stands_where_scripts_are_off(page: Page) -> None:
    boxes = re.findall(r'<div class="chart" id="[^"]+">(.{30})', page.source)
    assert len(boxes) >= 12
    assert all(box.startswith("<svg ") for box in boxes)
    assert "var(--pretrained)" in page.source[page.source.index('id="ranges-0"') :][:20000]


def test_same_runs_same_bytes(folders: Folders, tmp_path: Path) -> None:
    one, two = (
        report([folders("scratch"), folders("finetune")], tmp_path / name) for name in ("1.html", "2.html")
    )
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_size < 3_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.html", "2.html"]  # nothing left aside


def test_several_bodies_are_compared(folders: Folders, tmp_path: Path) -> None:
    text = report([folders("pretrain"), folders("second")], tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert "<script>alert" not in text
    assert "The pre-trained bodies" in page.text
    (data,) = [raw for _, attrs, raw in page.raw if attrs.get("type") == "application/json"]
    values = _values(json.loads(data)["loss-tokens"])
    assert {value["run"] for value in values if "run" in value} == {"bert", HOSTILE}
    assert {value["y"] for value in values if "words" in value} == {9.011, 6.53, 8.5, 6.1}


def test_runs_of_one_name_are_told_apart(folders: Folders, tmp_path: Path) -> None:
    for above in ("a", "b"):
        shutil.copytree(folders("pretrain"), tmp_path / above / "body")
    text = report([tmp_path / "a" / "body", tmp_path / "b" / "body"], tmp_path).read_text(encoding="utf-8")
    (data,) = [raw for _, attrs, raw in Page(text).raw if attrs.get("type") == "application/json"]
    values = _values(json.loads(data)["loss-tokens"])
    assert {value["run"] for value in values if "run" in value} == {"a/bert", "b/bert"}


def test_a_run_beside_a_quickstart_has_a_row(folders: Folders, tmp_path: Path) -> None:
    alone = Page(report([folders("quickstart")], tmp_path).read_text(encoding="utf-8"))
    beside = report([folders("quickstart"), folders("finetune"), folders("scratch")], tmp_path)
    assert "helped" in alone.text or "ahead" in alone.text
    assert "in 5 of 5 tasks" in beside.read_text(encoding="utf-8")


def test_two_tasks_of_one_kind_are_two_charts(folders: Folders, tmp_path: Path) -> None:
    for name in ("one", "two"):
        for part in ("finetune", "scratch"):
            shutil.copytree(folders(part), tmp_path / name / part)
            path = tmp_path / name / part / "run.json"
            about = json.loads(path.read_text())
            about["settings"] = {**about["settings"], "train": name}
            path.write_text(json.dumps(about))
    runs = [tmp_path / name / part for name in ("one", "two") for part in ("finetune", "scratch")]
    (data,) = [
        raw
        for _, attrs, raw in Page(report(runs, tmp_path).read_text(encoding="utf-8")).raw
        if attrs.get("type") == "application/json"
    ]
    charts = json.loads(data)
    assert "task-0-loss" in charts and "task-1-loss" in charts
    names = {value["task"] for value in _values(charts["ranges-0"]) if "task" in value}
    assert len(names) == 2


def test_empty_run_says_so(tmp_path: Path) -> None:
    write(tmp_path / "run/run.json", {"verb": "pretrain", "name": "fresh"})
    page = Page(report([tmp_path / "run"], tmp_path / "out" / "page.html").read_text(encoding="utf-8"))
    assert "Nothing to show yet." in page.text
    assert "fresh has not finished" in page.text
    assert not [tag for tag, _ in page.elements if tag == "script"]


def test_torn_and_strange_lines_are_told(tmp_path: Path) -> None:
    write(tmp_path / "run.json", about("pretrain", "torn"))
    lines = [
        '{"step": 1, "seconds": 1, "tokens": 9, "loss": 8.5, "terms": {"mlm": 8.5}}',
        '{"step": 2, "loss": NaN}',
        '{"step": 3, "lo',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    page = Page(report([tmp_path], tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "torn: 1 unreadable line of metrics.jsonl left out" in page.text
    assert "torn: the training loss was not a number at 1 step" in page.text
    assert "NaN" not in "".join(raw for _, attrs, raw in page.raw if attrs.get("type") == "application/json")


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match=r"has no run.json — expected the folder of a run"):
        report([tmp_path], tmp_path / "page.html")
    with pytest.raises(UnmaskError, match="is no folder"):
        report([tmp_path / "absent"], tmp_path / "page.html")
    with pytest.raises(UnmaskError, match="no run folder was given"):
        report([], tmp_path / "page.html")
    write(tmp_path / "run.json", {"verb": "dance"})
    with pytest.raises(UnmaskError, match="names no verb"):
        report([tmp_path], tmp_path / "page.html")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UnmaskError, match="is no JSON"):
        report([tmp_path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
