"""Questions from SQuAD's JSON (1.1, 2.0) and files of its shape, among them CMRC 2018 and DRCD.

Format: Rajpurkar et al. 2016 and 2018. An answer is a text and the character it begins at; the two must
agree, for a span model can learn only from where an answer stands. CMRC's own layout gives no offsets: there
the first place where the answer's text occurs is taken, as its baseline does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.tasks.read import Question, parse, read_text


def read_questions(path: Path, *, labelled: bool = True) -> list[Question]:
    """Every question of the file; see `questions`."""
    return questions(read_text(path), str(path), labelled=labelled)


def questions(text: str, path: str, *, labelled: bool = True) -> list[Question]:
    """Every question of the text, answers checked against their passage where they are asked for.

    Raises `UnmaskError`: not JSON, not of SQuAD's shape, an answer that does not stand at its offset (with the
    question's id, and the offset that would be right if the text occurs exactly once), an id used twice.
    """
    data = parse(text, path)
    articles = data.get("data") if isinstance(data, dict) else data
    if not isinstance(articles, list):
        raise UnmaskError(
            f'{path}: there is no list "data" — expected SQuAD\'s layout: data, paragraphs, qas'
        )
    found: list[Question] = []
    for number, article in enumerate(articles):
        if isinstance(article, dict) and "context_text" in article:  # CMRC 2018's own layout
            article = {
                "title": article.get("context_id"),
                "paragraphs": [_from_cmrc(article, f"{path}: article {number}")],
            }
        if not isinstance(article, dict) or not isinstance(article.get("paragraphs"), list):
            raise UnmaskError(f'{path}: article {number} has no list "paragraphs" — expected SQuAD\'s layout')
        for paragraph in article["paragraphs"]:
            passage, qas = _fields(
                paragraph, f"{path}: a paragraph of article {number}", context=str, qas=list
            )
            # One article's passages tell about each other, so an article is never divided between train and dev.
            group = str(article.get("title") or article.get("id") or f"passage {hash_of(passage)}")
            found += [_question(path, passage, group, qa, labelled) for qa in qas]
    if not found:
        raise UnmaskError(f"{path} holds no question — expected at least one")
    seen: set[str] = set()
    for question in found:
        if question.id in seen:
            raise UnmaskError(
                f'{path}: the question id "{question.id}" occurs twice — every question needs its own'
            )
        seen.add(question.id)
    return found


def hash_of(text: str) -> str:
    """A short name for a passage that has no other."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _fields(value: object, where: str, **kinds: type) -> list[Any]:
    """The values of an object's keys, each of the kind that is expected. Raises UnmaskError where one is not."""
    there = value if isinstance(value, dict) else {}
    for key, kind in kinds.items():
        if not isinstance(there.get(key), kind):
            expected = "a text" if kind is str else "a list"
            raise UnmaskError(
                f'{where} lacks "{key}" — {expected} was expected, as in SQuAD\'s layout — add it'
            )
    return [there[key] for key in kinds]


def _from_cmrc(article: dict[str, Any], where: str) -> dict[str, Any]:
    passage, qas = _fields(article, where, context_text=str, qas=list)
    found = []
    for qa in qas:
        name, question = _fields(qa, f"{where}: a question", query_id=str, query_text=str)
        given = qa.get("answers") or []
        if not isinstance(given, list):
            raise UnmaskError(
                f'{where}: question "{name}": "answers" is no list — texts were expected — make it one'
            )
        answers = [{"text": text} for text in given]
        found.append({"id": name, "question": question, "answers": answers})
    return {"context": passage, "qas": found}


def _question(path: str, passage: str, group: str, qa: dict[str, Any], labelled: bool) -> Question:
    (question,) = _fields(qa, f'{path}: a question of "{group}"', question=str)
    name = str(qa.get("id", ""))
    if not name:
        raise UnmaskError(f'{path}: the question "{question[:60]}" of "{group}" lacks "id" — add one')
    impossible = bool(qa.get("is_impossible", False))
    answers: dict[tuple[str, int | None], None] = {}
    given = qa.get("answers") if labelled and not impossible else None
    if not isinstance(given, list | None):
        raise UnmaskError(
            f'{path}: question "{name}": "answers" is no list — expected SQuAD\'s layout — make it one'
        )
    for answer in given or []:
        text, start = (
            _fields(answer, f'{path}: question "{name}": an answer', text=str)[0],
            answer.get("answer_start"),
        )
        if not text.strip():
            raise UnmaskError(
                f'{path}: question "{name}" has an empty answer — an unanswerable one says "is_impossible"'
            )
        answers[text, _place(path, name, passage, text, start)] = None
    return Question(name, passage, question, tuple(answers), impossible, group)


def _place(path: str, name: str, passage: str, text: str, start: object) -> int | None:
    if start is None or start == -1:  # no offset in this layout
        place = passage.find(text)
        return place if place >= 0 else None  # kept as gold text; it cannot be trained on
    if isinstance(start, int) and start >= 0 and passage.startswith(text, start):
        return start
    there = passage[start : start + len(text)] if isinstance(start, int) and start >= 0 else ""
    times = passage.count(text)
    first = passage.find(text)
    advice = (
        f"it occurs once, at {first}: set answer_start to {first}"
        if times == 1
        else "it is not in the passage: correct the answer"
        if times == 0
        else f"it occurs {times} times: set answer_start to the right one"
    )
    raise UnmaskError(
        f'{path}: question "{name}": the answer "{text[:60]}" is not at character {start} of its passage '
        f'(there stands "{there[:60]}") — {advice}'
    )
