"""Pseudo-log-likelihoods of many sentences, as fast as the processor lets them.

The usual way runs a padded model over every masked copy and works out the logits of all its tokens. Here rows of one
length lie end to end without padding or mask, the last layer and the head work on the asked places alone, an input
that occurs twice is computed once (`masked.py`), and every core has batches of its own instead of a share of each
operation. The sums are exact: with bf16 states the logit of the target is worked out in fp32, the log-softmax is
fp32, and a sentence is added up in fp64, so that there are no ties but real ones (the scorers that take their
log-softmax in bf16 make many).
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.batch import Alike
from unmask.errors import UnmaskError
from unmask.jobs.source import Source
from unmask.models.encoder import Encoder
from unmask.models.heads import TokensHead
from unmask.models.losses import highest
from unmask.processes import device
from unmask.tasks import Frame
from unmask.tokens import Tokenizer
from unmask.yardstick.cores import over_cores
from unmask.yardstick.masked import Inputs, Scoring, Sentence, inputs

TOKENS = 4096  # of a batch on a processor: its activations stay in the cache
LARGE = 65_536  # of a batch on a GPU
LOGITS = 2**20  # logits of one visit on a processor


@dataclass(frozen=True)
class Reader:
    """A masked language model, ready to be asked: on its device, in its precision."""

    encoder: Encoder
    head: TokensHead
    frame: Frame

    def to(self, dtype: torch.dtype) -> Reader:
        """A copy in another precision, on this machine's device."""
        encoder = copy.deepcopy(self.encoder).to(device(), dtype).eval()
        head = TokensHead(encoder, dense=self.head.norm is not None)
        head.load_state_dict(self.head.state_dict())
        return Reader(encoder, head.to(device(), dtype).eval(), self.frame)

    @property
    def device(self) -> torch.device:
        return self.encoder.tokens.weight.device


def reader_of(source: Source, seed: int | None = None) -> Reader:
    """A model folder's body and masked-LM head in fp32, or with a `seed` the same network freshly drawn.

    Raises UnmaskError for a folder without such a head.
    """
    loaded = source.loaded
    own = {k.removeprefix("tokens."): v for k, v in loaded.state.items() if k.startswith("tokens.")}
    if not own:
        raise UnmaskError(
            f"{source.folder} holds no masked-LM head — expected a pre-trained model, not a fine-tuned one — "
            "give the run it started from"
        )
    if seed is not None:
        torch.manual_seed(seed)
    encoder = Encoder(loaded.shape) if seed is not None else loaded.encoder()
    head = TokensHead(encoder, dense="norm.weight" in own)
    if seed is None:
        head.load_state_dict(own)
    return Reader(encoder.eval(), head.eval(), source.frame)


def cut(
    texts: Sequence[str], tokenizer: Tokenizer, longest: int, where: Callable[[int], str]
) -> list[Sentence]:
    """Sentences as pieces and words; `longest` is the model's row.

    Raises UnmaskError, naming `where(n)`, for a text that is too long or of which no piece is left.
    """
    found = []
    for n, encoded in enumerate(tokenizer.encode_batch(texts)):
        if not 0 < len(encoded.ids) <= longest - 2:
            raise UnmaskError(
                f"{where(n)}: {len(encoded.ids)} pieces — the model reads 1 to {longest - 2} — "
                "shorten the sentence or leave it out"
            )
        found.append(Sentence(encoded.ids.astype(np.int64), np.cumsum(encoded.word_starts)))
    return found


def scores(
    reader: Reader,
    sentences: Sequence[Sentence],
    forms: Sequence[Scoring],
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> np.ndarray:
    """The pseudo-log-likelihood of each sentence in nats, in each form: [forms, S] float64.

    `tell` hears how many sentences are done, of how many.
    """
    total = np.zeros((len(forms), len(sentences)))
    done = 0
    for found, answers in _answered(reader, inputs(sentences, reader.frame.vocab, forms)):
        np.add.at(total, (found.form, found.sentence), answers)
        done += len(np.unique(found.sentence))
        tell(done, len(sentences))
    return total


@dataclass(frozen=True)
class _Batch:
    """Some rows of `Inputs`, and the questions that they answer."""

    ids: Tensor  # [b, T]
    alike: Alike  # which of the b * T
    keep: Tensor  # [p] places among the b * T, sorted
    of: Tensor  # [q] which of keep
    target: Tensor  # [q]
    questions: np.ndarray  # [q] their numbers


def _batches(found: Inputs, tokens: int) -> Iterator[_Batch]:
    count, width = found.rows.shape
    order = np.argsort(found.of, kind="stable")
    of, size = found.of[order], max(1, tokens // width)
    for a in range(0, count, size):
        b = min(a + size, count)
        first, last = np.searchsorted(found.asked[:, 0], [a, b])
        questions = order[slice(*np.searchsorted(of, [first, last]))]
        row, place = found.asked[first:last].T
        _, one, which = np.unique(
            found.rows[a:b] * width + np.arange(width), return_index=True, return_inverse=True
        )
        yield _Batch(
            torch.from_numpy(found.rows[a:b]),
            Alike(torch.from_numpy(one), torch.from_numpy(which.reshape(-1))),
            torch.from_numpy((row - a) * width + place),
            torch.from_numpy(found.of[questions] - first),
            torch.from_numpy(found.target[questions]),
            questions,
        )


def _answered(reader: Reader, work: Iterable[Inputs]) -> Iterator[tuple[Inputs, np.ndarray]]:
    """Each group with the log-probability of every question [Q], float64, in order."""
    given: deque[tuple[Inputs, np.ndarray, bool]] = deque()

    def tasks() -> Iterator[Callable[[], np.ndarray]]:
        for found in work:
            batches = list(_batches(found, TOKENS if reader.device.type == "cpu" else LARGE))
            for n, batch in enumerate(batches):
                given.append((found, batch.questions, n == len(batches) - 1))
                yield partial(_ask, reader, batch)

    answers: np.ndarray | None = None
    for result in over_cores(tasks(), reader.device):
        found, questions, last = given.popleft()
        answers = np.empty(len(found.of)) if answers is None else answers
        answers[questions] = result
        if last:
            yield found, answers
            answers = None


def _ask(reader: Reader, batch: _Batch) -> np.ndarray:
    """The log-probability of every question of a batch [q]."""
    rows, width = batch.ids.shape
    where = reader.device
    with torch.inference_mode():
        keep, of, target = (t.to(where) for t in (batch.keep, batch.of, batch.target))
        states = reader.encoder(
            batch.ids.view(-1).to(where),
            torch.full((rows,), width, dtype=torch.int64),
            keep=keep,
            alike=Alike(batch.alike.first.to(where), batch.alike.which.to(where)),
        )
        x = reader.head.transform(states)  # [p, E]
        return _log_shares(x, reader.head.matrix, reader.head.bias, of, target).double().cpu().numpy()


def _log_shares(x: Tensor, matrix: Tensor, bias: Tensor, of: Tensor, target: Tensor) -> Tensor:
    """log softmax(x · matrixᵀ + bias) of question q's target at x[of[q]]: [p, E], [q], [q] -> [q] fp32.

    In bf16 the two logits that weigh most, the first guess and the target, are worked out in fp32.
    """
    rest = torch.empty(len(x), device=x.device)  # the log of the sum over the vocabulary
    visit = len(x) if x.is_cuda else max(1, LOGITS // len(matrix))
    shift = bias.float()
    for at in range(0, len(x), visit):
        part = x[at : at + visit]
        logits = F.linear(part, matrix).float().add_(shift)  # [visit, V]
        top = highest(logits)
        if x.dtype != torch.float32:
            logits.scatter_(1, top, _exact(part, matrix, bias, top[:, 0])[:, None])
        most = logits.gather(1, top)
        rest[at : at + visit] = most[:, 0] + logits.sub_(most).exp_().sum(-1).log()
    return _exact(x[of], matrix, bias, target) - rest[of]


def _exact(x: Tensor, matrix: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """The logits of one target a row, in fp32: [q, E], [q] -> [q]."""
    return (x.float() * matrix[target].float()).sum(-1) + bias[target].float()
