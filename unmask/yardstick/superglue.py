"""SuperGLUE's JSON lines → rows of one text or two (Wang et al. 2019b).

How each becomes something that a small encoder with one head can learn, and where that differs from the published
baseline (jiant): BoolQ: question and passage. WiC: the word stands between asterisks in both sentences; the baseline
adds the states of the two words. WSC: the pronoun between asterisks, the noun phrase between hashes, in one text, as
in T5; plain classification mostly stays at the most frequent answer, for any model. COPA: the premise with each choice,
joined by "because" or "so", in one row, where the choices compete in one softmax (the baseline has a row for each).
MultiRC: a row an answer, the passage first, so that only the passage is cut. ReCoRD: a row an entity of the passage
(each distinct string once), set in the place of the query's @placeholder; the most probable entity answers. Entities'
`end` is inclusive.

A row is (index, texts, gold, group, key, about): see `rows.Item`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from unmask.errors import UnmaskError

Line = tuple[str, Any]  # where it stands, and its object
Row = tuple[Any, tuple[str, ...], Any, str | None, str | None, Any]
Read = tuple[list[Row], int]  # rows, and how many the file holds in the benchmark's own count
JOIN = {"cause": "because", "effect": "so"}


def get(where: str, value: Any, *names: str) -> list[Any]:
    """The values of an object's keys. Raises `UnmaskError` for one that is missing."""
    for name in names:
        if not isinstance(value, dict) or name not in value:
            there = ", ".join(value) if isinstance(value, dict) else type(value).__name__
            raise UnmaskError(
                f'{where}: there is no "{name}" — it was expected, as SuperGLUE has it — found: {there}'
            )
    return [value[name] for name in names]


def label_of(where: str, value: Any, labelled: bool) -> str | None:
    """The label as a text: true, 0, entailment."""
    if not labelled:
        return None
    (label,) = get(where, value, "label")
    return str(label).lower() if isinstance(label, bool | int) else str(label)


def boolq(lines: Iterable[Line], labelled: bool) -> Read:
    rows: list[Row] = []
    for where, value in lines:
        question, passage, index = get(where, value, "question", "passage", "idx")
        rows.append((index, (question, passage), label_of(where, value, labelled), passage, None, None))
    return rows, len(rows)


def copa(lines: Iterable[Line], labelled: bool) -> Read:
    rows: list[Row] = []
    for where, value in lines:
        premise, one, two, question, index = get(
            where, value, "premise", "choice1", "choice2", "question", "idx"
        )
        if question not in JOIN:
            raise UnmaskError(f'{where}: the question is "{question}" — cause or effect was expected')
        start = f"{premise.rstrip().rstrip('.')} {JOIN[question]}"
        gold = label_of(where, value, labelled)
        rows.append((index, (f"{start} {lowered(one)}", f"{start} {lowered(two)}"), gold, None, None, None))
    return rows, len(rows)


def lowered(text: str) -> str:
    """The choice as it goes on after "because": its first letter small, unless it is the word I."""
    return text if text[:2] in ("I ", "I'") else text[:1].lower() + text[1:]


def wic(lines: Iterable[Line], labelled: bool) -> Read:
    rows: list[Row] = []
    for where, value in lines:
        one, two, index = get(where, value, "sentence1", "sentence2", "idx")
        starts = get(where, value, "start1", "end1", "start2", "end2")
        texts = (marked(where, one, *starts[:2]), marked(where, two, *starts[2:]))
        rows.append((index, texts, label_of(where, value, labelled), None, None, None))
    return rows, len(rows)


def marked(where: str, text: str, start: int, end: int, mark: str = "*") -> str:
    """The text with characters start to end (exclusive) between marks."""
    if not 0 <= start < end <= len(text):
        raise UnmaskError(
            f"{where}: characters {start} to {end} of a text of {len(text)} — a word in it was expected"
        )
    return f"{text[:start]}{mark} {text[start:end]} {mark}{text[end:]}"


def wsc(lines: Iterable[Line], labelled: bool) -> Read:
    rows: list[Row] = []
    for where, value in lines:
        text, target, index = get(where, value, "text", "target", "idx")
        first, phrase, second, pronoun = get(
            where, target, "span1_index", "span1_text", "span2_index", "span2_text"
        )
        words = text.split()
        spans = sorted([(first, phrase.split(), "#"), (second, pronoun.split(), "*")], reverse=True)
        for at, span, mark in spans:  # the later one first: places before it stay
            if not 0 <= at < len(words):
                raise UnmaskError(
                    f"{where}: word {at} of a text of {len(words)} words — a word in it was expected"
                )
            words[at : at + len(span)] = [mark, *words[at : at + len(span)], mark]
        rows.append((index, (" ".join(words),), label_of(where, value, labelled), text, None, None))
    return rows, len(rows)


def multirc(lines: Iterable[Line], labelled: bool) -> Read:
    rows: list[Row] = []
    count = 0
    for where, value in lines:
        count += 1
        passage, number = get(where, value, "passage", "idx")
        text, questions = get(where, passage, "text", "questions")
        for question in questions:
            asked, answers, q = get(where, question, "question", "answers", "idx")
            for answer in answers:
                said, a = get(where, answer, "text", "idx")
                gold = label_of(where, answer, labelled)
                rows.append(
                    ((number, q, a), (text, f"{asked} {said}"), gold, str(number), f"{number}/{q}", None)
                )
    return rows, count


def record(lines: Iterable[Line], labelled: bool) -> Read:
    rows: list[Row] = []
    count = 0
    for where, value in lines:
        passage, queries = get(where, value, "passage", "qas")
        text, entities = get(where, passage, "text", "entities")
        names = dict.fromkeys(text[e["start"] : e["end"] + 1] for e in entities)
        shown = text.replace("@highlight", " ")
        for query in queries:
            count += 1
            asked, index = get(where, query, "query", "idx")
            if "@placeholder" not in asked:
                raise UnmaskError(
                    f"{where}: the query has no @placeholder — one was expected, as ReCoRD has it"
                )
            golds = [a["text"] for a in get(where, query, "answers")[0]] if labelled else []
            for name in names:
                filled = asked.replace("@placeholder", name)
                gold = ("1" if name in golds else "0") if labelled else None
                rows.append((index, (shown, filled), gold, text, str(index), (name, golds)))
    return rows, count


READERS: dict[str, Callable[[Iterable[Line], bool], Read]] = {
    "boolq": boolq,
    "copa": copa,
    "multirc": multirc,
    "record": record,
    "wic": wic,
    "wsc": wsc,
}
