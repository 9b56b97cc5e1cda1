"""What a run shows of itself: the held-out loss at fixed blanks, and a few blanks of held-out sentences filled.

The blanks of the held-out rows come from coordinates of their own ("heldout", n), so every look of a run, and of
another run on the same corpus with the same recipe, asks the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from unmask.batch import collate
from unmask.errors import UnmaskError
from unmask.randomness import generator
from unmask.recipes import Recipe
from unmask.rows import Rows
from unmask.store import Store

Apply = Callable[[Recipe, dict[str, torch.Tensor]], dict[str, torch.Tensor]]  # a recipe's loss on the model
ROWS = 64  # held-out rows a look reads, at most
SEED = 20181011  # the day of BERT's preprint: fixed, so that runs of other seeds are asked the same
ASKED = 0.15  # share of blanks at a look, whatever share the recipe trains with


class Heldout:
    """Fixed batches of held-out rows; none where the corpus held nothing out, or too little, which `say` is told."""

    def __init__(
        self, recipe: Recipe, store: Store, length: int, device: torch.device, say: Callable[[str], None]
    ):
        self.recipe = replace(recipe, rate=ASKED) if hasattr(recipe, "rate") else recipe  # type: ignore[type-var]
        self.batches: list[dict[str, torch.Tensor]] = []
        if not store.documents:
            return
        rows = self._rows(store, length, say)
        if rows is None:
            return
        vocab = store.tokenizer.vocab
        examples = [
            self.recipe.example(rows(n), vocab, generator(SEED, "heldout", n))
            for n in range(min(ROWS, len(rows)))
        ]
        for at in range(0, len(examples), 16):
            batch = collate(examples[at : at + 16])
            self.batches.append({k: v if k == "lengths" else v.to(device) for k, v in batch.items()})

    def _rows(self, store: Store, length: int, say: Callable[[str], None]) -> Rows | None:
        """The recipe's rows; without pairs where the held-out part has none and the recipe can; else None."""
        try:
            return self.recipe.rows(store, length, SEED)
        except UnmaskError as error:
            reason = str(error).split(" — ")[0]
        plain = replace(self.recipe, pairs="none") if hasattr(self.recipe, "pairs") else None  # type: ignore[type-var]
        if plain is not None and plain != self.recipe:
            self.recipe = plain
            try:
                rows = plain.rows(store, length, SEED)
            except UnmaskError:
                pass
            else:
                say(f"held-out part: {reason}; its loss is taken without pairs")
                return rows
        say(f"held-out part: {reason}; no held-out loss is taken")
        return None

    def loss(self, apply: Apply) -> dict[str, float]:
        """The mean of each term in nats, and the share of blanks filled right as `accuracy`; {} without rows."""
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        with torch.no_grad():
            for batch in self.batches:
                for name, value in apply(self.recipe, batch).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                for term, array in self.recipe.TERMS.items():
                    counts[term] = counts.get(term, 0) + len(batch[array])
        found = {t: sums[t] / n for t, n in counts.items() if n}
        main = next(iter(self.recipe.TERMS))
        if counts.get(main) and f"{main}_correct" in sums:
            found["accuracy"] = sums[f"{main}_correct"] / counts[main]
        return found


def choose_blanks(store: Store, longest: int, how_many: int = 6) -> list[tuple[np.ndarray, int]]:
    """Held-out sentences of 6 to 40 tokens, each with the position of one single-token word to be asked.

    With the two special tokens around them they are at most `longest`.
    """
    chosen: list[tuple[np.ndarray, int]] = []
    vocab = store.tokenizer.vocab
    rng = generator(SEED, "blanks", 0)
    for d in rng.permutation(store.documents)[:200]:
        document = store.document(int(d))
        if not len(document.sentence_ends):
            continue
        s = int(rng.integers(len(document.sentence_ends)))
        start = int(document.sentence_ends[s - 1]) if s else 0
        end = int(document.sentence_ends[s])
        if not 6 <= end - start <= min(40, longest - 2):
            continue
        ids = np.asarray(document.tokens[start:end], dtype=np.int64)
        opens = np.asarray(document.word_starts[start:end], dtype=bool)
        whole = opens & np.append(opens[1:], True) & ~vocab.special[ids]
        letters = np.array([any(c.isalpha() for c in store.tokenizer.token(int(i))) for i in ids])
        places = np.flatnonzero(whole & letters)
        if len(places):
            chosen.append((ids, int(rng.choice(places))))
        if len(chosen) == how_many:
            break
    return chosen


def filled(
    model: nn.Module, store: Store, blanks: list[tuple[np.ndarray, int]], top: int = 5
) -> list[dict[str, Any]]:
    """For each blank the sentence, the truth and the `top` fills with probabilities."""
    vocab, tokenizer = store.tokenizer.vocab, store.tokenizer
    found = []
    device = next(model.parameters()).device
    special = torch.from_numpy(vocab.special).to(device)
    for ids, place in blanks:
        shown = np.concatenate([[vocab.cls], ids, [vocab.sep]])
        shown[place + 1] = vocab.mask
        with torch.no_grad():
            states = model.encoder(  # type: ignore[operator]
                torch.from_numpy(shown).to(device),
                torch.tensor([len(shown)]),
                keep=torch.tensor([place + 1], device=device),
            )
            p = model.head(states).float().softmax(-1)[0]  # type: ignore[operator]
            p = p[: vocab.size]  # some tables are padded with rows of no token
            best = p.masked_fill(special, -1.0).topk(
                top
            )  # a special token is no guess; its share stays its own
        before, after = tokenizer.decode(ids[:place]), tokenizer.decode(ids[place + 1 :])
        gap = "" if before and ord(before[-1]) > 0x2E80 else " "
        found.append(
            {
                "text": f"{before}{gap}[MASK]{gap}{after}".strip(),
                "truth": tokenizer.decode(ids[place : place + 1]),
                "fills": [
                    {
                        "token": tokenizer.decode([int(i)]).strip() or tokenizer.token(int(i)),
                        "probability": float(v),
                    }
                    for v, i in zip(best.values, best.indices, strict=True)
                ],
            }
        )
    return found
