"""Pairs a second: `unmask minimal-pairs` beside a plain `transformers` loop on the same weights and the same pairs.

    python -m benchmarks.minimal_pairs [--quick] [--data DIR]

The peer is what its users write: every piece of every sentence masked in a copy of its own, copies in batches padded to
their longest, `BertForMaskedLM` with all its logits, log-softmax at the masked place in fp32; in fp32 and, where the
processor has it, in bf16, at several batch sizes; the two best of a trial are timed in full, and the faster of them
counts. Both sides read the same pairs, drawn evenly from all paradigms of BLiMP (or of the file or folder DIR), with a
`bert` of size mini and 8,192 pieces, freshly drawn: no operation depends on the values. Scores are compared in fp32
before anything is timed (the largest difference is printed and must be below 1e-4 of a score); both are timed from
texts to scores; the sides take turns; the last line is `ratio X floor Y`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import autocasts
from unmask.models import sized
from unmask.models.encoder import Encoder
from unmask.models.heads import TokensHead
from unmask.models.weights import save_pretrained
from unmask.tokens import Tokenizer, train_tokenizer
from unmask.yardstick.likelihood import Reader, cut, scores
from unmask.yardstick.pairs import read_pairs

FLOOR = 3.0
BATCHES = (32, 128, 512)  # of the peer
QUICK = 3  # pairs of every paradigm in a quick run (BLiMP: 201)


class Ours:
    """Our side, in one precision."""

    def __init__(self, encoder: Encoder, head: TokensHead, tokenizer: Tokenizer, dtype: torch.dtype) -> None:
        from unmask.jobs.source import frame_of

        self.tokenizer, self.longest = tokenizer, encoder.shape.positions
        self.reader = Reader(encoder, head, frame_of(tokenizer, encoder.shape)).to(dtype)

    def score(self, texts: Sequence[str]) -> np.ndarray:
        sentences = cut(texts, self.tokenizer, self.longest, lambda n: texts[n])
        return scores(self.reader, sentences, ["original"])[0]


class Peer:
    """The loop of a user of transformers."""

    def __init__(self, folder: Path, dtype: torch.dtype, batch: int) -> None:
        from transformers import AutoTokenizer, BertForMaskedLM, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = BertForMaskedLM.from_pretrained(folder, dtype=dtype).eval()
        self.batch = batch
        self.name = f"transformers, {str(dtype)[6:]}, batch {batch}"

    def score(self, texts: Sequence[str]) -> np.ndarray:
        tokenizer = self.tokenizer
        total = np.zeros(len(texts))

        def copies() -> list[tuple[int, int, int, list[int]]]:
            found = []
            for n, text in enumerate(texts):
                ids = tokenizer(text)["input_ids"]
                for place in range(1, len(ids) - 1):
                    found.append(
                        (n, place, ids[place], ids[:place] + [tokenizer.mask_token_id] + ids[place + 1 :])
                    )
            return found

        every = iter(copies())
        while batch := list(islice(every, self.batch)):
            sentence, places, targets, rows = zip(*batch, strict=True)
            fed = tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt")
            with torch.inference_mode():
                logits = self.model(**fed).logits
            asked = logits[torch.arange(len(rows)), torch.tensor(places)].float().log_softmax(-1)
            found = asked[torch.arange(len(rows)), torch.tensor(targets)]
            np.add.at(total, np.array(sentence), found.double().numpy())
        return total


def timed(side: Ours | Peer, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    side.score(texts)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer pairs and turns; under a minute")
    parser.add_argument("--data", type=Path, help="another file or folder of pairs")
    options = parser.parse_args()
    pairs = read_pairs(options.data)
    each = QUICK if options.quick else 10
    texts = [t for n in pairs.first(each) for t in (pairs.items[n].good, pairs.items[n].bad)]
    every = [t for n in pairs.first(60) for t in (pairs.items[n].good, pairs.items[n].bad)]
    tokenizer = train_tokenizer(every, "wordpiece", 8192)
    shape = sized("bert", "mini", 8192, 128)
    torch.manual_seed(0)
    encoder = Encoder(shape).eval()
    head = TokensHead(encoder).eval()
    for parameter in (*encoder.parameters(), *head.parameters()):
        parameter.data.add_(0.05 * torch.randn_like(parameter))  # norms and biases that are not the identity
    sentences = cut(texts, tokenizer, shape.positions, lambda n: texts[n])
    count = len(texts) // 2
    print(f"{count} pairs of {pairs.name}, {sum(len(s.ids) for s in sentences)} masked copies, {machine()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = torch.nn.ModuleDict({"encoder": encoder, "head": head})
        save_pretrained(folder, "bert", network, shape, tokenizer, heads="tokens")
        few = 2 * 12
        one, two = (
            Ours(encoder, head, tokenizer, torch.float32).score(texts[:few]),
            Peer(folder, torch.float32, 64).score(texts[:few]),
        )
        apart = float(np.abs(one / two - 1).max())
        print(f"scores of {few} sentences in fp32: apart by {apart:.1e} of a score at most")
        if not apart <= 1e-4:  # nor where one is no number
            print("the two sides do not compute the same; nothing is timed")
            return 1
        trial = texts[:: max(2, len(texts) // 40)]
        dtypes = [torch.bfloat16 if bf16 else torch.float32 for bf16 in autocasts()]
        peers = [Peer(folder, dtype, n) for dtype in dtypes for n in BATCHES]
        least = [float("inf")] * len(peers)
        for turn in range(3):  # the first warms up
            for n, peer in enumerate(peers):
                took = timed(peer, trial if turn else trial[:2])
                least[n] = min(least[n], took) if turn else least[n]
        for peer, took in zip(peers, least, strict=True):
            print(f"{peer.name}: {len(trial) / 2 / took:.1f} pairs/s on {len(trial)} sentences")
        chosen = [peers[n] for n in np.argsort(least)[:2]]
        ours = Ours(encoder, head, tokenizer, dtypes[-1])
        for side in (ours, *chosen):
            timed(side, texts)  # products of every shape are prepared once
        mine: list[float] = []
        both: list[list[float]] = [[], []]
        for _ in range(3 if options.quick else 5):
            mine.append(timed(ours, texts))
            for peer, taken in zip(chosen, both, strict=True):
                taken.append(timed(peer, texts))
    best = int(np.argmin([statistics.median(own) for own in both]))
    theirs = both[best]
    for name, found in (
        (f"unmask, {str(dtypes[-1]).removeprefix('torch.')}", mine),
        (f"{chosen[best].name}, the best", theirs),
    ):
        speeds = sorted(count / seconds for seconds in found)
        print(f"{name}: {statistics.median(speeds):.1f} pairs/s ({speeds[0]:.1f} to {speeds[-1]:.1f})")
    ratios = sorted(t / m for m, t in zip(mine, theirs, strict=True))
    print(f"ratios: {', '.join(f'{r:.2f}' for r in ratios)}")
    print(f"ratio {statistics.median(ratios):.2f} floor {FLOOR}")
    return 0


def machine() -> str:
    from unmask.run import machine as facts

    found = facts()
    return f"{found['processor']}, {found['cores']} cores, torch {found['torch']}"


if __name__ == "__main__":
    sys.exit(main())
