"""Probes: what a linear classifier reads in the frozen states of a snapshot, beside those of a random encoder.

Source: Chiang et al. 2020, section 4, after Tenney et al. 2019: a word is the mean of its pieces' states at a layer,
one linear layer on top, up to four layers evenly apart. Differs: logistic regression to its optimum instead of Adam
with a patience that never resets; every test word counts (the original's released figures rest on the last batch
alone, 71 to 276 words); sentences are divided into training and test, so none is in both; the states of freshly
drawn encoders stand beside, since word identity alone carries a probe far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unmask.bounded import portions
from unmask.errors import UnmaskError
from unmask.randomness import generator
from unmask.yardstick.embryo.tagged import LEAST, Sample
from unmask.yardstick.likelihood import Reader

LAYERS = 4
TOKENS = 8192  # of a batch
MOST = 2000  # training words
STRENGTH = 0.1  # inverse of the penalty on standardised states


@dataclass(frozen=True)
class Probe:
    """A probe's words: their classes, and which are for training."""

    sample: Sample
    labels: tuple[str, ...]
    target: np.ndarray  # [words]
    training: np.ndarray  # [words] bool

    @property
    def majority(self) -> float:
        """Accuracy × 100 of the most frequent training class on the test words."""
        top = np.bincount(self.target[self.training]).argmax()
        return 100 * float((self.target[~self.training] == top).mean())


def probe_of(sample: Sample, seed: int = 0) -> Probe:
    """Half of the sentences for training (at most `MOST` words of them), the other half for the test."""
    labels = tuple(sample.classes)
    target = np.empty(len(sample.words), np.int64)
    for n, name in enumerate(labels):
        target[sample.classes[name]] = n
    rng = generator(seed, "embryo probe", 0)
    sentences, own = np.unique(sample.sentences, return_inverse=True)  # own: of every row
    first = (rng.permutation(len(sentences)) < len(sentences) / 2)[own]
    training = np.array([first[w.row] for w in sample.words])
    chosen = np.flatnonzero(training)
    if len(chosen) > MOST:
        training[rng.choice(chosen, len(chosen) - MOST, replace=False)] = False
        left_out = np.array([first[w.row] for w in sample.words]) & ~training
        keep = ~left_out
        words = [w for w, k in zip(sample.words, keep, strict=True) if k]
        target, training = target[keep], training[keep]
        sample = Sample(sample.rows, words, {}, sample.counts, sample.unknown, sample.sentences)
    if len(set(target[training].tolist())) < 2 or training.all():
        raise UnmaskError(
            f"the words of {', '.join(labels)} in {len(sample.rows)} rows — a probe learns two classes and more from "
            f"one half of the rows and is tested on the other; classes of fewer than {LEAST} words are left out — "
            "give more sentences"
        )
    return Probe(sample, labels, target, training)


def layers_of(count: int) -> list[int]:
    """Up to four layers, evenly apart, the last among them; counted from 1."""
    most = min(LAYERS, count)
    return [round(count * (n + 1) / most) for n in range(most)]


def states(reader: Reader, sample: Sample, layers: Sequence[int]) -> np.ndarray:
    """The mean of each word's pieces at some layers: [layers, words, H] fp32."""
    shape, vocab = reader.encoder.shape, reader.frame.vocab
    found = np.empty((len(layers), len(sample.words), shape.width), np.float32)
    of: dict[int, list[int]] = {}
    for n, word in enumerate(sample.words):
        of.setdefault(word.row, []).append(n)
    order = sorted(of, key=lambda row: len(sample.rows[row]))
    caught: list[torch.Tensor] = []

    def catch(module: torch.nn.Module, given: object, out: torch.Tensor) -> None:
        caught.append(out)

    hooks = [layer.register_forward_hook(catch) for layer in reader.encoder.layers]
    try:
        for batch in portions(order, lambda row: len(sample.rows[row]) + 2, TOKENS):
            rows = [np.concatenate([[vocab.cls], sample.rows[row], [vocab.sep]]) for row in batch]
            lengths = [len(row) for row in rows]
            caught.clear()
            with torch.inference_mode():
                last = reader.encoder(
                    torch.from_numpy(np.concatenate(rows)).to(reader.device), torch.tensor(lengths)
                )
            held = [last if k == shape.layers else caught[k - 1] for k in layers]
            plain = [x.float().cpu().numpy() for x in held]
            for row, start in zip(batch, np.cumsum([0, *lengths[:-1]]), strict=True):
                for n in of[row]:
                    at = start + 1 + sample.words[n].places
                    for k, x in enumerate(plain):
                        found[k, n] = x[at].mean(0)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def accuracy(probe: Probe, features: np.ndarray) -> float:
    """Test accuracy × 100 of a logistic regression on states [words, H], standardised by the training words."""
    from sklearn.linear_model import LogisticRegression

    train, test = features[probe.training], features[~probe.training]
    centre, scale = train.mean(0), train.std(0) + 1e-6
    model = LogisticRegression(C=STRENGTH, max_iter=200)
    model.fit((train - centre) / scale, probe.target[probe.training])
    said = model.predict((test - centre) / scale)
    return 100 * float((said == probe.target[~probe.training]).mean())


def probed(reader: Reader, probe: Probe, layers: Sequence[int]) -> list[float]:
    """The probe's accuracy × 100 at each layer."""
    return [accuracy(probe, x) for x in states(reader, probe.sample, layers)]
