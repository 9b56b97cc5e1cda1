"""Every worked case of the two reading metrics."""

from __future__ import annotations

import pytest

from unmask.evaluation import reading


@pytest.mark.parametrize(
    ("said", "gold", "em", "f1"),
    [
        ("the Denver Broncos!", "Denver Broncos", 1, 1),
        ("March 10th 1876", "10th of March, 1876", 0, 0.8571),
        ("U.S.", "US", 1, 1),
        ("New New York", "New York", 0, 0.8),
        ("1990–91", "1990-91", 0, 0),
        ("a", "The", 1, 1),
    ],
)
def test_squad(said: str, gold: str, em: float, f1: float) -> None:
    assert reading.squad_em(gold, said) == em
    assert reading.squad_f1(gold, said) == pytest.approx(f1, abs=5e-5)


def test_two_empty_answers_differ_by_version() -> None:
    assert reading.squad_f1("The", "a", version=1) == 0.0
    assert reading.score_answers([["The"]], ["a"], "squad") == {"em": 1.0, "f1": 0.0}
    assert reading.score_answers([["The"], []], ["a", ""], "squad") == {"em": 1.0, "f1": 1.0}


@pytest.mark.parametrize(
    ("gold", "said", "a", "b", "f1", "em"),
    [
        ("1995年以来", "自1995年以来美国", "1995 年 以 来", "自 1995 年 以 来 美 国", 0.7273, 0),
        ("北京和上海", "北京上海", "北 京 和 上 海", "北 京 上 海", 0.4444, 0),
        ("“傻钱”策略", "傻钱策略", "傻 钱 策 略", "傻 钱 策 略", 1, 1),
        ("Windows XP系统", "windows xp", "windows xp 系 统", "windows xp", 0.6667, 0),
        ("３６岁", "36岁", "３６ 岁", "36 岁", 0.5, 0),
        ("78.1", "78.1%", "78.1", "78.1 %", 0.6667, 0),
    ],
)
def test_cmrc(gold: str, said: str, a: str, b: str, f1: float, em: float) -> None:
    assert reading.cmrc_segments(gold) == a.split()
    assert reading.cmrc_segments(said) == b.split()
    assert reading.cmrc_f1(gold, said) == pytest.approx(f1, abs=5e-5)
    assert reading.cmrc_em(gold, said) == em


def test_cmrc_keeps_the_chinese_ellipsis_and_deletes_inside_a_run() -> None:
    assert "".join(reading.cmrc_segments("好……")) == "好……"
    assert reading.cmrc_segments("a-b") == ["ab"]
    assert reading.cmrc_em("好……", "好") == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop", "do n't stop"),
        ("he's 3,000 km (fast)", "he 's 3,000 km ( fast )"),
        ("the end.", "the end ."),
        ("3.14 and 10:30", "3.14 and 10:30"),
        ("yes, no", "yes , no"),
    ],
)
def test_western_words(text: str, words: str) -> None:
    assert reading.western(text) == words.split()


def test_best_of_the_golds_and_no_answers() -> None:
    golds = [["Rome", "the city of Rome"], [], []]
    assert reading.score_answers(golds, ["city of Rome", "", "Rome"], "squad") == pytest.approx(
        {"em": 2 / 3, "f1": 2 / 3}
    )


def test_incomplete_predictions_are_refused() -> None:
    with pytest.raises(ValueError):
        reading.score_answers([["a"], ["b"]], ["a"], "squad")


def test_the_script_chooses_the_metric() -> None:
    assert reading.script_metric(["北京是中国的首都。"]) == "cmrc"
    assert reading.script_metric(["東京は日本の首都です"]) == "cmrc"
    assert reading.script_metric(["Paris is a city (巴黎)."]) == "squad"
    assert reading.script_metric(["1984"]) == "squad"
