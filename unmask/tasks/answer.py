"""A question, a passage, and the span that answers: [CLS] question [SEP] passage [SEP] → first and last piece.

Sees: the question (its first 64 pieces) and the passage, whole or in overlapping windows. Says: which pieces open
and close the answer; [CLS] says that it is not here. Scored: the mean of both cross-entropies, over [CLS] and the
pieces of the passage; EM and F1 by SQuAD's or CMRC's rules. Source: Devlin et al. 2019, §4.2–4.3.

Differs from its code. Training windows are placed anew at every visit: half of them hold the answer at a uniformly
drawn place, half lie anywhere, so that where an answer stands in a window tells nothing (fixed windows betray
answers near a passage's start). Start and end are chosen jointly and exactly, not from the 20 best of each. Windows
are compared by log-probabilities, not raw logits. "No answer" may be said only if the training file has
unanswerable questions, with a threshold chosen on dev.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from unmask.errors import UnmaskError
from unmask.evaluation.reading import score_answers, script_metric
from unmask.tasks.best import best_spans, choose_threshold
from unmask.tasks.examples import Example, Examples, Fate, Frame, Labels, Window, Windows
from unmask.tasks.questions import read_questions
from unmask.tasks.read import Question
from unmask.tasks.windows import spans
from unmask.tokens import Encoded, Tokenizer, Vocab

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.models import Shape

QUESTION = 64  # pieces of a question that are read
CANDIDATES = 20  # spans of a window that are pooled


@dataclass(frozen=True)
class Answer:
    """A question, a passage and the span that answers it, or none (SQuAD's JSON)."""

    metric: Annotated[
        Literal["auto", "squad", "cmrc"], "whose EM and F1; auto: by the script of the text"
    ] = "auto"
    max_answer: Annotated[int, "longest answer, in pieces"] = 30

    NAME: ClassVar[str] = "answer"
    HEADS: ClassVar[str] = "span"
    TERMS: ClassVar[dict[str, str]] = {"start": "start_positions", "end": "end_positions"}

    def __post_init__(self) -> None:
        if self.max_answer < 1:
            raise UnmaskError(
                f"max_answer is {self.max_answer} — an answer has a piece at least — give 1 or more"
            )

    def read(self, path: Path, *, labelled: bool = True) -> Examples:
        """The questions of a SQuAD-shaped file. Without `labelled`, answers are not looked at."""
        return self.examples(read_questions(path, labelled=labelled), str(path), labelled)

    def examples(self, questions: Sequence[Question], where: str, labelled: bool) -> Examples:
        """Examples from questions (`read.Question`)."""
        if labelled:
            for q in questions:
                if not q.answers and not q.impossible:
                    raise UnmaskError(
                        f'{where}: question "{q.id}" has no answer and is not marked "is_impossible" — add one of them'
                    )
        items = tuple(
            Example(q.id, 0, (q.question, q.passage), q.answers if labelled else None, q.group)
            for q in questions
        )
        return Examples(where, items)

    def labels(self, train: Examples) -> tuple[Labels, str]:
        none = sum(not x.gold for x in train.items)
        if none == len(train):
            raise UnmaskError(f"{train.where}: no question has an answer — expected spans to learn from")
        rule = (
            script_metric([x.texts[1] for x in train.items[:200]]) if self.metric == "auto" else self.metric
        )
        said = f"{train.where}: {len(train)} questions, {none} without an answer; scored by {rule.upper()}'s EM and F1"
        return Labels("spans", scheme=rule, threshold=0.0 if none else None), said

    def check(self, examples: Examples, labels: Labels) -> None:
        """Every question is a fair one to ask; offsets were checked by the reader."""

    def rows(
        self,
        examples: Examples,
        tokenizer: Tokenizer,
        labels: Labels,
        frame: Frame,
        *,
        length: int,
        overlap: int,
        training: bool,
    ) -> Windows:
        asked = tokenizer.encode_batch([x.texts[0] for x in examples.items], specials=True)
        passages = list(dict.fromkeys(x.texts[1] for x in examples.items))
        read = dict(zip(passages, tokenizer.encode_batch(passages), strict=True))
        rows, fates = [], []
        for number, (item, question) in enumerate(zip(examples.items, asked, strict=True)):
            passage = read[item.texts[1]]
            q = question.ids[: min(QUESTION, (length - frame.room(2)) // 2)]
            room = length - frame.room(2) - len(q)
            n = len(passage.ids)
            goal = answer_pieces(item, passage)
            where = f'{examples.where}, question "{item.id}"'
            if training and item.gold and goal is None:
                fates.append(
                    Fate("dropped", "no piece of the passage holds the answer: nothing to learn from", where)
                )
                continue
            # A training row keeps the whole passage; its window is placed when it is drawn.
            windows = [(0, n)] if training else spans(n, room, min(overlap, room - 1))
            first = 1 + len(q) + frame.separators
            for start, stop in windows:
                ids, segments = frame.row(q, passage.ids[start:stop])
                inside = goal is not None and start <= goal[0] and goal[1] < stop
                targets = np.array(
                    [goal[0] - start, goal[1] - start] if goal is not None and inside else [-1, -1]
                )
                units = passage.offsets[start:stop]
                positions = np.arange(first, first + stop - start)
                rows.append(
                    Window(number, ids, segments, positions, units, targets, np.ones(1, np.float32), room)
                )
            if len(q) < len(question.ids):
                fates.append(Fate("cut", f"a question of more than {len(q)} pieces: its end", where))
            elif n > room:
                fates.append(Fate("split", "longer than the model: windows", where))
            else:
                fates.append(Fate("kept", "in one row", where))
        return Windows(rows, fates)

    def example(self, row: Window, vocab: Vocab, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """One window; a training row longer than the model is placed by `rng` (see above)."""
        ids, segments, n = row.ids, row.segments, len(row.positions)
        first = int(row.positions[0]) if n else len(ids) - 1
        start, end = (int(t) for t in row.targets)
        if row.room is not None and n > row.room:
            at = place_window(n, row.room, start, end, rng)
            kept = np.r_[0:first, first + at : first + at + row.room, len(ids) - 1]
            ids = ids[kept]
            segments = None if segments is None else segments[kept]
            n = row.room
            inside = start >= at and end < at + n
            start, end = (start - at, end - at) if inside else (-1, -1)
        arrays = {
            "ids": ids,
            "start_positions": np.array([first + start if start >= 0 else 0]),
            "end_positions": np.array([first + end if start >= 0 else 0]),
            "passage_positions": np.array([first, first + n]),
        }
        return arrays if segments is None else {**arrays, "segments": segments}

    def network(self, shape: Shape, vocab: Vocab, labels: Labels) -> nn.Module:
        from unmask.tasks.networks import reader

        return reader(shape)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        from unmask.tasks.networks import span_loss

        return span_loss(model, batch)

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> list[np.ndarray]:
        """A window's log-probabilities of start and end: [CLS] first, then its pieces.  # [2, 1 + u] each"""
        from unmask.tasks.networks import span_outputs

        return span_outputs(model, batch)

    def join(
        self, examples: Examples, windows: Sequence[Window], outputs: Sequence[np.ndarray], labels: Labels
    ) -> list[dict[str, Any]]:
        """The best span of all windows by characters of the passage; "" where "no answer" wins."""
        seen: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in examples.items]
        for window, output in zip(windows, outputs, strict=True):
            seen[window.example].append((output, window.units))
        return [self._answer(item, parts, labels) for item, parts in zip(examples.items, seen, strict=True)]

    def _answer(
        self, item: Example, parts: list[tuple[np.ndarray, np.ndarray]], labels: Labels
    ) -> dict[str, Any]:
        spans_, none = best_spans(parts, self.max_answer, CANDIDATES)
        passage = item.texts[1]
        found: dict[str, tuple[float, int]] = {}
        for score, (start, end) in spans_:
            text = passage[start:end]
            begin = start + len(text) - len(text.lstrip())  # byte-level pieces hold the space before a word
            if text.strip() and text.strip() not in found:
                found[text.strip()] = (score, begin)
        ranked: list[dict[str, Any]] = [
            {"text": text, "start": start, "score": score} for text, (score, start) in found.items()
        ]
        if labels.threshold is not None:
            ranked.append({"text": "", "start": None, "score": none})
        shares = np.exp([r["score"] for r in ranked])
        shares = shares / shares.sum() if len(shares) and shares.sum() > 0 else shares
        for row, share in zip(ranked, shares, strict=True):
            row["probability"] = float(share)
        best: dict[str, Any] = next(
            (r for r in ranked if r["text"]),
            {"text": "", "start": None, "score": -np.inf, "probability": 0.0},
        )
        margin = none - best["score"]
        silent = {"text": "", "start": None, "probability": ranked[-1]["probability"] if ranked else 0.0}
        said = silent if labels.threshold is not None and margin > labels.threshold else best
        ranked.sort(key=lambda r: -r["score"])
        return {
            "id": item.id,
            "answer": said["text"],
            "start": said["start"],
            "probability": said["probability"],
            "best": best["text"],
            "margin": float(margin),
            "candidates": [{k: r[k] for k in ("text", "start", "probability")} for r in ranked[:5]],
        }

    def score(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> dict[str, float]:
        golds = [[text for text, _ in x.gold] for x in examples.items]
        found = score_answers(golds, [p["answer"] for p in predictions], labels.scheme or "squad")
        return {name: 100 * value for name, value in found.items()}

    def majority(self, train: Examples, examples: Examples, labels: Labels) -> dict[str, float]:
        """The scores of never answering; without unanswerable questions, of the passage's first word."""
        said = [
            "" if labels.threshold is not None else next(iter(x.texts[1].split()), "") for x in examples.items
        ]
        return self.score([{"answer": text} for text in said], examples, labels)

    def leading(self, labels: Labels) -> str:
        return "f1"

    def settle(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> tuple[Sequence[dict[str, Any]], Labels]:
        """What dev decides beyond the checkpoint: the threshold of "no answer", by F1."""
        if labels.threshold is None:
            return predictions, labels
        golds = [[text for text, _ in x.gold] for x in examples.items]
        texts, margins = [p["best"] for p in predictions], [p["margin"] for p in predictions]
        threshold = choose_threshold(margins, texts, golds, labels.scheme or "squad")
        settled = [
            {**p, "answer": ""} if p["margin"] > threshold else {**p, "answer": p["best"]}
            for p in predictions
        ]
        return settled, replace(labels, threshold=threshold)


def answer_pieces(item: Example, passage: Encoded) -> tuple[int, int] | None:
    """The first and last piece that hold the first answer with a place; None without one."""
    for text, start in item.gold or ():
        if start is not None:
            inside = (passage.offsets[:, 1] > start) & (passage.offsets[:, 0] < start + len(text))
            where = np.flatnonzero(inside)
            if len(where):
                return int(where[0]), int(where[-1])
    return None


def place_window(n: int, room: int, start: int, end: int, rng: np.random.Generator) -> int:
    """Where a training window of `room` pieces opens in a passage of `n` > `room`.

    With an answer at `start`..`end` that fits, half of the draws hold all of it, at a uniform place; the other
    half, and all without one, are uniform over the passage. The answer's place so carries no information.
    """
    last = n - room
    wanted = start >= 0 and end - start < room and rng.random() < 0.5
    low, high = (max(0, end - room + 1), min(start, last)) if wanted else (0, last)
    return int(rng.integers(low, high + 1))
