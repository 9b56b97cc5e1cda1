"""Ten minutes of pre-training on published text, then published tasks, each beside from scratch (docs/log.md).

    python -m benchmarks.published_sets --data $DATA --language zh --out runs/published-zh

Everything goes through the ordinary verbs; this file only says which, makes plain text of the tagged newspaper, and
puts the scores in a table. Every verb's folder can be gone on with, so the same command again repeats nothing that is
finished. Two fine-tunings run beside each other on two cores, a thread each. Test texts are kept out of the
pre-training text (`--exclude`; the corpus ledger counts them). `--quick` takes two minutes off each number that
costs time: 20 steps of pre-training, 10 of each task, one seed.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import lzma
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MINUTES = "10m"
STARTS = ("scratch", "pretrained")


@dataclass(frozen=True)
class Set:
    """A published task: its verb, files, columns, steps, and the rate of each start (from docs/log.md's pilots)."""

    name: str
    verb: str
    files: tuple[str, str | None, str]  # train, dev, test
    options: tuple[str, ...]
    steps: int
    scratch: float
    pretrained: float


TEXTS = {
    "zh": ("corpus/zh_laws.jsonl.xz", "corpus/zh_novels.txt.xz", "corpus/zh_wiki.jsonl.xz"),
    "en": ("corpus/en_wiki.jsonl.xz", "corpus/en_novels.jsonl.xz"),
}
NEWS = "pos/peopledaily_199801.txt.xz"
DRCD = ("qa/drcd_dev.json.xz", None, "qa/drcd_test.json.xz")
REVIEWS = (
    "classification/chnsenticorp_train.tsv.xz",
    "classification/chnsenticorp_dev.tsv.xz",
    "classification/chnsenticorp_test.tsv.xz",
)
NER = ("ner/peopledaily_ner_train.txt.xz", None, "ner/peopledaily_ner_dev.txt.xz")
SST = ("glue/SST-2/train.tsv.xz", "glue/SST-2/dev.tsv.xz", "glue/SST-2/test_labeled.tsv.xz")
EWT = ("ud/en_ewt_train.conllu.xz", "ud/en_ewt_dev.conllu.xz", "ud/en_ewt_test.conllu.xz")
SNLI = ("nli/snli_small_train.tsv.xz", "nli/snli_small_dev.tsv.xz", "nli/snli_small_test.tsv.xz")
SENTENCES = ("--text-a", "sentence1", "--text-b", "sentence2", "--label", "gold_label")
SETS = {
    "zh": (
        Set("DRCD", "answer", DRCD, ("--length", "256"), 100, 1e-3, 2e-3),
        Set("ChnSentiCorp", "classify", REVIEWS, ("--text", "text_a", "--length", "256"), 200, 1e-3, 1e-3),
        Set("NER", "tag", NER, (), 200, 4e-3, 2e-3),
    ),
    "en": (
        Set("SST-2", "classify", SST, ("--text", "sentence"), 300, 1e-3, 1e-3),
        Set("EWT", "tag", EWT, (), 200, 2e-3, 2e-3),
        Set("SNLI small", "pair", SNLI, SENTENCES, 200, 1e-3, 1e-3),
    ),
}


def lines(path: Path) -> Iterator[str]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\n")


def newspaper(data: Path, out: Path) -> Path:
    """The tagged newspaper as plain text, a paragraph a line: tags and the spaces between words removed."""
    path = out / "people_daily.txt"
    text = ("".join(w.rpartition("/")[0] for w in line.split()) for line in lines(data / NEWS))
    path.write_text("\n".join(t for t in text if t) + "\n", encoding="utf-8")
    return path


def held_texts(data: Path, sets: tuple[Set, ...], out: Path) -> Path:
    """Every text of a dev or test file, one a line."""
    texts: dict[str, None] = {}
    for chosen in sets:
        for name in filter(None, chosen.files[1:]):
            path = data / name
            if chosen.verb == "answer":
                content = json.loads("\n".join(lines(path)))
                for paragraph in (p for article in content["data"] for p in article["paragraphs"]):
                    texts[paragraph["context"]] = None
                    texts.update((q["question"], None) for q in paragraph["qas"])
            elif chosen.verb == "tag" and ".conllu" in name:
                texts.update((line[9:], None) for line in lines(path) if line.startswith("# text = "))
            elif chosen.verb == "tag":
                words: list[str] = []
                for line in [*lines(path), ""]:
                    if line.strip():
                        words.append(line.split()[0])
                    elif words:
                        texts["".join(words)] = None
                        words = []
            else:
                columns = [
                    v
                    for k, v in zip(chosen.options[::2], chosen.options[1::2], strict=True)
                    if k.startswith("--text")
                ]
                rows = csv.DictReader(
                    io.StringIO("\n".join(lines(path))), delimiter="\t", quoting=csv.QUOTE_NONE
                )
                texts.update((row[c], None) for row in rows for c in columns)
    path = out / "held.txt"
    path.write_text("\n".join(re.sub(r"\s+", " ", t) for t in texts if t) + "\n", encoding="utf-8")
    return path


def unmask(words: list[str], threads: int) -> None:
    """One verb, its words printed first."""
    print("unmask " + " ".join(words), file=sys.stderr, flush=True)
    began = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-m", "unmask", *words], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"unmask {words[0]} failed:\n{done.stderr[-3000:]}")
    print(f"   {words[0]}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def score(folder: Path) -> tuple[str, dict[str, float]]:
    found = json.loads((folder / "evaluation" / "finetune.json").read_text(encoding="utf-8"))
    return found["metric"], {
        **found["scores"]["test"][found["metric"]],
        "majority": found["majority"].get(found["metric"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("DATA"), help="the folder of the data sets"
    )
    parser.add_argument("--language", choices=("zh", "en"), default="zh")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=("pretrain", "tasks"))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.data is None:
        sys.exit("the data sets are not shipped: say where they are with --data FOLDER or DATA=FOLDER")
    data, language = Path(given.data), given.language
    out = given.out or Path("runs") / f"published-{language}"
    out.mkdir(parents=True, exist_ok=True)
    sets, cores = SETS[language], os.cpu_count() or 1
    if given.only != "tasks":
        texts = [str(data / t) for t in TEXTS[language]] + (
            [str(newspaper(data, out))] if language == "zh" else []
        )
        kind = "characters" if language == "zh" else "wordpiece"
        held = held_texts(data, sets, out)
        corpus = ["corpus", *texts, "--out", str(out / "corpus"), "--tokenizer", kind, "--vocab-size", "8192"]
        unmask([*corpus, "--language", language, "--exclude", str(held)], cores)
        length = ["--steps", "20"] if given.quick else ["--budget", MINUTES]
        unmask(
            [
                "pretrain",
                "modern",
                str(out / "corpus"),
                "--out",
                str(out / "body"),
                "--size",
                "mini",
                *length,
            ],
            cores,
        )
    if given.only == "pretrain":
        return
    jobs = []
    for chosen in sets:
        train, dev, test = chosen.files
        for start in STARTS:
            words = [
                "finetune",
                chosen.verb,
                "--model",
                str(out / "body"),
                "--train",
                str(data / train),
            ]
            words += ["--dev", str(data / dev)] if dev else []
            steps = 10 if given.quick else chosen.steps
            words += [
                "--test",
                str(data / test),
                "--out",
                str(out / chosen.name.replace(" ", "-") / start),
                *chosen.options,
            ]
            words += [
                "--steps",
                str(steps),
                "--evaluate-every",
                str(-(-steps // 2)),
                "--seeds",
                "1" if given.quick else "3",
            ]
            words += ["--learning-rate", str(getattr(chosen, start)), "--workers", "1"]
            jobs.append(words + (["--from-scratch"] if start == "scratch" else []))
    with ThreadPoolExecutor(max(1, min(cores, 2))) as pool:
        list(pool.map(lambda words: unmask(words, max(1, cores // 2)), jobs))
    print("| task | metric | majority | from scratch | pre-trained |\n|---|---|---|---|---|")
    for chosen in sets:
        cells = []
        for start in STARTS:
            metric, found = score(out / chosen.name.replace(" ", "-") / start)
            cells.append(f"{found['median']:.1f} [{found['low']:.1f}–{found['high']:.1f}]")
        majority = "–" if found["majority"] is None else f"{found['majority']:.1f}"
        print(f"| {chosen.name} | {metric} | {majority} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
