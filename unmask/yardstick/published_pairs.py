"""Published scores on BLiMP, to stand beside a run's: read in papers and released tables, marked so wherever shown.

By phenomenon: the corrected table of the BLiMP paper (its first printing held two rejected paradigms). Small models:
the baselines of the BabyLM challenges trained on 10 million words, on the *filtered* BLiMP of the challenge (59,875 of
the 67,000 pairs, words outside a child's vocabulary removed), so they are near, not equal, to what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass

PAPER = "Warstadt et al. 2020, TACL 8, table 3 as corrected in the repository (github.com/alexwarstadt/blimp)"
LICENCE = "BLiMP: Warstadt et al. 2020, CC BY 4.0"
PHENOMENA = (
    "anaphor_agreement",
    "argument_structure",
    "binding",
    "control_raising",
    "determiner_noun_agreement",
    "ellipsis",
    "filler_gap_dependency",
    "irregular_forms",
    "island_effects",
    "npi_licensing",
    "quantifiers",
    "subject_verb_agreement",
)


@dataclass(frozen=True)
class ByPhenomenon:
    """A row of the paper's table: the whole, and the twelve phenomena in the order of PHENOMENA."""

    name: str
    whole: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Small:
    """A model trained on 10 million words."""

    name: str
    parameters: str
    blimp: float
    scoring: str
    source: str


TABLE = (
    ByPhenomenon("5-gram", 61.2, (47.9, 71.9, 64.4, 68.5, 70.0, 36.9, 60.2, 79.5, 57.2, 45.5, 53.5, 60.3)),
    ByPhenomenon("LSTM", 69.8, (91.7, 73.2, 73.5, 67.0, 85.4, 67.6, 73.9, 89.1, 46.6, 51.7, 64.5, 80.1)),
    ByPhenomenon(
        "GPT-2 large", 83.0, (99.3, 81.8, 80.9, 81.9, 95.8, 89.3, 81.3, 91.9, 72.7, 76.8, 79.0, 86.4)
    ),
    ByPhenomenon("human", 88.6, (97.5, 90.0, 87.3, 83.9, 92.2, 85.0, 86.9, 97.0, 84.9, 88.1, 86.6, 90.9)),
)
_2024 = "BabyLM 2024, strict-small baseline, about 20 epochs (the challenge's table)"
_2025 = "BabyLM 2025, strict-small baseline, 10 epochs (the challenge's table)"
SMALL = (
    Small("BabyLlama", "58 M", 69.8, "next token", _2024),
    Small("LTG-BERT", "–", 60.6, "pseudo-log-likelihood", _2024),
    Small("GPT-BERT, causal focus", "30 M", 69.1, "masked next token", _2025),
    Small("GPT-BERT, mixed", "30 M", 71.3, "masked next token", _2025),
    Small("GPT-BERT, masked focus", "30 M", 70.4, "masked next token", _2025),
    Small("GPT-2 small", "–", 67.3, "next token", _2025),
)
