"""What a pre-trained run has read, in tokens, words and seconds: a score means little without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UnmaskError
from unmask.run import Run
from unmask.store import Store

DOCUMENTS = 500  # that words a token are counted on


def seen(run: Path) -> dict[str, Any]:
    """tokens and seconds of the last line of metrics.jsonl, `words` by the share of tokens that begin one.

    The share is of the first documents of the corpus; without the corpus (moved, or another's model) words are None.
    """
    nothing: dict[str, Any] = {"tokens": None, "seconds": None, "words": None}
    if not (run / "run.json").is_file():
        return nothing
    opened = Run.open(run)
    last = next((line for line in reversed(opened.metrics()) if "tokens" in line), None)
    if last is None:
        return nothing
    share = words_a_token(opened)
    words = None if share is None else round(share * last["tokens"])
    return {"tokens": last["tokens"], "seconds": last["seconds"], "words": words}


def words_a_token(run: Run) -> float | None:
    """The share of the corpus's tokens that begin a word; None where the corpus is no longer there."""
    corpus = run.about.get("corpus") or {}
    try:
        store = Store(Path(corpus["path"]))
    except (KeyError, UnmaskError, OSError):
        return None
    if store.fingerprint != corpus.get("fingerprint"):
        return None
    starts = [store.document(n).word_starts for n in range(min(DOCUMENTS, store.documents))]
    return float(np.concatenate(starts).mean()) if starts else None
