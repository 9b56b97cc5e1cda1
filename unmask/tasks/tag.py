"""Words and their tags: every word's first piece → a linear layer over the tags.

Sees: the words of a sentence, cut into pieces one by one. Says: a tag for each word. Scored: cross-entropy at
the first pieces; entity F1 where the tags mark entities (BIO, BMES, BIOES, BILOU), else accuracy. Source: Devlin
et al. 2019, §5.3. Differs: as many tags come out as words went in, always. A sentence longer than the model is
stitched from overlapping windows, each word trained and predicted once, in the window where it has most
context; the original cuts, which either loses words or counts them as right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from unmask.errors import UnmaskError
from unmask.evaluation import metrics
from unmask.tasks.examples import (
    ClassWeight,
    Example,
    Examples,
    Fate,
    Frame,
    Labels,
    Window,
    Windows,
    check_labels,
    class_weights,
)
from unmask.tasks.read import Sentence, read_sentences
from unmask.tasks.windows import owners, word_spans
from unmask.tokens import Tokenizer, Vocab

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.models import Shape


@dataclass(frozen=True)
class Tag:
    """The words of a sentence and a tag for each (CoNLL, CoNLL-U, BIO, BMES)."""

    class_weight: Annotated[ClassWeight, "weigh rare tags up: none, balanced or sqrt"] = "none"

    NAME: ClassVar[str] = "tag"
    HEADS: ClassVar[str] = "tag"
    TERMS: ClassVar[dict[str, str]] = {"tag": "tags"}

    def read(self, path: Path, *, labelled: bool = True) -> Examples:
        """The sentences of a CoNLL or CoNLL-U file. Without `labelled` the tags are not looked at."""
        return self.examples(read_sentences(path, labelled=labelled), str(path), labelled)

    def examples(self, sentences: Sequence[Sentence], where: str, labelled: bool) -> Examples:
        """Examples from sentences (`read.Sentence`)."""
        items = tuple(
            Example(str(s.line), s.line, s.words, s.tags if labelled else None, s.group) for s in sentences
        )
        skipped = sum(s.skipped for s in sentences)
        left_out = (("ranges (n-m) and empty nodes (n.1), which are no words", skipped),) if skipped else ()
        return Examples(where, items, skipped=left_out)

    def labels(self, train: Examples) -> tuple[Labels, str]:
        counts = Counter(tag for x in train.items for tag in x.gold)
        names = sorted(counts)
        if len(names) < 2:
            raise UnmaskError(f'{train.where}: every tag is "{names[0]}" — a tagger needs two tags or more')
        found = metrics.scheme(names)
        marks = (
            f"entities marked by {found}: scored by entity F1"
            if found
            else "no entity marks: scored by accuracy"
        )
        weights = class_weights([counts[name] for name in names], self.class_weight)
        single = all(len(word) == 1 for x in train.items for word in x.texts)
        return Labels(
            "tags", tuple(names), weights, found, characters=single
        ), f"{train.where}: {len(names)} tags, {marks}"

    def check(self, examples: Examples, labels: Labels) -> None:
        """Raise `UnmaskError` for a tag that the training rows lack."""
        check_labels(examples, labels)

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
        room = length - frame.room(1)
        pieces = word_pieces([x.texts for x in examples.items], tokenizer)
        number = {name: n for n, name in enumerate(labels.names)}
        rows, fates = [], []
        for at, (item, words) in enumerate(zip(examples.items, pieces, strict=True)):
            counts = [min(len(w), room) for w in words]
            windows = word_spans(counts, room, overlap)
            owner = owners(len(words), windows)
            gold = (
                np.zeros(len(words), np.int64)
                if item.gold is None
                else np.array([number[t] for t in item.gold])
            )
            weights = np.array(labels.weights, np.float32)[gold]
            for n, (start, stop) in enumerate(windows):
                own = np.flatnonzero(owner[start:stop] == n) + start
                if not len(own):
                    continue  # its neighbours have more context for every word of it
                firsts = 1 + np.cumsum([0, *counts[start : stop - 1]])
                ids, segments = frame.row(np.concatenate([w[:room] for w in words[start:stop]]))
                rows.append(Window(at, ids, segments, firsts[own - start], own, gold[own], weights[own]))
            where = f"{examples.where}, line {item.line}"
            if any(len(w) > room for w in words):
                fates.append(Fate("cut", "a word longer than the model: its first pieces stay", where))
            elif len(windows) > 1:
                fates.append(Fate("split", "longer than the model: overlapping windows", where))
            else:
                fates.append(Fate("kept", "in one row", where))
        return Windows(rows, fates)

    def example(self, row: Window, vocab: Vocab, rng: np.random.Generator) -> dict[str, np.ndarray]:
        arrays = {
            "ids": row.ids,
            "tag_positions": row.positions,
            "tags": row.targets,
            "tag_weights": row.weights,
        }
        return arrays if row.segments is None else {**arrays, "segments": row.segments}

    def network(self, shape: Shape, vocab: Vocab, labels: Labels) -> nn.Module:
        from unmask.tasks.networks import tagger

        return tagger(shape, len(labels.names))

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        from unmask.tasks.networks import tag_loss

        return tag_loss(model, batch)

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> list[np.ndarray]:
        from unmask.tasks.networks import tag_outputs

        return tag_outputs(model, batch)

    def join(
        self, examples: Examples, windows: Sequence[Window], outputs: Sequence[np.ndarray], labels: Labels
    ) -> list[dict[str, Any]]:
        best = [np.full(len(x.texts), -1) for x in examples.items]
        shares = [np.zeros(len(x.texts)) for x in examples.items]
        for window, output in zip(windows, outputs, strict=True):  # output [u, tags], log-probabilities
            best[window.example][window.units] = output.argmax(-1)
            shares[window.example][window.units] = np.exp(output.max(-1))
        assert all((b >= 0).all() for b in best)
        return [
            {"tags": [labels.names[t] for t in b], "probabilities": [float(p) for p in s]}
            for b, s in zip(best, shares, strict=True)
        ]

    def score(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> dict[str, float]:
        gold = [x.gold for x in examples.items]
        said = [p["tags"] for p in predictions]
        flat = [t for s in gold for t in s]
        found = {"accuracy": metrics.accuracy(flat, [t for s in said for t in s])}
        if labels.scheme:
            found = {**metrics.entity_f1(gold, said), **found}
        return {name: 100 * value for name, value in found.items()}

    def majority(self, train: Examples, examples: Examples, labels: Labels) -> dict[str, float]:
        """The scores of the most frequent training tag everywhere."""
        top = Counter(tag for x in train.items for tag in x.gold).most_common(1)[0][0]
        return self.score([{"tags": [top] * len(x.texts)} for x in examples.items], examples, labels)

    def leading(self, labels: Labels) -> str:
        return "f1" if labels.scheme else "accuracy"

    def settle(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> tuple[Sequence[dict[str, Any]], Labels]:
        """What dev decides beyond the checkpoint: nothing here."""
        return predictions, labels


def word_pieces(sentences: Sequence[Sequence[str]], tokenizer: Tokenizer) -> list[list[np.ndarray]]:
    """The pieces of every word by itself; at least one each ([UNK] where the tokenizer leaves nothing).

    A byte-level vocabulary knows a word by the space before it, so there every word but a sentence's first is
    given one.
    """
    spaced = tokenizer.vocab.kind == "bpe"
    asked = [(" " if spaced and n else "") + word for words in sentences for n, word in enumerate(words)]
    distinct = list(dict.fromkeys(asked))
    unknown = np.array([tokenizer.vocab.unk], np.int64)
    known = {
        word: found.ids.astype(np.int64) if len(found.ids) else unknown
        for word, found in zip(distinct, tokenizer.encode_batch(distinct), strict=True)
    }
    pieces = iter(asked)
    return [[known[next(pieces)] for _ in words] for words in sentences]
