"""Metrics of classes, scores and tags, all as fractions; × 100 is done where they are shown.

Definitions after GLUE (Wang et al. 2019) and the original scorers: Matthews is 0 when a factor of its
denominator is 0, Spearman gives ties their mean rank, and a correlation with a constant, which is undefined,
is 0 (`constant` tells when to flag it). Scikit-learn and SciPy compute them; entities have own code, because the
marking scheme has to be known rather than guessed (checked against seqeval in the tests).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

Entity = tuple[str, int, int]  # type, first word, word after the last


def accuracy(gold: Sequence[object], said: Sequence[object]) -> float:
    """Share of equal entries."""
    return float(np.mean([g == s for g, s in zip(gold, said, strict=True)]))


def macro_f1(gold: Sequence[str], said: Sequence[str], names: Sequence[str]) -> float:
    """Mean F1 over all classes that occur in `gold` or `said`; a class without a hit counts 0."""
    from sklearn.metrics import f1_score

    there = [name for name in names if name in set(gold) | set(said)]
    return float(f1_score(gold, said, labels=there, average="macro", zero_division=0))


def matthews(gold: Sequence[str], said: Sequence[str]) -> float:
    """Matthews correlation, also of more than two classes; 0 where it is undefined."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(matthews_corrcoef(gold, said))


def constant(values: Sequence[object]) -> bool:
    """Whether all predictions are the same: correlations are then undefined and the run is to be flagged."""
    return len(set(values)) < 2


def pearson(gold: Sequence[float], said: Sequence[float]) -> float:
    """Pearson's r on raw scores; 0 if one side is constant."""
    from scipy.stats import pearsonr

    return 0.0 if constant(gold) or constant(said) else float(pearsonr(gold, said).statistic)


def spearman(gold: Sequence[float], said: Sequence[float]) -> float:
    """Spearman's rho, ties with their mean rank; 0 if one side is constant."""
    from scipy.stats import spearmanr

    return 0.0 if constant(gold) or constant(said) else float(spearmanr(gold, said).statistic)


# -- tags that mark entities -------------------------------------------------------------------------------------

SCHEMES = {"BIO": set("BIO"), "BMES": set("BMESO"), "BIOES": set("BIOES"), "BILOU": set("BILOU")}


def scheme(tags: Sequence[str]) -> str | None:
    """How these tags mark entities: BIO, BMES, BIOES or BILOU, with types (B-PER) or bare (B); None if they do not.

    All training tags are looked at. Types may also stand behind an underscore. BIO holds both IOB1 and IOB2: they
    are read alike.
    """
    kinds = set(tags)
    prefixes = {tag[0] for tag in kinds}
    marked = all(tag == "O" or tag in "BMEISLU" or tag[1:2] in ("-", "_") for tag in kinds if tag)
    if not marked or not prefixes & set("BIS") or len(prefixes - {"O"}) < 1 or len(kinds) < 2:
        return None
    return next((name for name, letters in SCHEMES.items() if prefixes <= letters), None)


def entities(tags: Sequence[str]) -> list[Entity]:
    """The marked spans of one sentence.

    After CoNLL's scorer: an entity opens at B, S or U, after O, where the type changes and after a closed one;
    it closes after E, L, S or U and before B, S, U or O. So IOB1, IOB2, BIOES, BMES and BILOU are read alike,
    and a sequence that no scheme allows still gives the spans that the reference scorer sees.
    """
    found: list[Entity] = []
    opened: tuple[str, int] | None = None
    for place, tag in enumerate([*tags, "O"]):
        mark, kind = tag[:1], tag[2:]
        if opened is not None and (mark in "OBSU" or kind != opened[0]):
            found.append((opened[0], opened[1], place))
            opened = None
        if mark != "O":
            opened = opened or (kind, place)
            if mark in "ELSU":
                found.append((opened[0], opened[1], place + 1))
                opened = None
    return found


def entity_f1(gold: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of exact spans with their types, over all sentences; 0 where undefined."""
    hits = there = given = 0
    for g, s in zip(gold, said, strict=True):
        if len(g) != len(s):
            raise ValueError(f"{len(s)} predicted tags for {len(g)} words")
        a, b = set(entities(g)), set(entities(s))
        hits, there, given = hits + len(a & b), there + len(a), given + len(b)
    return {
        "precision": hits / given if given else 0.0,
        "recall": hits / there if there else 0.0,
        "f1": 2 * hits / (there + given) if there + given else 0.0,
    }
