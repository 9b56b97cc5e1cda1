"""What a snapshot says: are words put back whole, masked or not; the states of words; the fills of a sentence.

Reconstruction feeds the sentence as it is and asks what stands at each piece; masked prediction masks all pieces of
one word in a copy of its own (Chiang et al. 2020, section 3). A word is right only if all its pieces come first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from unmask.bounded import portions
from unmask.errors import UnmaskError
from unmask.models import Shape
from unmask.models.encoder import Encoder
from unmask.models.heads import TokensHead
from unmask.recipes import Recipe
from unmask.tasks import Frame
from unmask.tokens import Tokenizer
from unmask.yardstick.cores import over_cores
from unmask.yardstick.embryo.tagged import Sample
from unmask.yardstick.likelihood import Reader

TOKENS = 4096  # of a batch
T = TypeVar("T")
Row = tuple[np.ndarray, np.ndarray]  # ids with [CLS] and [SEP] [T], asked places in them [k], sorted


def reader_with(
    recipe: Recipe,
    shape: Shape,
    frame: Frame,
    weights: dict[str, torch.Tensor] | None,
    dtype: torch.dtype,
    seed: int = 0,
) -> Reader:
    """The recipe's network with a snapshot's weights, or freshly drawn by the seed."""
    torch.manual_seed(seed)
    network = recipe.network(shape, frame.vocab)
    if weights is not None:
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:  # names or shapes
            raise UnmaskError(
                f"a snapshot is not of this run's network ({str(error).splitlines()[-1].strip():.200}) — expected the "
                "weights that the run wrote — remove the folder snapshots and pre-train again"
            ) from None
    encoder, head = network.encoder, network.head
    assert isinstance(encoder, Encoder) and isinstance(head, TokensHead)
    return Reader(encoder.eval(), head.eval(), frame).to(dtype)


def _asked(
    reader: Reader, rows: Sequence[Row], what: Callable[[torch.Tensor, list[int]], T]
) -> list[tuple[np.ndarray, T]]:
    """`what` of the states of the asked places and the numbers of their rows, in batches of like length.

    The numbers and its value for each batch; all values are held together, so it keeps what is small.
    """
    order = sorted(range(len(rows)), key=lambda n: len(rows[n][0]))
    batches = list(portions(order, lambda n: len(rows[n][0]), TOKENS))

    def one(numbers: list[int]) -> T:
        lengths = np.array([len(rows[n][0]) for n in numbers])
        starts = np.cumsum(lengths) - lengths
        ids = torch.from_numpy(np.concatenate([rows[n][0] for n in numbers])).to(reader.device)
        keep = np.concatenate([rows[n][1] + start for n, start in zip(numbers, starts, strict=True)])
        with torch.inference_mode():
            states = reader.encoder(
                ids, torch.from_numpy(lengths), keep=torch.from_numpy(keep).to(reader.device)
            )
            return what(states, numbers)

    found = over_cores([partial(one, numbers) for numbers in batches], reader.device)
    return [(np.array(numbers), value) for numbers, value in zip(batches, found, strict=True)]


def _guesses(reader: Reader, rows: Sequence[Row]) -> list[np.ndarray]:
    """The first guess at every asked place of each row."""

    def best(states: torch.Tensor, numbers: list[int]) -> np.ndarray:
        found: np.ndarray = logits(reader.head, states).argmax(-1).cpu().numpy()
        return found

    out: list[np.ndarray] = [np.zeros(0, np.int64)] * len(rows)
    for numbers, said in _asked(reader, rows, best):
        ends = np.cumsum([len(rows[n][1]) for n in numbers])
        for n, part in zip(numbers, np.split(said, ends[:-1]), strict=True):
            out[n] = part
    return out


def logits(head: TokensHead, states: torch.Tensor) -> torch.Tensor:
    """In fp32 whatever the body computes in, so that no first guess is a tie of rounded numbers: [P, H] -> [P, V]."""
    x = head.transform(states).float()
    return torch.nn.functional.linear(x, head.matrix.float(), head.bias.float())


def masked_says(reader: Reader, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """With all pieces of a word masked, nothing else: whether it comes back, [words] bool, and its surprisal.

    The surprisal, [words], is minus the log-probabilities of its pieces in nats, added up (each alone: the others are
    masked). It moves long before a first guess does (Chang and Bergen 2022, whose curves are of it).
    """
    vocab = reader.frame.vocab
    rows: list[Row] = []
    for word in sample.words:
        ids = np.concatenate([[vocab.cls], sample.rows[word.row], [vocab.sep]])
        ids[1 + word.places] = vocab.mask
        rows.append((ids, 1 + word.places))
    hits, nats = np.zeros(len(rows), bool), np.zeros(len(rows))

    def judged(states: torch.Tensor, numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
        wanted = torch.from_numpy(np.concatenate([sample.words[n].ids for n in numbers])).to(states.device)
        found = logits(reader.head, states)
        own = -torch.nn.functional.cross_entropy(found, wanted, reduction="none")
        return (found.argmax(-1) == wanted).cpu().numpy(), own.double().cpu().numpy()

    for numbers, (right, own) in _asked(reader, rows, judged):
        starts = np.cumsum([0, *(len(sample.words[n].ids) for n in numbers[:-1])])
        nats[numbers] = -np.add.reduceat(own, starts)
        hits[numbers] = np.logical_and.reduceat(right, starts)
    return hits, nats


def seen_hits(reader: Reader, sample: Sample) -> np.ndarray:
    """Whether each word comes back from the sentence as it is: [words] bool."""
    vocab = reader.frame.vocab
    of: dict[int, list[int]] = {}
    for n, word in enumerate(sample.words):
        of.setdefault(word.row, []).append(n)
    rows: list[Row] = []
    for row, numbers in of.items():
        ids = np.concatenate([[vocab.cls], sample.rows[row], [vocab.sep]])
        rows.append((ids, 1 + np.unique(np.concatenate([sample.words[n].places for n in numbers]))))
    hits = np.zeros(len(sample.words), bool)
    for (_, places), said, numbers in zip(rows, _guesses(reader, rows), of.values(), strict=True):
        for n in numbers:
            word = sample.words[n]
            hits[n] = bool((said[np.searchsorted(places, 1 + word.places)] == word.ids).all())
    return hits


def fills(
    reader: Reader, tokenizer: Tokenizer, texts: Sequence[str], top: int = 5
) -> list[list[list[dict[str, Any]]]]:
    """For each text and each of its masks the `top` pieces with their probabilities; special tokens are no guess."""
    vocab = tokenizer.vocab
    special = torch.from_numpy(vocab.special).to(reader.device)
    found = []
    for text in texts:
        ids, _ = reader.frame.row(tokenizer.encode(text, specials=True).ids)
        keep = np.flatnonzero(ids == vocab.mask)
        with torch.inference_mode():
            states = reader.encoder(
                torch.from_numpy(ids).to(reader.device),
                torch.tensor([len(ids)]),
                keep=torch.from_numpy(keep).to(reader.device),
            )
            shares = logits(reader.head, states).softmax(-1)[:, : vocab.size].masked_fill(special, -1.0)
            best = shares.topk(min(top, vocab.size))
        found.append(
            [
                [
                    {"token": tokenizer.decode([i]).strip() or tokenizer.token(i), "probability": p}
                    for i, p in zip(pieces, values, strict=True)
                ]
                for pieces, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
        )
    return found
