# ruff: noqa: E501 (seeds, a line each)
"""Fuzzing guided by coverage, for a stated time: `python tests/hostile/fuzz.py [--seconds 60] [--target NAME]`.

Needs `atheris` (no part of the tests' environment: pip install atheris), and says so where it is missing. Each target
is a reader or a loader; anything but a value or an `UnmaskError` is a crash, whose input libFuzzer leaves in the
working folder. What was found so far is kept as cases of `texts.py`, `folders.py` and the tests beside them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SEEDS = {
    "json": [b'{"a": [1, "\\ud83d\\ude00", null, 1e5]}'],
    "table": [b'text,label\na,x\n"b ""c""",y\n', b'{"text": "a", "label": "x"}\n'],
    "sentences": [b"EU S-ORG\nrejects O\n\n", b"1\ta\t_\tNOUN\t_\t_\t_\t_\t_\t_\n\n"],
    "questions": [b'{"data": [{"title": "t", "paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "w", "answers": [{"text": "b", "answer_start": 2}]}]}]}]}'],
    "weights": [b'\x3b\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}     \0\0\0\0'],
    "parquet": [b"\x15\x04\x15\x20\x15\x20\x4c\x15\x04\x15\x00\x12\x00\x00"],
    "durations": [b"1h30m", b"90s"],
    "source": [b"a text\n\nanother\n"],
}  # fmt: skip


def targets(folder: Path) -> dict[str, Callable[[bytes], object]]:
    """What is called with every input."""
    from unmask.bounded import BadJson, parse_json
    from unmask.corpus.ledger import Ledger
    from unmask.corpus.parquet import _header
    from unmask.corpus.readers import read_documents
    from unmask.errors import UnmaskError
    from unmask.models.weights.header import check_header
    from unmask.settings import seconds
    from unmask.tasks.questions import questions
    from unmask.tasks.read import decode, sentences, table

    file = folder / "input"

    def survives(work: Callable[[], object], *also: type[Exception]) -> object:
        try:
            return work()
        except (UnmaskError, *also):
            return None

    def rows(raw: bytes) -> object:
        kind = "jsonl" if raw[:1] == b"{" else "tsv" if b"\t" in raw[:50] else "csv"
        return survives(lambda: table(decode(raw, "a"), kind, ["text", "label"], "a"))

    def tagged(raw: bytes) -> object:
        kind = "conllu" if raw[:1] in b"#1" else "conll"
        return survives(lambda: sentences(decode(raw, "a"), kind, "a", labelled=True))

    def weights(raw: bytes) -> object:
        file.write_bytes(raw)
        return survives(lambda: check_header(file))

    def source(raw: bytes) -> object:
        suffix = (".txt", ".jsonl", ".csv", ".tsv", ".txt.gz", ".txt.xz", ".parquet")[
            raw[0] % 7 if raw else 0
        ]
        named = folder / f"a{suffix}"
        named.write_bytes(raw[1:])
        stage = Ledger().stage("read")
        if survives(lambda: list(read_documents([str(named)], "blank", "text", stage))) is not None:
            stage.check()
        return None

    return {
        "json": lambda raw: survives(lambda: parse_json(raw.decode("utf-8", "replace")), BadJson),
        "table": rows,
        "sentences": tagged,
        "questions": lambda raw: survives(lambda: questions(decode(raw, "a"), "a")),
        "weights": weights,
        "parquet": lambda raw: survives(lambda: _header(raw), IndexError, RecursionError),
        "durations": lambda raw: survives(lambda: seconds(raw.decode("utf-8", "replace"))),
        "source": source,
    }


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with tempfile.TemporaryDirectory() as folder, atheris.instrument_imports(include=["unmask"]):
        target = targets(Path(folder))[name]
        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        for number, seed in enumerate(SEEDS[name]):
            (seeds / str(number)).write_bytes(seed)
        words = [
            sys.argv[0],
            str(seeds),
            f"-max_total_time={seconds}",
            "-max_len=4096",
            "-rss_limit_mb=2048",
            "-timeout=20",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        atheris.Setup(words, target)
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", choices=list(SEEDS), help="one alone")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    try:
        import atheris  # noqa: F401  # only whether it is there
    except ImportError:
        print(
            "atheris is not installed: pip install atheris (it has wheels for CPython 3.11 to 3.13 on Linux)"
        )
        return 2
    if chosen.here:
        fuzz(chosen.target, chosen.seconds)
        return 0
    found = {}
    for name in [chosen.target] if chosen.target else SEEDS:
        words = [sys.executable, __file__, "--here", "--target", name, "--seconds", str(chosen.seconds)]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        found[name] = {"code": done.returncode, "runs": int(runs[0]) if runs else 0}
        print(
            f"{name}: {found[name]['runs']:,} inputs, {'no crash' if done.returncode == 0 else 'CRASHED'}",
            flush=True,
        )
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-4000:])
    print(json.dumps(found))
    return int(any(entry["code"] for entry in found.values()))


if __name__ == "__main__":
    sys.exit(main())
