"""Which parts of speech BERT, ALBERT and `modern` learn first, in English and in Chinese, over seeds (docs/log.md).

    python -m benchmarks.embryos --data $DATA [--language en] [--seeds 3] [--out runs/embryos]

Small bodies (tiny, 64 tokens a row, some minutes each on one core), a high rate. With the steps given here the recipes
of BERT and ALBERT are still near the frequencies of tokens, where a first guess is always the same few words: so the
surprisal is looked at too, which moves before. All through the ordinary verbs; what is finished is not repeated.
English: encyclopaedia and novels, tags from UD English EWT's test file. Chinese: newspaper, novels and encyclopaedia,
tags from the last twentieth of the newspaper, which the bodies never read; its tags (Peking University's) are turned
into universal ones by the table below. Printed for every class: how much likelier than its frequency a masked word is
in the end, the tokens after which half of its surprisal's fall and half of its gain in accuracy are there (band over
seeds and words), and when words of other classes of the same frequencies were learnt.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.published_sets import NEWS, lines, unmask

RECIPES = ("bert", "albert", "modern")
BODY = ["--size", "tiny", "--batch", "16", "--length", "64", "--learning-rate", "2e-3", "--snapshots", "24"]
ENGLISH = ("corpus/en_wiki.jsonl.xz", "corpus/en_wiki_long.jsonl.xz", "corpus/en_novels.jsonl.xz")
CHINESE = ("corpus/zh_novels.txt.xz", "corpus/zh_wiki.jsonl.xz")
UNIVERSAL = {  # by the first letter of a newspaper tag, and by the whole tag where that says more
    "a": "ADJ", "b": "ADJ", "c": "CCONJ", "d": "ADV", "e": "INTJ", "f": "ADP", "h": "PART", "k": "PART", "m": "NUM",
    "n": "NOUN", "p": "ADP", "q": "NOUN", "r": "PRON", "s": "NOUN", "t": "NOUN", "u": "PART", "v": "VERB", "w": "PUNCT",
    "y": "PART", "z": "ADJ", "ad": "ADV", "an": "NOUN", "vn": "NOUN", "vd": "ADV", "nr": "PROPN", "ns": "PROPN",
    "nt": "PROPN", "nz": "PROPN",
}  # fmt: skip  # all others (idioms, abbreviations, letters) are X, which is not asked


def newspaper(data: Path, out: Path) -> tuple[Path, Path]:
    """Its first nineteen twentieths as text, a paragraph a line, and the last one as CoNLL-U."""
    text, tagged = out / "newspaper.txt", out / "newspaper.conllu"
    paragraphs = [[w.rpartition("/") for w in line.split()] for line in lines(data / NEWS)]
    paragraphs = [words for words in paragraphs if words]
    kept = len(paragraphs) * 19 // 20
    plain = ("".join(word for word, _, _ in words) for words in paragraphs[:kept])
    text.write_text("\n".join(plain) + "\n", encoding="utf-8")
    with tagged.open("w", encoding="utf-8") as file:
        for words in paragraphs[kept:]:
            print(f"# text = {''.join(word for word, _, _ in words)}", file=file)
            for number, (word, _, tag) in enumerate(words, 1):
                upos = UNIVERSAL.get(tag) or UNIVERSAL.get(tag[:1], "X")
                print(number, word, "_", upos, tag, "_", "_", "_", "_", "SpaceAfter=No", sep="\t", file=file)
            print(file=file)
    return text, tagged


def prepare(language: str, data: Path, out: Path) -> Path:
    """Make the corpus; the tagged sentences."""
    kind, texts, tagged = "wordpiece", [data / name for name in ENGLISH], data / "ud/en_ewt_test.conllu.xz"
    if language == "zh":
        news, tagged = newspaper(data, out)
        kind, texts = "characters", [data / name for name in CHINESE] + [news]
    words = ["corpus", *map(str, texts), "--out", str(out / f"corpus-{language}"), "--language", language]
    unmask([*words, "--tokenizer", kind, "--vocab-size", "8192"], os.cpu_count() or 1)
    return tagged


def table(found: dict[str, Any]) -> str:
    """The classes by how far below the surprisal of frequency alone they end, the furthest first."""
    rows = [
        "| class | nats below frequency alone at the end | half of its fall at, M tokens | half of its gain in accuracy"
        " at | accuracy at the end | as control |",
        "|---|---|---|---|---|---|",
    ]
    classes = found["classes"]

    def beyond(name: str) -> list[float]:
        return sorted(run[-1] for run in classes[name]["surprisal"]["beyond"] or [[float("nan")]])

    for name in sorted(classes, key=lambda name: -median(beyond(name))):
        held, end = classes[name]["masked"], beyond(name)
        last = sorted(100 * run[-1] for run in held["accuracy"])
        control = (classes[name].get("matched") or {}).get("others_learnt") or {}
        beside = "–" if control.get("tokens") is None else f"{control['tokens'] / 1e6:.2f}"
        rows.append(
            f"| {name} | {median(end):+.2f} [{end[0]:+.2f}–{end[-1]:+.2f}] "
            f"| {when(classes[name]['surprisal']['learnt'])} | {when(held['learnt'])} | {median(last):.1f} | {beside} |"
        )
    return "\n".join(rows)


def when(learnt: dict[str, Any]) -> str:
    """Millions of tokens, with the band."""
    if learnt["tokens"] is None:
        return "never"
    return "{tokens:.2f} [{low:.2f}–{high:.2f}]".format(
        **{k: (learnt[k] or 0) / 1e6 for k in ("tokens", "low", "high")}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("DATA"), help="the folder of the data sets"
    )
    parser.add_argument("--language", choices=("en", "zh"), help="both if not given")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6000, help="updates of each body")
    parser.add_argument("--words", type=int, default=300, help="of a part of speech")
    parser.add_argument("--out", type=Path, default=Path("runs/embryos"))
    given = parser.parse_args()
    if given.data is None:
        sys.exit("the data sets are not shipped: say where they are with --data FOLDER or DATA=FOLDER")
    given.out.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1
    for language in [given.language] if given.language else ["en", "zh"]:
        tagged = prepare(language, given.data, given.out)
        runs = {r: [str(given.out / f"{language}-{r}-{s}") for s in range(given.seeds)] for r in RECIPES}
        common = [*BODY, "--steps", str(given.steps)]
        jobs = [
            ["pretrain", recipe, str(given.out / f"corpus-{language}"), "--out", run, "--seed", str(seed), *common]
            for recipe in RECIPES
            for seed, run in enumerate(runs[recipe])
        ]  # fmt: skip
        looks = [["embryo", *runs[r], "--conllu", str(tagged), "--words", str(given.words)] for r in RECIPES]
        for some in (jobs, looks):
            with ThreadPoolExecutor(cores) as pool:
                list(pool.map(lambda words: unmask(words, 1), some))
        for recipe in RECIPES:
            found = json.loads((Path(runs[recipe][0]) / "evaluation" / "embryo.json").read_text("utf-8"))
            print(f"\n{recipe}, {language}, {given.seeds} seeds\n\n{table(found)}")


if __name__ == "__main__":
    main()
