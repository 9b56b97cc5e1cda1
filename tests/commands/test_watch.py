"""Plain lines every ten seconds where no terminal is; a bar that says the same where one is."""

from __future__ import annotations

import io
from typing import Any

import pytest

from unmask.commands.watch import Watch, facts, share


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(number: int, **more: Any) -> dict[str, Any]:
    known = {"step": number, "steps": None, "seconds": float(number), "budget": 100.0, "loss": 7.12345}
    return {
        "event": "step",
        **known,
        "accuracy": 0.123,
        "tokens_per_second": 12345.0,
        "left": 100.0 - number,
        **more,
    }


def test_facts_have_units() -> None:
    assert facts(step(30)) == [
        "step 30", "loss 7.123", "masked accuracy 12.3 %", "12.3 thousand tokens/s", "1m 10s left",
    ]  # fmt: skip
    assert facts({"step": 1234, "steps": 2000, "text": "seed 2"}) == ["seed 2, step 1,234 of 2,000"]
    assert facts(step(3, accuracy=None, loss=None, left=None)) == ["step 3", "12.3 thousand tokens/s"]


def test_share() -> None:
    assert share(step(30)) == 0.3
    assert share(step(30, steps=40)) == 0.75
    assert share(step(300)) == 1.0
    assert share(step(30, budget=None)) is None


def test_plain_lines_are_ten_seconds_apart() -> None:
    file, clock = io.StringIO(), [0.0]
    with Watch(file, now=lambda: clock[0]) as watch:
        for second in range(0, 35):
            clock[0] = float(second)
            watch(step(second))
    lines = file.getvalue().splitlines()
    assert [line.split()[3] for line in lines] == ["0", "10", "20", "30"]
    assert lines[1].startswith(" 10 %  step 10 · loss 7.123")
    assert "\x1b" not in file.getvalue()


def test_a_sentence_is_printed_as_it_is_and_the_next_line_comes_at_once() -> None:
    file = io.StringIO()
    with Watch(file, now=lambda: 0.0) as watch:
        watch(step(1))
        watch({"event": "say", "text": "kept [bold]12[/bold] of [MASK] " + "x" * 200})
        watch(step(2))
        watch(step(3))
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1] == "kept [bold]12[/bold] of [MASK] " + "x" * 200


def test_the_bar_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    file = Terminal()
    with Watch(file) as watch:
        watch(step(10))
        watch(step(11, loss=6.5))
        watch({"event": "say", "text": "done"})
    shown = file.getvalue()
    assert "\x1b[?25l" in shown and shown.rstrip().endswith("done")
    assert "\x1b[?25h" in shown, "the cursor is back"
    assert "loss 7.123" in shown and "loss 6.500" in shown and "tokens/s" in shown


def test_an_error_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    with pytest.raises(RuntimeError), Watch(file) as watch:
        watch(step(10))
        raise RuntimeError
    assert file.getvalue().count("\x1b[?25h") >= 1


def test_unknown_events_are_let_through() -> None:
    file = io.StringIO()
    Watch(file)({"event": "other"})
    assert file.getvalue() == ""
