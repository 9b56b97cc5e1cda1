"""Exact match and F1 of answers: SQuAD's (Rajpurkar et al. 2016, 2018), and CMRC's (Cui et al. 2019), DRCD's too.

SQuAD compares bags of words after deleting case, ASCII punctuation and articles. CMRC compares characters of Chinese
and words of everything between them, by the longest common *contiguous* block, often miscalled a longest common
subsequence. Differs from the originals in one thing: CMRC's script cuts the non-Chinese runs with NLTK's
tokenizer; `western` below is own code for the same cuts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

PUNCTUATION = set(string.punctuation)
# The original list also holds the two-character "……". Text is walked by character, so it never matches: a Chinese
# ellipsis stays. ‘ 〈 〉 【 】 and ASCII , . ? ! " ' ( ) % are not in it.
CMRC_PUNCTUATION = set("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
HAN = re.compile("[一-龥]")
KANA = re.compile("[぀-ヿ가-힯]")


def squad_words(text: str) -> list[str]:
    """Normalised words: lower case, no ASCII punctuation, no a/an/the."""
    text = "".join(c for c in text.lower() if c not in PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def squad_em(gold: str, said: str) -> float:
    return float(squad_words(gold) == squad_words(said))


def squad_f1(gold: str, said: str, version: int = 2) -> float:
    """F1 of word bags. Two answers that normalise to nothing score 1 in version 2 and 0 in version 1.1."""
    a, b = squad_words(gold), squad_words(said)
    if not a or not b:
        return float(a == b) if version == 2 else 0.0
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b))


def western(text: str) -> list[str]:
    """Words of text that is not Chinese: marks stand alone, save inside numbers, words and abbreviations."""
    text = re.sub(
        r"\.\.\.|--|[;@#$%&?!()\[\]{}<>\"“”«»…]|(?<=\S)[,:](?!\d)|^[,:]|(?<!^)(?<!\.)\.(?=\s*$)",
        r" \g<0> ",
        text,
    )
    text = re.sub(r"(?i)(\w)('(?:s|m|d|ll|re|ve))\b", r"\1 \2", text)
    return re.sub(r"(?i)(\w)(n't)\b", r"\1 \2", text).split()


def cmrc_segments(text: str) -> list[str]:
    """One segment a Chinese character, and the words of every run between them; punctuation deleted, lower case."""
    segments: list[str] = []
    run = ""
    for character in text.lower().strip():
        if character in CMRC_PUNCTUATION:
            continue  # a run goes on over a deleted mark
        if HAN.match(character):
            segments += western(run)
            segments.append(character)
            run = ""
        else:
            run += character
    return segments + western(run)


def cmrc_em(gold: str, said: str) -> float:
    """Equality after deleting punctuation and case; spaces count."""
    a, b = ("".join(c for c in t.lower().strip() if c not in CMRC_PUNCTUATION) for t in (gold, said))
    return float(a == b)


def cmrc_f1(gold: str, said: str) -> float:
    """F1 of the longest common contiguous block of segments."""
    a, b = cmrc_segments(gold), cmrc_segments(said)
    block = _common_block(a, b)
    return 2 * block / (len(a) + len(b)) if block else 0.0


def _common_block(a: Sequence[str], b: Sequence[str]) -> int:
    best = 0
    before = [0] * (len(b) + 1)
    for x in a:
        now = [0] * (len(b) + 1)
        for j, y in enumerate(b):
            if x == y:
                now[j + 1] = before[j] + 1
                best = max(best, now[j + 1])
        before = now
    return best


def script_metric(texts: Sequence[str]) -> str:
    """ "cmrc" where the letters of the texts are mostly Chinese, Japanese or Korean, else "squad"."""
    letters = [c for text in texts for c in text if c.isalpha()]
    eastern = sum(bool(HAN.match(c) or KANA.match(c)) for c in letters)
    return "cmrc" if letters and 2 * eastern > len(letters) else "squad"


def score_answers(golds: Sequence[Sequence[str]], said: Sequence[str], metric: str) -> dict[str, float]:
    """Mean EM and F1, each the best over a question's gold answers. No gold answer means "" is right, and nothing else.

    Lengths must agree: an incomplete file of predictions is refused, for SQuAD 2's script would score it higher.
    """
    version = 2 if any(not texts for texts in golds) else 1
    exact = squad_em if metric == "squad" else cmrc_em
    em = f1 = 0.0
    for texts, answer in zip(golds, said, strict=True):
        if not texts or not answer:  # one side says that there is no answer
            right = float(not texts and not answer)
            em, f1 = em + right, f1 + right
        else:
            em += max(exact(text, answer) for text in texts)
            f1 += max(
                squad_f1(t, answer, version) if metric == "squad" else cmrc_f1(t, answer) for t in texts
            )
    n = max(1, len(golds))
    return {"em": em / n, "f1": f1 / n}
