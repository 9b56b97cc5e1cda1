"""The certificate: kills and two processes on a tiny run, other bytes are found, and the page takes it in."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from unmask.corpus import Document
from unmask.errors import UnmaskError
from unmask.machine import verify_resume as verify
from unmask.machine.compare import Difference, apart, difference
from unmask.recipes import Roberta
from unmask.report import report
from unmask.run import Run
from unmask.store.build import build
from unmask.training import Training


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    words = "cat dog house river garden stone tree boat bird road hill lake".split()
    made = [
        Document(
            "\n".join(f"The {' '.join(draw.choices(words, k=5))} is old." for _ in range(4)), f"{n}", "made"
        )
        for n in range(30)
    ]
    folder = tmp_path_factory.mktemp("text") / "corpus"
    build(documents=made, out=folder, vocab_size=100, heldout=0.1, processes=1)
    return folder


@pytest.fixture(scope="module")
def certificate(corpus: Path) -> dict[str, Any]:
    training = Training(budget=600.0, batch=2, length=32, precision="fp32")
    return verify.verify_resume(Roberta(), corpus, size="tiny", training=training, seconds=1.0, kills=1)


def test_a_killed_run_and_two_processes_are_certified(certificate: dict[str, Any]) -> None:
    assert certificate["holds"] and certificate["bytes_different"] == 0, verify.words(certificate)
    assert certificate["bytes_compared"] > 1_000_000 and certificate["updates"] == verify.FEW
    assert certificate["training"]["budget"] == 600.0  # the user's own, not those of the short run
    assert len(certificate["kills"]) == 1
    two = certificate["two_processes"]
    assert two["holds"] and two["apart"] <= two["bound"] == 1e-5 and two["updates_in_all"] == verify.FEW
    assert {"threads", "torch", "processor"} <= certificate["machine"].keys()
    text = verify.words(certificate)
    assert text.startswith("holds: roberta, tiny, 6 updates, float32") and "0 of" in text


def test_the_page_takes_it_in(certificate: dict[str, Any], tmp_path: Path) -> None:
    run = Run.create(tmp_path / "body", verb="pretrain", settings={})
    assert verify.store(certificate, run.folder) == run.folder / "evaluation" / "resume.json"
    page = report([run.folder], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "the certificate of body" in page and "two processes" in page
    changed = {
        **certificate,
        "bytes_different": 7,
        "holds": False,
        "two_processes": {"tried": False, "why": "one GPU"},
    }
    verify.store(changed, run.folder)
    page = report([run.folder], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "OTHER bytes" in page and "not tried: one GPU" in page
    assert verify.words(changed).startswith("DOES NOT HOLD") and "7 of" in verify.words(changed)
    assert json.loads(verify.store(certificate, tmp_path / "alone.json").read_text()) == certificate
    (tmp_path / "other").mkdir()
    with pytest.raises(UnmaskError, match="without a run"):
        verify.place(tmp_path / "other")


def finished(folder: Path, content: bytes, losses: list[float]) -> Path:
    run = Run.create(folder, verb="pretrain", settings={})
    for place in ("checkpoints/step-00000003", "model"):
        (folder / place).mkdir(parents=True)
    for name in ("checkpoints/step-00000003/weights", "checkpoints/step-00000003/optimizer", "model/model"):
        (folder / f"{name}.safetensors").write_bytes(content)
    for step, loss in enumerate(losses, 1):
        run.log({"step": step, "loss": loss})
    return folder


def test_every_byte_counts(tmp_path: Path) -> None:
    one = finished(tmp_path / "a", b"abcdef", [3.0, 2.0, 1.0])
    other = finished(tmp_path / "b", b"abcdef", [3.0, 2.5, 0.0])
    assert difference(one, other) == Difference(18, 0)
    (other / "model" / "model.safetensors").write_bytes(b"aXcdeYgh")
    assert difference(one, other) == Difference(20, 4)
    assert apart(one, other, 2) == 0.5 and apart(one, other) == 1.0
    shutil.rmtree(other / "checkpoints")
    with pytest.raises(UnmaskError, match="finished run was expected"):
        difference(one, other)
    for run in (one, other):  # a fine-tuning keeps no checkpoints
        Run.open(run).note(verb="finetune")
    assert difference(one, other) == Difference(8, 4)
    (other / "model" / "model.safetensors").unlink()
    with pytest.raises(UnmaskError, match="finished run was expected"):
        difference(one, other)


@pytest.mark.parametrize("same", [True, False])
def test_one_other_byte_is_certified(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    def sit(setting: verify.Setting, out: Path, *more: Any, **named: Any) -> float:
        if out.name != "timed":
            finished(out, b"abcdef", [3.0, 2.0])
        return 1.0

    def killed(setting: verify.Setting, out: Path, *more: Any) -> tuple[float, list[Any]]:
        finished(out, b"abcdef" if same else b"abcdeX", [3.0, 2.0])
        return 1.0, []

    monkeypatch.setattr(verify, "sit", sit)
    monkeypatch.setattr(verify, "how_many", lambda *given: (6, 0.1))
    monkeypatch.setattr(verify, "kill_and_resume", killed)
    monkeypatch.setattr(verify, "two_processes", lambda *given: {"tried": False, "why": "made"})
    found = verify.verify_resume(Roberta(), corpus, size="tiny", training=Training(batch=2))
    assert found["holds"] is same and found["bytes_different"] == (0 if same else 3)


def test_how_many_updates_fit(tmp_path: Path) -> None:
    run = finished(tmp_path / "a", b"", [3.0])
    lines = [{"step": n, "seconds": 1.0 + 0.5 * n, "loss": 1.0} for n in range(3)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    steps, update = verify.how_many(run, 3.5, 90.0, 3)
    assert update == 0.5 and steps == int((90 - 6 * 6.0) / 1.75)
    assert verify.how_many(run, 3.5, 1.0, 3)[0] == verify.FEW
    (run / "metrics.jsonl").write_text(
        json.dumps(lines[0]) + "\n" + json.dumps({"step": 1, "left_out": 2}) + "\n"
    )
    with pytest.raises(UnmaskError, match="the loss was no number in .* lower --learning-rate"):
        verify.how_many(run, 3.5, 90.0, 3)


def test_why_a_process_failed_is_found_in_what_it_said() -> None:
    said = (
        "[rank1]: Traceback (most recent call last):\n[rank1]: ZeroDivisionError: float division by zero\n"
        "[rank0]: RuntimeError: Connection closed by peer\nTraceback (most recent call last):\n"
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n====\nRoot Cause"
    )
    assert verify.cause(said) == "ZeroDivisionError: float division by zero"
    assert (
        verify.cause("x" * 999 + "killed").endswith("killed") and len(verify.cause("x" * 999)) == verify.TAIL
    )


def test_what_cannot_be_verified_is_told_before_anything_starts(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="kills is 0"):
        verify.verify_resume(Roberta(), corpus, kills=0)
    with pytest.raises(UnmaskError):
        verify.verify_resume(Roberta(), tmp_path)
