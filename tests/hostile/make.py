# ruff: noqa: E501 (tables of data, a line each)
"""Makes the corpus of hostile files, and says what each is shown to: `python tests/hostile/make.py DIR`.

Deterministic, and nothing of it is kept in the repository. `make` writes the files (most are small; lines of a
gigabyte and files of a terabyte are sparse), `cases` lists every input with every entry point that would meet it; a
folder is damaged when its case is run.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import folders
import texts
from case import PRETRAIN, QUICK, Case

GIB = 1 << 30


def make(home: Path, size: int = GIB) -> None:
    """Write all files under `home`, and an index of them; `size` is that of the longest lines, in bytes."""
    home.mkdir(parents=True, exist_ok=True)
    folders.base(home)
    index = {
        "texts": {
            name: (str(file), *rest) for name, (file, *rest) in texts.texts(home / "texts", size).items()
        },
        "names": {name: (str(file), *rest) for name, (file, *rest) in texts.names(home / "names").items()},
        "parquet": {
            name: (str(file), says) for name, (file, says) in texts.parquet_files(home / "parquet").items()
        },
        "labelled": {
            n: (task, str(file), says) for n, (task, file, says) in texts.labelled(home / "labelled").items()
        },
    }
    (home / "index.json").write_text(json.dumps(index))


def cases(home: Path) -> list[Case]:
    """Every hostile input × every entry point that would meet it."""
    found = [*_texts(home), *_labelled(home), *_models(home), *_corpora(home), *_runs(home)]
    assert len({(case.input, case.entry) for case in found}) == len(found)
    return found


def _texts(home: Path) -> Iterator[Case]:
    index = json.loads((home / "index.json").read_text())
    sources = {
        **index["texts"],
        **index["names"],
        **{n: (file, says, "") for n, (file, says) in index["parquet"].items()},
    }
    for number, (name, (file, says, counted)) in enumerate(sources.items()):
        error = says or None
        small = ("--vocab-size", "512", "--processes", "1")
        out = home / "out" / f"text {number}"
        made = ("corpus", file, "--out", str(out), *small)
        yield Case(
            name,
            "corpus",
            made,
            says=error,
            counted=counted,
            out=None if error is not None else out,
            quick=name
            not in ("gzip bomb of newlines", "gzip bomb of rows"),  # many seconds, within the bound
        )
        if error is not None:
            out = home / "out" / f"exclude {number}"
            words = ("corpus", str(home / "text.txt"), "--exclude", file, "--out", str(out), *small)
            yield Case(name, "corpus --exclude", words, says=says, quick=number % 3 == 0)
        yield Case(
            name,
            "plan's reading",
            call=lambda file=file: _look(file),
            says=error,
            either=True,
            quick=number % 3 == 1 and not name.startswith("gzip bomb"),
        )
    stream = texts.sparse(home / "stream", b"", 300 * 1024 * 1024)
    yield Case(
        "standard input of zeros",
        "corpus",
        ("corpus", "-", "--out", str(home / "out/stdin"), *small),
        given=stream,
        says="no document is left",
        quick=False,
    )
    yield Case(
        "standard input of zeros",
        "predict",
        ("predict", str(home / "tuned")),
        given=stream,
        says="has more than",
    )
    yield Case(
        "standard input of zeros", "fill", ("fill", str(home / "bert")), given=stream, says="has more than"
    )
    yield Case(
        "standard input of noise",
        "predict",
        ("predict", str(home / "tuned")),
        given=home / "tuned/model/model.safetensors",
        says="is not UTF-8",
    )


def _look(file: str) -> None:
    from unmask.corpus.sources import find_sources
    from unmask.machine.sample import measure

    measure(find_sources([file]), seconds=5.0)


def _labelled(home: Path) -> Iterator[Case]:
    from unmask.tasks import TASKS

    index = json.loads((home / "index.json").read_text())["labelled"]
    for number, (name, (task, file, says)) in enumerate(index.items()):
        out = home / "out" / f"rows {number}"
        tune = ("finetune", task, "--model", str(home / "bert"), "--train", file, "--out", str(out), *QUICK)
        yield Case(name, "finetune", tune, says=says or None, quick=bool(says) or number % 3 == 0)
        if says:
            yield Case(
                name,
                "read",
                call=lambda task=task, file=file: _rows(TASKS[task](), file),
                says=says,
                quick=number % 3 == 1,
            )
        if task == "classify":
            evaluated = ("evaluate", str(home / "tuned"), file)
            yield Case(
                name,
                "evaluate",
                evaluated,
                says=says if says and "label" not in says else "",
                either=True,
                quick=number % 3 == 2,
            )
            predicted = ("predict", str(home / "tuned"), file, "--out", str(out) + ".jsonl")
            yield Case(name, "predict", predicted, says="", either=True, quick=number % 5 == 0)


def _rows(task: Any, file: str) -> None:
    examples = task.read(Path(file))
    labels, _ = task.labels(examples)
    task.check(examples, labels)


def _damaged(home: Path, source: str, change: folders.Change, place: Path) -> Callable[[], None]:
    def make() -> None:
        # Several entries meet the same place, each in a process of its own that keeps it until it ends.
        place.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(f"{place}.lock", os.O_CREAT | os.O_WRONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(home / source, place)
        change(place)

    return make


def _models(home: Path) -> Iterator[Case]:
    changes: dict[str, folders.Change] = {}
    raw = (home / "bert/model/model.safetensors").read_bytes()
    for name in folders.weights(raw):
        # made anew in the child: a header of 100 MB need not lie in every process
        changes[f"weights: {name}"] = folders.as_bytes(
            "model.safetensors", lambda raw, name=name: folders.weights(raw)[name]
        )
    changes |= {f"config.json: {how}": change for how, change in folders.broken("config.json")}
    for name, more in folders.configs().items():
        changes[f"config.json: {name}"] = folders.as_json(
            "config.json", lambda data, more=more: {**data, **more}
        )
    changes |= {f"tokenizer.json: {how}": change for how, change in folders.broken("tokenizer.json")}
    for name, change in folders.tokenizers().items():
        changes[f"tokenizer.json: {name}"] = folders.as_json("tokenizer.json", change)
    changes |= {
        f"tokenizer_config.json: {how}": change for how, change in folders.broken("tokenizer_config.json")
    }
    changes |= {
        f"the only weights are {n}": _only(n) for n in ("pytorch_model.bin", "model.ckpt", "weights.pt")
    }
    changes["an index that leads elsewhere"] = _index({"a": "../../x.safetensors"})
    changes["an index of devices"] = _index({"a": "/dev/zero"})
    changes["an index that is a list"] = _index([])
    changes["an index of a missing file"] = _index({"a": "model-00001.safetensors"})
    harmless = ("tokenizer_config.json: an empty object", "tokenizer_config.json: a list", "tokenizer_config.json: a number",
                "tokenizer_config.json: null", "tokenizer_config.json: a folder", "tokenizer.json: a key twice")  # fmt: skip
    for number, (name, change) in enumerate(changes.items()):
        place = home / "out" / f"model {number}"
        either = name in harmless or name.startswith(
            ("tokenizer_config.json", "config.json: max_position", "config.json: layer_norm")
        )
        make = _damaged(home, "bert/model", change, place)
        yield Case(
            name,
            "fill",
            ("fill", str(place), "a [MASK] film"),
            make=make,
            says="",
            either=either,
            quick=number % 2 == 0,
        )
        yield Case(name, "load_pretrained", call=lambda place=place: _load(place), make=make, says="",
                   either=either or name.startswith(("tokenizer.json", "weights: numbers")), quick=number % 2 == 1)  # fmt: skip
        if name.startswith("tokenizer.json"):
            out = home / "out" / f"by tokenizer {number}"
            words = (
                "corpus",
                str(home / "text.txt"),
                "--tokenizer",
                str(place / "tokenizer.json"),
                "--out",
                str(out),
                "--processes",
                "1",
            )
            yield Case(
                name,
                "corpus --tokenizer",
                words,
                make=make,
                says="",
                either=name.endswith("an id below zero"),
                quick=number % 3 == 0,
            )
    notes = {
        f"task.json: {how}": change for how, change in folders.broken("model/task.json")
    } | folders.notes()
    for number, (name, change) in enumerate(notes.items()):
        place = home / "out" / f"tuned {number}"
        make = _damaged(home, "tuned", change, place)
        yield Case(
            name,
            "predict",
            ("predict", str(place), str(home / "rows.csv")),
            make=make,
            says="",
            quick=number % 2 == 0,
        )
        yield Case(
            name,
            "evaluate",
            ("evaluate", str(place), str(home / "rows.csv")),
            make=make,
            says="",
            quick=number % 2 == 1,
        )


def _load(place: Path) -> None:
    from unmask.models.weights import load_pretrained

    load_pretrained(place).encoder()


def _only(name: str) -> folders.Change:
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")

    return damage


def _index(placed: object) -> folders.Change:
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))

    return damage


def _corpora(home: Path) -> Iterator[Case]:
    for number, (name, change) in enumerate(folders.corpora().items()):
        place = home / "out" / f"corpus {number}"
        make = _damaged(home, "corpus", change, place)
        out = str(place) + " run"
        unseen = ("unigram", "tokenizer: missing")
        words = ("pretrain", "bert", str(place), "--out", out, *PRETRAIN)
        yield Case(
            name, "pretrain", words, make=make, says="", either=name.startswith(unseen), quick=number % 2 == 0
        )
        yield Case(
            name, "Store", call=lambda place=place: _store(place), make=make, says="", quick=number % 2 == 1
        )
    for number, (name, change) in enumerate(folders.stopped().items()):
        place = home / "out" / f"stopped {number}"

        def make(place: Path = place, change: folders.Change = change) -> None:
            _stop(home, place)
            change(place)

        words = _building(home, place)
        yield Case(name, "corpus, going on", words, make=make, says="", either=True, quick=number % 3 == 0,
                   check=lambda place=place: "" if not (place / "mine").exists() else "another file was written")  # fmt: skip


def _building(home: Path, place: Path) -> tuple[str, ...]:
    """The command of a build that may be stopped, and go on."""
    options = ("--vocab-size", "300", "--no-deduplicate", "--processes", "1")
    return ("corpus", str(home / "text.txt"), "--out", str(place), *options)


def _stop(home: Path, place: Path) -> None:
    """A build that was stopped before its manifest."""
    from unmask.__main__ import main
    from unmask.store import build

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    kept, build._finish = build._finish, stop  # type: ignore[assignment]  # put back below
    main(_building(home, place))
    build._finish = kept


def _store(place: Path) -> None:
    from unmask.store import Store

    for part in ("train", "heldout"):
        store = Store(place, part)
        for i in range(store.documents):
            store.document(i)
            store.id(i)
        _ = store.lengths.sum(), store.unigram.sum(), store.unigram_entropy / 2, store.tokenizer
    Store(place).verify()


def _runs(home: Path) -> Iterator[Case]:
    for number, (name, change) in enumerate(folders.runs().items()):
        place = home / "out" / f"run {number}"
        page = home / "out" / f"page {number}.html"  # looked at when another entry may have the place
        make = _damaged(home, "bert", change, place)
        yield Case(name, "report", ("report", str(place), "--out", str(page)), make=make, says="", either=True, quick=number % 6 == 0,
                   check=lambda page=page: _page(page))  # fmt: skip
        if name.startswith(("run.json", "metrics")):
            words = ("pretrain", "bert", str(home / "corpus"), "--out", str(place), *PRETRAIN)
            yield Case(
                name, "pretrain, going on", words, make=make, says="", either=True, quick=number % 12 == 1
            )
            like = (
                "pretrain",
                "bert",
                str(home / "corpus"),
                "--out",
                str(place) + " like",
                "--like",
                str(place),
            )
            yield Case(name, "pretrain --like", like, make=make, says="", either=True, quick=number % 12 == 2)


def _page(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return "a script of a stranger is on the page" if "<script>alert" in text or "\u202e" in text else ""


if __name__ == "__main__":
    make(Path(sys.argv[1]))
    print(f"{len(cases(Path(sys.argv[1])))} cases; their files lie in {sys.argv[1]}")
