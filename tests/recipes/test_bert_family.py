"""What is particular to one recipe: worked vectors through `example`, and how the recipes differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from unmask.batch import collate
from unmask.recipes.albert import Albert
from unmask.recipes.bert import Bert
from unmask.recipes.modern import Modern
from unmask.recipes.roberta import Roberta
from unmask.rows import Row
from unmask.tokens import Vocab

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "noise.json").read_text())


class Script:
    """A generator that says what it is told to, in order."""

    def __init__(self, permutation: list[int], random: list[float], integers: list[int]) -> None:
        self.order, self.randoms, self.integrals = permutation, list(random), list(integers)

    def permutation(self, _: Any) -> np.ndarray:
        return np.array(self.order)

    def random(self, size: int | None = None) -> Any:
        return self.randoms.pop(0) if size is None else np.array([self.randoms.pop(0) for _ in range(size)])

    def integers(self, high: int, size: int) -> np.ndarray:
        return np.array([self.integrals.pop(0) for _ in range(size)])


def row_of(ids: list[int], specials: tuple[int, ...], label: int | None = None) -> Row:
    array = np.array(ids, dtype=np.int64)
    special = np.isin(array, specials)
    return Row(array, special, np.ones(len(ids), dtype=bool), None, np.array([len(ids)]), label)


def fates(draws: list[list[float]]) -> list[float]:
    return [d[0] if d[0] < 0.8 else 0.8 + 0.2 * (1 - d[1]) for d in draws]


def test_bert_worked() -> None:
    case = GOLDEN["bert_1"]
    vocab = Vocab(30522, "wordpiece", 0, 100, 101, 102, 103, np.zeros(30522, bool), np.ones(30522, bool))
    rng: Any = Script(case["order"], fates(case["fates"]), case["random"])
    found = Bert().example(row_of(case["ids"], (101, 102), label=1), vocab, rng)
    assert found["ids"].tolist() == case["seen"] and found["targets"].tolist() == case["targets"]
    assert found["next_labels"].tolist() == [1] and found["first_positions"].tolist() == [0]
    assert len(found["order_labels"]) == 0


def test_roberta_worked() -> None:
    case = GOLDEN["roberta_2"]
    vocab = Vocab(50265, "bpe", 1, 3, 0, 2, 50264, np.zeros(50265, bool), np.ones(50265, bool))
    # The pool leaves <s> out: the first random id is refused and drawn again. The mask itself is allowed.
    rng: Any = Script(case["order"], [case["rounding"], *fates(case["fates"])], [0, *case["random"]])
    found = Roberta().example(row_of(case["ids"], (0, 2)), vocab, rng)
    assert found["ids"].tolist() == case["seen"] and found["positions"].tolist() == case["positions"]
    assert found["targets"].tolist() == case["targets"]


def test_families_differ_where_they_should() -> None:
    vocab = Vocab(1000, "wordpiece", 0, 1, 2, 3, 4, np.arange(1000) < 5, np.ones(1000, bool))
    bert, roberta, albert, modern = (r().shape("mini", vocab, 128) for r in (Bert, Roberta, Albert, Modern))
    assert bert.segments == 2 and roberta.segments == 1 and roberta.offset == 2
    assert albert.shared and albert.embedding == 128 and not bert.shared
    assert modern.norm == "pre" and modern.rotary and modern.gate and not modern.bias and bert.norm == "post"
    assert (
        Albert().network(albert, vocab).pair is not None
        and Bert(pairs="none").network(bert, vocab).pair is None
    )


def test_settings_need_no_torch() -> None:
    code = "import sys, unmask.recipes; print(unmask.recipes.table()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_row_without_a_target_costs_nothing() -> None:
    vocab = Vocab(60, "wordpiece", 0, 1, 2, 3, 4, np.arange(60) < 5, np.ones(60, bool))
    rng: Any = Script([0, 1, 2, 3], [0.1], [])
    recipe = Roberta()
    example = recipe.example(row_of([2, 10, 11, 3], (2, 3)), vocab, rng)
    assert len(example["positions"]) == 0
    model = recipe.network(recipe.shape("tiny", vocab, 32), vocab)
    parts = recipe.loss(model, collate([example]))
    parts["mlm"].backward()
    assert float(parts["mlm"].detach()) == 0 and int(parts["mlm_correct"]) == 0
