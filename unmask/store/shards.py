"""The second pass: gathered text to shards, on all processors, in the order of the text."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unmask.allocator import REST, give_back
from unmask.bounded import load_json
from unmask.corpus.ledger import Ledger, LedgerError
from unmask.errors import UnmaskError
from unmask.store.encode import Piece, read_piece
from unmask.store.gather import Gathered
from unmask.store.read import PARTS
from unmask.store.worker import Workers
from unmask.store.write import Shard, Tokenised, write_bytes, write_json
from unmask.tokens import Tokenizer

_SAMPLE = 100_000  # characters of text that the size of all shards is judged by
_SURELY = 0.8  # of what they are judged to need must be there: a build that fits must not be refused


def write_shards(
    folder: Path,
    gathered: Gathered,
    tokenizer: Tokenizer,
    heldout: NDArray[np.int64],
    workers: Workers,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Write a train and a held-out shard for every gathered file; a finished one is not done again.

    Returns a line each: `train` and `heldout` (lines of the manifest, or None), `unigram` (a file), `ledger`.
    """
    building = folder / "building"
    _check_room(folder, gathered, tokenizer)
    of = f"{gathered.text_sha256} {tokenizer.fingerprint}"  # a stopped build may have been of another text
    finished = [
        _done(folder, building / f"shard-{number:05d}.json", of) for number in range(len(gathered.files))
    ]
    pieces = [
        [Piece(str(building / file["file"]), at, tokenizer.language) for at in file["batches"]]
        for file in gathered.files
    ]
    for done, own in zip(finished, pieces, strict=True):
        for piece in own if done is None else ():
            workers.begin(piece)
    lines: list[dict[str, Any]] = []
    first = 0
    for number, done in enumerate(finished):
        if done is None:
            done = _one(
                folder,
                number,
                (workers.result(piece, tokenizer) for piece in pieces[number]),
                first,
                tokenizer,
                heldout,
                of,
            )
            say(f"wrote shard {number + 1} of {len(gathered.files)}")
        lines.append(done)
        first += gathered.files[number]["documents"]
    return lines


def _check_room(folder: Path, gathered: Gathered, tokenizer: Tokenizer) -> None:
    """Raise `UnmaskError` if the disk is clearly too small for the shards that are not there yet."""
    first = gathered.files[0]
    texts = read_piece(Piece(str(folder / "building" / first["file"]), first["batches"][0], ""))[1]
    sample = "\n".join(islice(texts, _SAMPLE // 1000))[:_SAMPLE]
    share = int(tokenizer.encode_flat(sample.split("\n"))[2].sum()) / len(sample.encode())  # tokens a byte
    width = (2 if tokenizer.vocab.size <= 1 << 16 else 4) + 1 / 8  # and a bit for the word start
    done = sum(file.stat().st_size for file in (*folder.glob("*.arrow"), *folder.glob("building/*.tokens")))
    needed = int(gathered.bytes * share * width * _SURELY) - done
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UnmaskError(
            f"{folder} has {free / 1e9:.2f} GB of room, and the tokens of {gathered.bytes / 1e9:.2f} GB of text need at"
            f" least {needed / 1e9:.2f} GB — make room and run the same command again: it goes on where it was"
        )


def _done(folder: Path, file: Path, of: str) -> dict[str, Any] | None:
    """The line of a shard that a stopped build `of` the same finished; None where it is to be done again."""
    if not file.is_file():
        return None
    number = file.stem.removeprefix("shard-")
    try:
        line: dict[str, Any] = load_json(file, "a line of the manifest", "build the corpus again")
        Ledger.from_json(line["ledger"])
        whole = (
            line["of"] == of
            and line["unigram"] == f"unigram-{number}.npy"
            and (file.parent / line["unigram"]).is_file()
        )
        for part in ("train", "heldout"):
            if shard := line[part]:
                arrow = folder / f"{part}-{number}.arrow"
                whole = whole and shard["file"] == arrow.name and arrow.stat().st_size == shard["bytes"]
                whole = whole and all(shard[unit] >= 0 for unit in ("documents", "tokens", "sentences"))
    except (UnmaskError, LedgerError, OSError, KeyError, TypeError, AttributeError, ValueError):
        return None
    return line if whole else None


def _one(
    folder: Path,
    number: int,
    results: Iterator[Tokenised],
    first: int,
    tokenizer: Tokenizer,
    heldout: NDArray[np.int64],
    of: str,
) -> dict[str, Any]:
    size = tokenizer.vocab.size
    token_type = pa.uint16() if size <= 1 << 16 else pa.uint32()
    ledger = Ledger()
    stage = ledger.stage("tokens")
    unigram = np.zeros(size, np.int64)
    shards = {part: Shard(folder / f"{part}-{number:05d}.arrow", token_type) for part in PARTS}
    for at, result in enumerate(results, 1):
        if at % REST == 0:
            give_back()
        count = len(result.ids)
        held = np.zeros(count, np.bool_)
        begin, end = np.searchsorted(heldout, [first, first + count])  # its numbers rise
        held[heldout[begin:end] - first] = True
        some = result.lengths > 0
        first += count
        stage.take(count)
        for place in np.flatnonzero(~some).tolist():
            stage.add("dropped", "the tokenizer finds no token", result.ids[place])
        for part, chosen in (("train", some & ~held), ("heldout", some & held)):
            stage.add("kept", "for training" if part == "train" else "held out", count=int(chosen.sum()))
            if chosen.any():
                batch = result if chosen.all() else result.only(chosen)
                shards[part].add(batch)
                if part == "train":
                    unigram += np.bincount(batch.tokens, minlength=size)
        stage.check()
    line: dict[str, Any] = {"of": of, "unigram": f"unigram-{number:05d}.npy", "ledger": ledger.to_json()}
    line |= {part: shard.close() for part, shard in shards.items()}
    buffer = io.BytesIO()
    np.save(buffer, unigram)
    write_bytes(folder / "building" / line["unigram"], buffer.getvalue())
    write_json(folder / "building" / f"shard-{number:05d}.json", line)
    return line
