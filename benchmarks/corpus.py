"""Text to token shards: `unmask corpus` beside `datasets.map`, the same tokenizer, the same number of processes.

    python -m benchmarks.corpus [--quick] [--data FOLDER] [--processes N] [--repeats N]

The peer is what its users write: `load_dataset("json")`, a batched `map` with the fast tokenizer, a batched `map`
that joins documents into blocks of 128, `save_to_disk`; attention masks are not made. It runs once with worker
processes and once with the tokenizer's own threads, and the faster counts. Our time holds what the peer does not do:
cleaning, exact duplicates of documents and lines, sentence ends, word starts, the ledger and the hashes of the
shards; one row shows ours without looking for duplicates. Every run is a process of its own, timed on both sides from
its start, with all that it imports and the workers it starts, until the folder is written, as whoever runs the script
waits for it; how much faster ours is once both have imported is told beside it. The sides take turns, and medians are
compared. The tokens of both sides are compared, document by document, before anything is timed.

The text is the shipped English one (or the texts of `--data`), as JSON lines; beyond its length it is repeated with
every fourth word changed, so that no line repeats. Memory is the proportional set size of all processes together,
looked at twenty times a second; it must grow by no more than 50 MB from 10 MB of text to 1 GB (left out by `--quick`).
The last line is the case that does worst in relation to its floor.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

FLOOR, AIM = 2.0, 4.0
FLAT = 50e6  # bytes that memory may grow
SIZES = (10_000_000, 100_000_000, 1_000_000_000)
KINDS = ("wordpiece", "bpe")
VOCAB = 8000


# -- the text ----------------------------------------------------------------------------------------------------


def documents(data: Path | None) -> Iterator[str]:
    """The shipped English documents, or those of the text files in a folder."""
    if data is None:
        from unmask.data import english

        yield from (document.text for document in english.documents(0))
        return
    from unmask.corpus.ledger import Ledger
    from unmask.corpus.readers import judge_layout, read_documents
    from unmask.corpus.sources import find_sources

    sources = find_sources([data])
    for document in read_documents(sources, judge_layout(sources, "auto"), "text", Ledger().stage("read")):
        yield document.text


def write_text(file: Path, texts: list[str], size: int) -> float:
    """About `size` bytes as JSON lines; returns the bytes of text. From the second time round words are changed."""
    words = np.array(sorted({word for text in texts[:2000] for word in text.split() if word.isalpha()}))
    written = copy = 0
    with file.open("w", encoding="utf-8") as stream:
        while written < size:
            for number, text in enumerate(texts):
                if copy:
                    text = _changed(text, words, np.random.default_rng((copy, number)))
                stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                written += len(text.encode())
                if written >= size:
                    break
            copy += 1
    return float(written)


def _changed(text: str, words: np.ndarray, draws: np.random.Generator) -> str:
    lines = []
    for line in text.split("\n"):
        own = line.split(" ")
        places = range(int(draws.integers(min(4, len(own)))), len(own), 4)
        for place, word in zip(places, draws.choice(words, len(places)).tolist(), strict=True):
            own[place] = word
        lines.append(" ".join(own))
    return "\n".join(lines)


# -- the sides: each run is a process of its own -------------------------------------------------------------------


def ours(folder: Path, text: Path, processes: int, deduplicate: bool) -> dict[str, Any]:
    """Build a corpus folder."""
    from unmask.store import worker  # noqa: F401  imported before the clock starts
    from unmask.store.build import build

    out = folder / "ours"
    began = time.perf_counter()
    store = build(
        [text], out, tokenizer=folder / "tokenizer", heldout=0.0, deduplicate=deduplicate, processes=processes
    )
    return {"began": began, "ended": time.perf_counter(), "tokens": store.tokens}


def peer(folder: Path, text: Path, processes: int, threads: bool) -> dict[str, Any]:
    """The usual script. `threads`: one process whose tokenizer takes as many threads, in place of the processes."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads else "false"
    os.environ["RAYON_NUM_THREADS"] = str(processes)
    import datasets
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    out, held = folder / "peer", folder / "cache"
    count = None if threads else processes
    began = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer.model_max_length = int(1e30)

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        asked = {"add_special_tokens": False, "return_attention_mask": False, "return_token_type_ids": False}
        return {"input_ids": tokenizer(batch["text"], **asked)["input_ids"]}

    def group(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = list(chain(*batch["input_ids"]))
        whole = len(joined) // 128 * 128
        return {"input_ids": [joined[at : at + 128] for at in range(0, whole, 128)]}

    raw = datasets.load_dataset("json", data_files=str(text), split="train", cache_dir=str(held))
    encoded = raw.map(encode, batched=True, num_proc=count, remove_columns=raw.column_names)
    encoded.map(group, batched=True, num_proc=count).save_to_disk(out)
    ended = time.perf_counter()  # what is counted below is no part of the script
    return {"began": began, "ended": ended, "tokens": int(sum(map(len, encoded["input_ids"])))}


def run(side: str, folder: Path, text: Path, processes: int, *, memory: bool = False) -> dict[str, Any]:
    """One side in a process of its own: seconds, tokens and, if asked, the most memory of it and its children.

    `seconds` are counted from the start of the process, `later` from when it had imported what it needs (Linux: the
    clock of both processes is one).
    """
    command = [sys.executable, "-m", "benchmarks.corpus", "--side", side, "--folder", str(folder)]
    command += ["--text", str(text), "--processes", str(processes)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    for stale in ("ours", "peer", "cache"):
        shutil.rmtree(folder / stale, ignore_errors=True)
    born = time.perf_counter()
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    most = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], sum(map(_bytes_of, _family(started.pid))))

    watcher = threading.Thread(target=watch, daemon=True)
    if memory:
        watcher.start()
    told, _ = started.communicate()
    over.set()
    if started.returncode:
        raise SystemExit(f"{side} ended with {started.returncode}")
    found: dict[str, Any] = json.loads(told.strip().split("\n")[-1])
    times = {"seconds": found["ended"] - born, "later": found["ended"] - found["began"]}
    return {**found, **times, "memory": most[0]}


def _family(process: int) -> list[int]:
    """A process and all its descendants (Linux)."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # it ended meanwhile
            continue
        for child in children:
            found += _family(int(child))
    return found


def _bytes_of(process: int) -> int:
    """Proportional set size: memory that several processes share is counted once, by shares."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().split("\n")
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


# -- the comparison ------------------------------------------------------------------------------------------------


def check_same(folder: Path, text: Path, processes: int) -> int:
    """Compare the tokens of every document of a text on both sides; returns how many were compared."""
    from transformers import AutoTokenizer

    from unmask.store import Store

    run("plain", folder, text, processes)
    store = Store(folder / "ours")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer.model_max_length = int(1e30)
    rows = [json.loads(line)["text"] for line in text.open(encoding="utf-8")]
    theirs = tokenizer(rows, add_special_tokens=False)["input_ids"]
    assert store.documents == len(theirs), f"{store.documents} documents, and {len(theirs)} of the peer"
    for number, row in enumerate(theirs):
        assert store.document(number).tokens.tolist() == row, f"document {number} has other tokens"
    return store.tokens


def compare(
    kind: str, folder: Path, text: Path, size: float, repeats: int, sides: list[str], processes: int
) -> float:
    """Time the sides in turn; prints a line each and returns how many times faster ours is than the best peer."""
    taken: dict[str, list[float]] = {side: [] for side in sides}
    later: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side in sides:
            told = run(side, folder, text, processes)
            taken[side].append(told["seconds"])
            later[side].append(told["later"])
    rates = {side: size / 1e6 / median(seconds) for side, seconds in taken.items()}
    for side, rate in rates.items():
        spread = f"{size / 1e6 / max(taken[side]):.2f} to {size / 1e6 / min(taken[side]):.2f}"
        print(f"{kind:10} {size / 1e6:6.0f} MB  {NAMES[side]:52} {rate:6.2f} MB/s  ({spread})", flush=True)
    least = min(median(seconds) for side, seconds in later.items() if side.startswith("peer"))
    print(f"{kind}: without what is imported first {least / median(later['ours']):.2f} times", flush=True)
    best = max(rate for side, rate in rates.items() if side.startswith("peer"))
    return rates["ours"] / best


NAMES = {
    "ours": "unmask corpus",
    "plain": "unmask corpus without looking for duplicates",
    "peer": "datasets.map, processes",
    "peer-threads": "datasets.map, the tokenizer's threads",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest real case, below 50 seconds")
    parser.add_argument("--data", type=Path, help="a folder of texts in place of the shipped one")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    for hidden in ("--side", "--folder", "--text"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        folder, text = Path(given.folder), Path(given.text)
        if given.side.startswith("peer"):
            told = peer(folder, text, given.processes, given.side == "peer-threads")
        else:
            told = ours(folder, text, given.processes, given.side == "ours")
        print(json.dumps(told))
        return
    with tempfile.TemporaryDirectory(prefix="unmask-benchmark-") as aside:
        measure(Path(aside), given.data, given.processes, given.repeats, quick=given.quick)


def measure(aside: Path, data: Path | None, processes: int, repeats: int, *, quick: bool) -> None:
    """All cases; the last line printed is the worst in relation to its floor."""
    from unmask.tokens.train import train_tokenizer

    texts = [text for text in documents(data) if text.strip()]
    ratios = []
    small = aside / "small.jsonl"
    write_text(small, texts, 1_000_000)
    large = aside / "large.jsonl"
    size = write_text(large, texts, 5_000_000 if quick else SIZES[1])
    for kind in KINDS[:1] if quick else KINDS:
        folder = aside / kind
        train_tokenizer(texts[:1000], kind, VOCAB).save(folder / "tokenizer")
        print(f"{kind}: the same {check_same(folder, small, processes):,} tokens on both sides", flush=True)
        sides = ["ours", "peer"] if quick else ["ours", "plain", "peer", "peer-threads"]
        ratios.append((compare(kind, folder, large, size, 3 if quick else repeats, sides, processes), FLOOR))
        print(f"{kind}: {ratios[-1][0]:.2f} times (floor {FLOOR}, aim {AIM})", flush=True)
    if not quick:
        flat(aside, texts, processes)
    worst, floor = min(ratios, key=lambda pair: pair[0] / pair[1])
    print(f"ratio {worst:.2f} floor {floor:g}")


def grown(folder: Path, texts: list[str], size: int, processes: int) -> dict[str, Any]:
    """Ours on about `size` bytes of text, with the tokenizer of the folder: a line, and what `run` tells."""
    text = folder / "grown.jsonl"
    real = write_text(text, texts, size)
    told = run("ours", folder, text, processes, memory=True)
    rate = real / told["seconds"]
    print(
        f"memory at {real / 1e6:6.0f} MB: {told['memory'] / 1e6:6.0f} MB, {rate / 1e6:.2f} MB/s", flush=True
    )
    return {**told, "bytes": real, "bytes_per_second": rate}


def flat(aside: Path, texts: list[str], processes: int) -> None:
    """The most memory at each size of text, all processes together, and the time it took."""
    found = [grown(aside / KINDS[0], texts, size, processes)["memory"] for size in SIZES]
    growth = max(found) - found[0]
    held = "flat" if growth <= FLAT else "NOT flat"
    print(
        f"memory grows by {growth / 1e6:.0f} MB from the smallest text on: {held} ({FLAT / 1e6:.0f} MB allowed)"
    )


if __name__ == "__main__":
    main()
