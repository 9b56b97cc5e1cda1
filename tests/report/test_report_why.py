"""A study on the page: six figures of four starts, one scale for both surfaces, nothing hostile alive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unmask.report import report
from unmask.report.sections.why import surfaces

STARTS = ("pretrained", "scratch", "frozen", "embeddings")


def way(start: str, worst: float) -> dict[str, Any]:
    trajectory = [{"step": 0, "x": 0.0, "y": 0.0}, {"step": 9, "x": 1.0, "y": 0.0}]
    plane = {"plane": "bend", "across": [0.0, 1.0], "up": [-1.0, 0.0, 1.0], "inside": 0.9, "trajectory": trajectory,
             "losses": [[worst, 0.2], [0.7, 0.1], [0.9, None]]}  # fmt: skip
    return {"start": start, "alphas": [0.0, 0.5, 1.0], "losses": [0.7, 0.4, 0.1], "rows": 16,
            "logged": {"start": 0.7, "end": 0.1}, "surface": plane}  # fmt: skip


def found(name: str) -> dict[str, Any]:
    score = {"median": 70.0, "low": 68.0, "high": 71.5, "seeds": [70.0, 68.0, 71.5]}
    points = [{"step": s, "train": 0.7 - s / 20, "dev": 0.7 - s / 30, "score": 50 + s} for s in (0, 3, 9)]
    own = {"rate": 1e-3, "scores": {"50": score, "400": score}, "moved": 123, "failed": 0,
           "curves": [{"seed": n, "points": points} for n in range(3)]}  # fmt: skip
    return {
        "name": name, "metric": "accuracy", "reported": "test", "steps": 9, "batch": 16, "sample": 16,
        "majority": 50.0, "seeds": [0, 1, 2], "sizes": [50, 400], "starts": dict.fromkeys(STARTS, own),
        "grids": {"scratch": {"chosen": 1e-3, "rates": [{"rate": 1e-3, "dev": score}]}},
        "ways": [way("pretrained", 5.0), way("scratch", 0.8)], "readings": ["</script> read"],
    }  # fmt: skip


def test_figures_and_tables(tmp_path: Path) -> None:
    (tmp_path / "body/evaluation").mkdir(parents=True)
    (tmp_path / "body/run.json").write_text(json.dumps({"verb": "pretrain", "settings": {}}))
    (tmp_path / "body/evaluation/why.x.json").write_text(json.dumps(found("<i>x")))
    text = report([tmp_path / "body"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count('class="chart" id="study-0-') == 6
    assert "Why &lt;i&gt;x: body" in text and "&lt;/script&gt; read" in text and "70.0 [68.0–71.5]" in text
    assert "the direction in which the trajectory bends most" in text
    for colour in ("--pretrained", "--scratch", "--run2", "--run3"):
        assert f"var({colour})" in text


def test_both_surfaces_have_one_scale() -> None:
    one, two = surfaces([way("pretrained", 5.0), way("scratch", 0.8)])
    assert "0.1 (light) to 5 (dark)" in one.caption and "0.1 (light) to 5 (dark)" in two.caption

    def dark(spec: dict[str, Any]) -> dict[float, float]:
        (rows,) = [d for d in spec["datasets"].values() if "dark" in d[0]]
        return {cell["loss"]: cell["dark"] for cell in rows}

    first, second = dark(one.spec), dark(two.spec)
    assert (
        first[5.0] == 1 and first[0.1] == second[0.1] == 0 and first[0.7] == second[0.7] and second[0.8] < 1
    )
    assert len(first) == 5  # what was no number is not drawn
