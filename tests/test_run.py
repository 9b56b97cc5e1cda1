"""The folder: settings that changed are refused, a damaged checkpoint is passed over, nothing half written is taken."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from unmask.errors import UnmaskError
from unmask.run import Run


def make(folder: Path, **settings: object) -> Run:
    return Run.create(folder, verb="pretrain", settings={"rate": 0.15, **settings})


def checkpoint(run: Run, step: int) -> Path:
    return run.save_checkpoint(step, {"weights": {"a": torch.full((3,), float(step))}}, {"seconds": step / 2})


def test_the_same_settings_open_it_again_and_others_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "r")
    assert make(tmp_path / "r").settings == {"rate": 0.15}
    with pytest.raises(UnmaskError, match=r"rate: 0.15 there, 0.3 now"):
        make(tmp_path / "r", rate=0.3)
    with pytest.raises(UnmaskError, match="finetune"):
        Run.create(tmp_path / "r", verb="finetune", settings={})


def test_the_two_newest_stay_and_come_back(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    assert run.load_checkpoint() is None
    for step in (1, 2, 3):
        checkpoint(run, step)
    assert [p.name for p in sorted((run.folder / "checkpoints").iterdir())] == [
        "step-00000002",
        "step-00000003",
    ]
    found = run.load_checkpoint()
    assert found is not None and found.step == 3 and found.state["seconds"] == 1.5
    assert torch.equal(found.tensors["weights"]["a"], torch.full((3,), 3.0))


@pytest.mark.parametrize("harm", ["flip", "cut", "no manifest", "lying manifest", "state gone"])
def test_a_damaged_newest_checkpoint_is_passed_over_and_named(tmp_path: Path, harm: str) -> None:
    run = make(tmp_path / "r")
    checkpoint(run, 1)
    newest = checkpoint(run, 2)
    weights = newest / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    if harm == "flip":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif harm == "cut":
        weights.write_bytes(content[:-5])
    elif harm == "no manifest":
        (newest / "manifest.json").unlink()
    elif harm == "lying manifest":
        (newest / "manifest.json").write_text(json.dumps({"step": 2, "files": {"nothing.safetensors": "00"}}))
    else:
        (newest / "state.json").unlink()
    said: list[str] = []
    found = run.load_checkpoint(said.append)
    assert found is not None and found.step == 1
    assert "step-00000002" in said[0]


def test_what_was_written_aside_is_never_taken(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    checkpoint(run, 1)
    (run.folder / "checkpoints" / ".step-00000009.part").mkdir()
    found = run.load_checkpoint()
    assert found is not None and found.step == 1


def test_a_line_cut_by_a_kill_is_left_out_and_later_steps_are_forgotten(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    for step in (1, 2, 3):
        run.log({"step": step, "loss": 1.0})
    with open(run.folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert [m["step"] for m in run.metrics()] == [1, 2, 3]
    run.forget_after(2)
    assert [m["step"] for m in run.metrics()] == [1, 2]


def test_no_run_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="missing"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UnmaskError, match="not JSON"):
        Run.open(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UnmaskError, match="a file"):
        make(tmp_path / "file")


def test_where_no_checkpoint_is_whole_nothing_begins_anew(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    for step in (1, 2):
        (checkpoint(run, step) / "state.json").unlink()
    with pytest.raises(UnmaskError, match="no checkpoint .* is whole .*remove .*checkpoints to begin anew"):
        run.load_checkpoint()
    assert len(list((run.folder / "checkpoints").iterdir())) == 2


@pytest.mark.parametrize("needed", [None, 1, 0])
def test_what_was_just_written_stays_beside_damaged_later_ones(needed: int | None, tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    for step in (1, 2, 3):
        checkpoint(run, step)
    for step in (2, 3):
        (run.folder / "checkpoints" / f"step-{step:08d}" / "state.json").unlink()
    (run.folder / "checkpoints" / "step-00000003").rename(run.folder / "checkpoints" / "step-00000004")
    run.save_checkpoint(3, {"weights": {"a": torch.ones(3)}}, {"seconds": 1.5}, needed)
    found = run.load_checkpoint()
    assert found is not None and found.step == 3
    assert not (run.folder / "checkpoints" / "step-00000004").exists()


def test_who_comes_when_another_process_has_just_finished_begins_nothing(tmp_path: Path) -> None:
    first, second = make(tmp_path / "r"), make(tmp_path / "r")
    with first.alone():
        first.finish()
    with pytest.raises(UnmaskError, match="has just finished"), second.alone():
        pass


def test_other_settings_are_offered_where_a_run_can_take_them(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="--allow-changed rate"):
        make(make(tmp_path / "r").folder, rate=0.3)
    run = make(tmp_path / "done")
    run.finish()
    Run.create(tmp_path / "q", verb="quickstart", settings={"seed": 0})
    for again in (
        lambda: make(tmp_path / "done", rate=0.3),
        lambda: Run.create(tmp_path / "q", verb="quickstart", settings={"seed": 1}),
    ):
        with pytest.raises(UnmaskError, match="give another --out") as told:
            again()
        assert "--allow-changed" not in str(told.value)


def test_a_disk_that_cannot_be_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale mount at the start of a resume must not cost the checkpoints."""
    run = make(tmp_path / "r")
    checkpoint(run, 1)
    checkpoint(run, 2)

    def away(path: Path) -> str:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("unmask.run._digest", away)
    with pytest.raises(UnmaskError, match="cannot be read .*nothing was removed"):
        run.load_checkpoint()
    monkeypatch.undo()
    found = run.load_checkpoint()
    assert found is not None and found.step == 2


@pytest.mark.parametrize("part", ["metrics.jsonl", "checkpoints", "snapshots", "tensorboard"])
def test_parts_of_a_run_without_its_run_json_are_not_taken_over(part: str, tmp_path: Path) -> None:
    (tmp_path / "r" / part).mkdir(parents=True)
    with pytest.raises(UnmaskError, match=f"has no run.json but {part}"):
        make(tmp_path / "r")
    assert (tmp_path / "r" / part).is_dir()


def test_lines_are_on_the_disk_before_the_checkpoint_that_counts_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path / "r")
    run.log({"step": 1})
    synced: list[str] = []
    monkeypatch.setattr("unmask.run._sync", lambda path: synced.append(path.name))
    checkpoint(run, 1)
    assert synced[0] == "metrics.jsonl" and synced[-1] == "checkpoints"
    (run.folder / "model").mkdir()
    (run.folder / "model" / "model.safetensors").write_bytes(b"weights")
    run.finish()
    assert synced[-1] == "model.safetensors"
