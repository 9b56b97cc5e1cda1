"""What ends a command from below is a sentence, too."""

from __future__ import annotations

import pytest
import torch

import unmask.commands
from unmask.__main__ import main


def test_a_full_gpu_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(words: list[str]) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried\na second line")

    monkeypatch.setattr(unmask.commands, "app", app)
    assert main(["plan", "x"]) == 2
    said = capsys.readouterr().err
    assert "CUDA out of memory" in said and "--accumulate" in said and "second" not in said
    with pytest.raises(torch.OutOfMemoryError):
        main(["plan", "x", "--debug"])


def test_another_error_of_the_runtime_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def app(words: list[str]) -> object:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(unmask.commands, "app", app)
    with pytest.raises(RuntimeError, match="of ours"):
        main(["plan", "x"])
