"""Lines of metrics: exact means, a run that learnt nothing is told so, and where lines go too."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unmask.errors import UnmaskError
from unmask.jobs.meter import Meter, Plateau, recorded_places, stuck
from unmask.jobs.sinks import check_sinks, numbers, opened
from unmask.run import Run
from unmask.train import Step


def test_a_loss_on_the_unigram_line_is_told() -> None:
    def lines(curve: Callable[[float], float]) -> list[dict[str, Any]]:
        noise = random.Random(0)
        return [
            {"step": n, "place": n / 60, "terms": {"mlm": curve(n / 60) + noise.gauss(0, 0.04)}}
            for n in range(60)
        ] + [{"step": 60, "heldout": {"mlm": 1.0}}]

    flat = stuck(lines(lambda place: 6.0), "mlm", 6.0, 0.05)
    assert flat is not None and "6.0" in flat and "learning rate" in flat and "repeated lines" in flat
    assert stuck(lines(lambda place: 6.0 - 0.6 * (place > 0.8)), "mlm", 6.0, 0.05) is None  # it left at last
    assert stuck(lines(lambda place: 5.8), "mlm", 6.0, 0.05) is None
    assert stuck(lines(lambda place: 6.3 if place < 0.3 else 6.0), "mlm", 6.0, 0.05) is not None
    assert stuck(lines(lambda place: 6.0)[-4:], "mlm", 6.0, 0.05) is None  # too few to say


def test_a_loss_that_sits_on_the_unigram_line_is_told_while_it_runs_and_once() -> None:
    def told(curve: Callable[[float], float], before: int = 0) -> list[int]:
        noise = random.Random(0)
        lines: list[dict[str, Any]] = [
            {"step": n, "place": n / 200, "terms": {"mlm": curve(n / 200) + noise.gauss(0, 0.02)}}
            for n in range(200)
        ]
        plateau = Plateau("mlm", 6.0, 0.05, lines[:before])
        return [line["step"] for line in lines[before:] if plateau.add(line)]

    assert told(lambda place: 6.0) == [31] or told(lambda place: 6.0) == [30]  # a tenth after a warm-up of 10
    assert told(lambda place: 9.0 - 20 * place if place < 0.15 else 6.0)[0] > 50
    assert told(lambda place: 9.0 - 4 * place) == []  # it passes the line, as all do
    assert told(lambda place: 5.8) == [] and told(lambda place: 6.5) == []
    assert told(lambda place: 6.0, before=100) == []  # an earlier sitting said it
    plateau = Plateau("mlm", 6.0, 0.0, [])
    text = [plateau.add({"step": n, "place": n / 9, "terms": {"mlm": 6.0}}) for n in range(9)]
    assert sum(t is not None for t in text) == 1
    (said,) = filter(None, text)
    assert "step 4" in said and "44 % of the run" in said and "learning rate" in said
    assert plateau.add({"step": 9, "place": 1.0, "skipped": 3}) is None


def test_a_corpus_of_one_word_has_a_line_at_nought() -> None:
    lines = [{"step": n, "place": n / 9, "terms": {"mlm": 1.0}} for n in range(1, 10)]
    plateau = Plateau("mlm", 0.0, 0.0, lines[:3])
    assert [plateau.add(line) for line in lines[3:]] == [None] * 6
    assert stuck(lines * 5, "mlm", 0.0, 0.0) is None


def test_a_meter_of_updates_that_were_left_out_has_no_loss() -> None:
    meter = Meter()
    bad = Step(1, {"mlm": torch.tensor(float("nan"))}, {"mlm": 3}, torch.tensor(float("nan")), 9, False)
    meter.add(bad, 0.1)
    assert meter.line(1.0) == {"skipped": 1} and meter.places == [0.1]
    good = Step(
        2, {"mlm": torch.tensor(6.0), "mlm_correct": torch.tensor(1)}, {"mlm": 4}, torch.tensor(1.0), 9, True
    )
    meter.add(good, 0.2)
    line = meter.line(3.0)
    assert line["loss"] == 1.5 and line["accuracy"] == 0.25 and line["tokens_per_second"] == 3.0


def test_sinks_get_the_numbers_and_a_missing_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = {"step": 3, "loss": 2.5, "terms": {"mlm": 2.0}, "accuracy": None, "places": [0.1]}
    assert numbers(line) == {"loss": 2.5, "terms/mlm": 2.0}
    monkeypatch.setattr("unmask.jobs.sinks.find_spec", lambda name: None)
    with pytest.raises(UnmaskError, match=r"pip install 'unmask\[trackio\]'"):
        check_sinks(["trackio"])
    calls: list[Any] = []

    class Fake:
        """Trackio's functions, recorded."""

        init = staticmethod(lambda **given: calls.append(given["name"]))
        log = staticmethod(lambda values, step: calls.append((values, step)))
        finish = staticmethod(lambda: calls.append("finish"))

    monkeypatch.setitem(sys.modules, "trackio", Fake)
    with opened(["trackio"], tmp_path / "run", {}, 0, print) as sinks:
        sinks[0](line)
    assert calls == ["run", ({"loss": 2.5, "terms/mlm": 2.0}, 3), "finish"]


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with opened(["tensorboard"], tmp_path, {}, 0, print) as sinks:
        for step in (1, 2):
            sinks[0]({"step": step, "loss": 4.0 / step, "heldout": {"mlm": 1.0}})
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(1, 4.0), (2, 2.0)]
    assert len(read.Scalars("heldout/mlm")) == 2


def test_a_sink_that_cannot_be_closed_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError("no space left on device")

    fake = SimpleNamespace(init=lambda **given: None, log=lambda *given, **named: None, finish=full)
    monkeypatch.setitem(sys.modules, "trackio", fake)
    said: list[str] = []
    with opened(["trackio"], tmp_path, {}, 0, lambda event: said.append(event["text"])) as sinks:
        assert len(sinks) == 1
    assert "no space left" in said[0]


def test_a_sink_that_cannot_be_opened_ends_only_what_has_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**given: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=away))
    said: list[str] = []
    with (
        pytest.raises(UnmaskError, match="trackio could not be opened.*leave it out of --log"),
        opened(["trackio"], tmp_path, {}, 0, print),
    ):
        pytest.fail("it was opened")
    with opened(["trackio"], tmp_path, {}, 7, lambda event: said.append(event["text"])) as sinks:
        assert sinks == []
    assert "nobody there" in said[0]


def test_lines_that_are_missing_are_no_schedule(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", verb="pretrain", settings={})
    run.log({"step": 2, "places": [0.1, 0.2]})
    run.log({"step": 3, "heldout": {"mlm": 1.0}})
    run.log({"step": 3, "places": [0.3]})
    assert recorded_places(run.folder) == [0.1, 0.2, 0.3]
    run.log({"step": 9, "places": [0.8, 0.9]})
    with pytest.raises(UnmaskError, match="5 places up to the line of step 9"):
        recorded_places(run.folder)
