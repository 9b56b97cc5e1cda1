"""What the recipes share, without torch: choosing by unit, the arrays of an example, and the checks of fields.

Sources: BERT (Devlin et al. 2019, 3.1 and A.2), whole-word masking (its repository's later flag), SpanBERT
(Joshi et al. 2020, 3.1).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from unmask.errors import UnmaskError
from unmask.noise import (
    Positions,
    ceiling_count,
    choose_spans,
    choose_tokens,
    choose_words,
    exact_count,
    words_of,
)
from unmask.rows import Row

Unit = Literal["token", "word", "span"]
Example = dict[str, np.ndarray[Any, Any]]


def chosen(row: Row, unit: Unit, rate: float, rng: np.random.Generator) -> Positions:
    """The positions of a row that are to be said: a share `rate` of its tokens, never a special one.

    Tokens and words are counted as BERT does (special tokens included), spans as SpanBERT (without them).
    """
    if unit == "token":
        return choose_tokens(np.flatnonzero(~row.special), exact_count(len(row.ids), rate), rng)
    words = words_of(row.special, row.word_starts)
    if unit == "word":
        return choose_words(words, exact_count(len(row.ids), rate), rng)
    return choose_spans(words, ceiling_count(len(words.positions), rate), rng)


def example_of(row: Row, seen: np.ndarray[Any, Any], positions: Positions) -> Example:
    """ids [T] as seen, lengths [k], segments [T] if the row has them, positions [P] and targets [P]."""
    found: Example = {
        "ids": seen,
        "lengths": row.lengths,
        "positions": positions,
        "targets": row.ids[positions],
    }
    if row.segments is not None:
        found["segments"] = row.segments
    return found


def pair_of(row: Row, kind: str, kinds: tuple[str, ...]) -> Example:
    """first_positions [1] and the label [1] under "KIND_labels"; the arrays of the other kinds are empty.

    All kinds of a recipe are always there, so that each of its terms can be counted; "none" leaves all empty.
    """
    none = np.zeros(0, dtype=np.int64)
    found: Example = {"first_positions": none} | {f"{other}_labels": none for other in kinds}
    if kind == "none":
        return found
    if row.label is None:
        raise UnmaskError(
            "a row without a label — sentence pairs were expected — take the recipe's own rows."
        )
    found["first_positions"] = np.zeros(1, dtype=np.int64)
    found[f"{kind}_labels"] = np.array([row.label], dtype=np.int64)
    return found


def check_share(name: str, value: float, *, above: float = 0.0) -> None:
    """Raise `UnmaskError` unless `above <= value <= 1`."""
    if not above <= value <= 1:
        least = "0" if above == 0 else "more than 0"
        raise UnmaskError(f"{name} is {value} — a share from {least} to 1 was expected — mend {name}.")


def check_noise(rate: float, mask: float, swap: float) -> None:
    """Raise `UnmaskError` unless the three are shares, something is chosen, and mask and swap fit into 1."""
    check_share("rate", rate, above=1e-9)
    check_share("mask", mask)
    check_share("swap", swap)
    if mask + swap > 1 + 1e-9:
        raise UnmaskError(
            f"mask {mask} and swap {swap} add up to more than 1 — they are shares of the chosen tokens, the rest is "
            "kept — lower one of them."
        )


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `UnmaskError` unless the value is one of the choices."""
    if value not in choices:
        raise UnmaskError(f'{name} is "{value}" — one of {", ".join(choices)} was expected — choose one.')


def check_weight(value: float) -> None:
    """Raise `UnmaskError` for a weight of pairs below 0."""
    if not 0 <= value < float("inf"):
        raise UnmaskError(f"pair_weight is {value} — 0 or more was expected — mend pair_weight.")


#: BERT, A.2: Adam with decay 0.01, moments .9 and .999, norm 1; warm-up 1 %, here 6 % (RoBERTa) since runs are short
POST_NORM: dict[str, Any] = {
    "optimizer": "adamw",
    "schedule": "linear",
    "warmup": 0.06,
    "decay": 0.4,
    "weight_decay": 0.01,
    "beta1": 0.9,
    "beta2": 0.999,
    "clip": 1.0,
    "length": 128,
}
POST_NORM_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"learning_rate": 1e-3, "batch": 16},
    "mini": {"learning_rate": 1e-3, "batch": 16},
    "small": {"learning_rate": 5e-4, "batch": 32},
    "medium": {"learning_rate": 3e-4, "batch": 64},
    "base": {"learning_rate": 1e-4, "batch": 256},
    "large": {"learning_rate": 1e-4, "batch": 256},
}
