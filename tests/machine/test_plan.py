"""What a plan says follows from the timed steps; real steps are timed on a real text."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from unmask.errors import UnmaskError
from unmask.machine.plan import LECTURE_SHORT, LECTURE_TOKENS, plan, work_out
from unmask.machine.sample import Text, measure
from unmask.machine.timing import Timing, count
from unmask.machine.words import words
from unmask.recipes import RECIPES
from unmask.store.build import build

TEXT = Text(tokens=1e6, disk=2e6, exact=False, sampled=1000, read=1.0)
TIMING = Timing("mini", 5_000_000, 1_000_000, 64, 16, 128, (0.1,) * 10, 2000.0, 10**9, 5e10)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 documents of three sentences, one a line."""
    folder = tmp_path_factory.mktemp("texts")
    draw = random.Random(1)
    things = "The cat dog tree house sees likes finds a small large old new garden river stone".split()
    lines = [
        ". ".join(" ".join(draw.choices(things, k=10)).capitalize() for _ in range(3)) + "."
        for _ in range(400)
    ]
    (folder / "a.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_arithmetic_of_a_size() -> None:
    found = work_out(TIMING, 3600.0, TEXT)
    assert found.accumulate == 4
    assert found.seconds_per_update == pytest.approx(0.4)  # four micro-batches of 16 rows
    assert found.updates == 9000
    assert found.tokens == pytest.approx(72e6)  # 20,000 a second
    assert found.epochs == pytest.approx(72)
    assert found.per_parameter == pytest.approx(72)
    assert found.worth
    assert found.low == found.high == pytest.approx(found.tokens)
    assert found.disk == 2e6 + 5e6 * (4 + 5 * 12)  # the model, five checkpoints of weights and two moments
    assert work_out(replace(TIMING, snapshots=48), 3600.0, TEXT).disk == found.disk + 5e6 * 48


def test_the_rule_has_two_sides() -> None:
    assert not work_out(TIMING, 900.0, TEXT).worth, "18 tokens a parameter"
    assert work_out(TIMING, 1001.0, TEXT).worth
    few = replace(TIMING, body=1000, batch=16 * 40)
    assert not work_out(few, 1001.0, TEXT).worth, "250 updates"


def test_spread_is_that_of_the_steps() -> None:
    found = work_out(replace(TIMING, seconds=(0.05, 0.1, 0.1, 0.1, 0.2)), 3600.0, TEXT)
    assert found.low < found.tokens < found.high


def test_a_shared_layer_counts_as_often_as_it_works(text: Path, tmp_path: Path) -> None:
    store = build([text / "a.txt"], tmp_path / "corpus", vocab_size=200, processes=1)
    layers = [count(RECIPES[name](), store, "small", 64)[1] for name in ("albert", "bert")]
    assert layers[0] == pytest.approx(layers[1], rel=0.02)


def test_the_lecture_counts_as_the_paper() -> None:
    assert LECTURE_TOKENS == 131_072_000_000
    assert pytest.approx(42.6e9, rel=0.01) == LECTURE_SHORT


def test_real_steps(text: Path) -> None:
    said: list[str] = []
    found = plan(text, budget=3600.0, vocab_size=400, sizes=("tiny",), length=32, limit=1.0, say=said.append)
    size = found.candidates[0]
    assert [c.size for c in found.candidates] == ["tiny"]
    assert 0 < size.seconds_per_update < 60 and size.timed >= 3
    assert size.disk >= size.parameters * (4 + 36 + 24 * 2)  # the snapshots of a run are counted
    assert size.tokens == pytest.approx(3600 * size.tokens_per_second, rel=1e-6)
    # A document has 30 words and 3 full stops: a token or a few each.
    assert 400 * 20 < found.text.tokens < 400 * 120
    assert found.text.read == 1.0 and not found.text.exact
    assert found.lecture_seconds > found.lecture_short_seconds > 3600
    shown = words(found)
    for part in ("tiny", "How sure", "The rule", "12 × 768", "131 billion", "estimated from"):
        assert part in shown
    assert "timing tiny" in said
    next_ = words(
        replace(found, advised="tiny")
    )  # the two commands that come next, with the text by its name
    assert f"  unmask corpus {text} --out corpus --vocab-size 400\n" in next_
    assert "  unmask pretrain modern corpus --size tiny --length 32 --budget 1h" in next_
    counted = replace(
        found, advised="tiny", text=replace(found.text, exact=True), source="my corpus", budget=5430.0
    )
    assert "unmask corpus" not in words(counted)
    assert "unmask pretrain modern 'my corpus' --size tiny --length 32 --budget 1h30m" in words(counted)
    with pytest.raises(UnmaskError, match="at least one must fit"):
        plan(text, budget=1e-4, vocab_size=400, sizes=("tiny",), length=32, limit=1.0)


def test_wrong_names_and_texts(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match='Did you mean "bert"'):
        plan(tmp_path, recipe="brt")
    with pytest.raises(UnmaskError, match="more than 0"):
        plan(tmp_path, budget=0)
    with pytest.raises(UnmaskError):
        plan(tmp_path / "absent")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UnmaskError, match="empty"):
        plan(tmp_path)


def test_measuring_all_counts_bytes(text: Path) -> None:
    files = sorted(str(file) for file in text.iterdir())
    sample, whole, share = measure(files)
    assert (whole, share) == (sum(Path(file).stat().st_size for file in files), 1.0)
    assert sample.seen == 400


def test_measuring_in_no_time_estimates(text: Path) -> None:
    files = sorted(str(file) for file in text.iterdir())
    size = sum(Path(file).stat().st_size for file in files)
    sample, whole, share = measure(files, seconds=0.0)
    assert whole == pytest.approx(size, rel=0.01)  # plain text: the files' own sizes
    assert sample.seen == 1 and share < 0.01
