"""Losses that go wrong: they never move a weight, the run goes back past them, and a kill changes nothing of that."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from unmask.corpus import Document
from unmask.errors import UnmaskError
from unmask.jobs import feed, rollback
from unmask.jobs.pretrain import pretrain
from unmask.jobs.rollback import BACK, Rollback, batch_of, recorded, rows_of, stands, target
from unmask.recipes import Roberta
from unmask.run import Run
from unmask.store.build import build
from unmask.train import Training

BATCH = 4
TINY = Training(
    steps=14,
    batch=BATCH,
    length=32,
    precision="fp32",
    checkpoint_every=0.0,
    snapshots=0,
    skips=3,
    rollbacks=2,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    words = "cat dog house river garden stone tree boat bird road hill lake".split()
    made = [
        Document(
            "\n".join(f"The {' '.join(draw.choices(words, k=5))} is old." for _ in range(4)), f"{n}", "made"
        )
        for n in range(40)
    ]
    folder = tmp_path_factory.mktemp("text") / "corpus"
    build(documents=made, out=folder, vocab_size=100, heldout=0.1, processes=1)
    return folder


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes back two updates, so that a short one shows it; a line an update."""
    monkeypatch.setattr(rollback, "BACK", 2)
    monkeypatch.setattr("unmask.jobs.loop.BACK", 2)
    monkeypatch.setattr("unmask.jobs.loop.LINE", 0.0)


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Make the losses of chosen batches infinite or nan; gives a list of the batches that were read for training."""
    feed_updates, plain = feed.updates, Roberta.loss

    def set_up(bad: set[int], *, dies: int | None = None, cut_off: bool = False) -> list[int]:
        read: list[int] = []

        def numbered(recipe: Any, rows_: Any, vocab: Any, **given: Any) -> Iterator[Any]:
            source = feed_updates(recipe, rows_, vocab, **given)
            for update in range(given["start"] + 1, 10_000):
                micro = next(source)
                for batch in micro:
                    batch["which"] = torch.tensor([batch_of(update, given.get("rollbacks", ()))])
                yield micro

        def loss(self: Any, model: Any, batch: Any) -> Any:
            found = plain(self, model, batch)
            which = int(batch["which"][0]) if "which" in batch else -1
            if which < 0:
                return found
            read.append(which)
            if dies is not None and len(read) == dies:
                raise OSError("a machine that fails")
            if which in bad:
                worse = float("nan") if which % 2 else float("inf")
                found["mlm"] = found["mlm"] + worse if cut_off else found["mlm"] * worse
            return found

        monkeypatch.setattr("unmask.jobs.loop.updates", numbered)
        monkeypatch.setattr(Roberta, "loss", loss)
        return read

    return set_up


def last(run: Path) -> tuple[bytes, bytes]:
    folder = max((run / "checkpoints").iterdir())
    return (folder / "weights.safetensors").read_bytes(), (folder / "optimizer.safetensors").read_bytes()


def test_coordinates_after_going_back() -> None:
    once = Rollback(step=12, to=7, batch=12, rows="", seconds=0.0)
    assert [batch_of(n, [once]) for n in (1, 7, 8, 9)] == [0, 6, 12, 13]
    deeper = Rollback(step=9, to=4, batch=14, rows="", seconds=0.0)  # of the path after it
    assert [batch_of(n, [once, deeper]) for n in (4, 5, 8)] == [3, 14, 17]
    later = Rollback(step=20, to=15, batch=25, rows="", seconds=0.0)
    assert [batch_of(n, [once, later]) for n in (7, 8, 15, 16)] == [6, 12, 19, 25]
    assert rows_of(range(7, 10), 4, [once]) == "24 to 27 and 48 to 55"
    assert target(500, 10) == 488 and target(5, 5) == 0  # with two updates back
    assert stands(7, 0, [once]) and not stands(8, 0, [once]) and stands(8, 1, [once])


@pytest.mark.parametrize("cut_off", [False, True])
def test_single_bad_updates_are_left_out_counted_and_told(
    corpus: Path, tmp_path: Path, spoil: Any, cut_off: bool
) -> None:
    """With `cut_off` the loss alone is not finite: its gradient is."""
    spoil({2, 3, 7}, cut_off=cut_off)
    said: list[str] = []
    run = pretrain(
        Roberta(), corpus, out=tmp_path / "r", size="tiny", training=TINY,
        watch=lambda event: said.append(event.get("text", "")),
    )  # fmt: skip
    lines = [line for line in run.metrics() if "place" in line]
    assert [line["step"] for line in lines if line.get("skipped")] == [3, 4, 8]
    assert all("loss" not in line for line in lines if line.get("skipped"))
    assert any("3 of 14 updates were left out" in text for text in said)
    for text in (run.folder / "metrics.jsonl").read_text().splitlines():
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    checkpoint = run.load_checkpoint()
    assert checkpoint is not None
    assert all(w.isfinite().all() for group in checkpoint.tensors.values() for w in group.values())


def test_a_run_goes_back_past_the_bad_rows(corpus: Path, tmp_path: Path, spoil: Any) -> None:
    read = spoil({6, 7, 8})
    said: list[str] = []
    run = pretrain(
        Roberta(), corpus, out=tmp_path / "r", size="tiny", training=TINY,
        watch=lambda event: said.append(event.get("text", "")),
    )  # fmt: skip
    assert read == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
    (one,) = recorded(run.about)
    assert (one.step, one.to, one.batch, one.rows) == (9, 4, 9, "24 to 35")
    assert any("going back to step 4" in text and "rows 24 to 35" in text for text in said)
    assert any("went back once, past the rows 24 to 35" in text for text in said)
    lines = run.metrics()
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 15))
    (told,) = [line for line in lines if "rollback" in line]
    assert told["step"] == 4 and told["rollback"]["rows"] == "24 to 35"


def test_a_kill_at_any_update_of_all_this_ends_in_the_same_bytes(
    corpus: Path, tmp_path: Path, spoil: Any
) -> None:
    """Whenever it is killed, and whether checkpoints are written after each update or never."""
    bad = {3, 6, 7, 8, 12, 13, 14}
    spoil(bad)
    whole = pretrain(Roberta(), corpus, out=tmp_path / "whole", size="tiny", training=TINY)
    assert len(recorded(whole.about)) == 2
    assert recorded(whole.about)[1].rows == "48 to 59"
    for dies, every in ((5, 999.0), (9, 0.0), (11, 0.0), (10, 999.0), (17, 0.0), (23, 999.0)):
        training = replace(TINY, checkpoint_every=every)
        spoil(bad, dies=dies)
        out = tmp_path / f"{dies}"
        with pytest.raises(OSError):
            pretrain(Roberta(), corpus, out=out, size="tiny", training=training)
        run = pretrain(Roberta(), corpus, out=out, size="tiny", training=training)
        assert last(run.folder) == last(whole.folder), dies
        mine, its = recorded(run.about), recorded(whole.about)
        assert [replace(one, seconds=0.0) for one in mine] == [replace(one, seconds=0.0) for one in its]


def test_it_ends_with_the_step_the_rows_and_what_to_try(corpus: Path, tmp_path: Path, spoil: Any) -> None:
    spoil(set(range(5, 99)))
    for _ in range(2):  # the same command comes to the same end
        with pytest.raises(
            UnmaskError, match=r"3 updates up to step 4 \(rows 44 to 55\), after going back 2 times"
        ) as error:
            pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=TINY)
        assert "--learning-rate" in str(error.value) and "20 to 31" in str(error.value)
    with pytest.raises(UnmaskError, match="rows 20 to 31"):
        pretrain(
            Roberta(), corpus, out=tmp_path / "at once", size="tiny", training=replace(TINY, rollbacks=0)
        )


def test_a_run_that_is_too_short_to_go_back_ends_too(corpus: Path, tmp_path: Path, spoil: Any) -> None:
    spoil({0, 1})
    with pytest.raises(UnmaskError, match=r"in the 2 updates up to step 2 \(rows 0 to 7\) — a training"):
        pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=replace(TINY, steps=2))
    assert not (tmp_path / "r" / "model").exists()


def test_a_replay_reads_the_rows_that_were_read_in_the_end(
    corpus: Path, tmp_path: Path, spoil: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()  # a look at the clock is 20 ms, so that a busy machine changes nothing
    monkeypatch.setattr("unmask.train.time.perf_counter", lambda: 0.02 * next(ticks))
    spoil({2, 3, 4})
    by_time = replace(TINY, steps=None, budget=2.0)
    run = pretrain(Roberta(), corpus, out=tmp_path / "timed", size="tiny", training=by_time)
    assert len(recorded(run.about)) == 1
    again = pretrain(
        Roberta(), corpus, out=tmp_path / "again", size="tiny", training=by_time, replay=run.folder
    )
    assert last(again.folder) == last(run.folder)


@pytest.mark.parametrize("apart", [1, 7, 30, 99, 100, 101, 250])
def test_the_checkpoint_that_going_back_needs_stays(tmp_path: Path, apart: int) -> None:
    """However far apart checkpoints are, one stands at or before the update that the run may have to return to."""
    run = Run.create(tmp_path / "r", verb="pretrain", settings={})
    for step in range(apart, 1000, apart):
        needed = max(0, step - BACK)
        run.save_checkpoint(step, {"weights": {"a": torch.ones(1)}}, {}, needed=needed)
        there = sorted(int(p.name[-8:]) for p in (run.folder / "checkpoints").iterdir())
        assert there[-1] == step and min(step // apart, 2) <= len(there) <= 4
        before = [one for one in there if one <= needed]
        assert before or needed < apart  # else there never was one
        assert not before or before[-1] > needed - 2 * BACK - apart  # and not long before


def test_what_comes_after_is_forgotten(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", verb="pretrain", settings={})
    for step in (22, 23):
        run.save_checkpoint(step, {"weights": {"a": torch.ones(1)}}, {})
    run.forget_after(22)
    assert [p.name[-2:] for p in (run.folder / "checkpoints").iterdir()] == ["22"]
