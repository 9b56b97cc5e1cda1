"""Makes a corpus folder from text: gather, tokenizer, shards, manifest.

The bytes of the folder depend on the text and the settings alone, never on the number of processes: batches are cut
by the text, encoded in any process, and written in their order. A build that was stopped goes on where it was: the
gathered text and every finished shard are kept in `DIR/building` until the manifest, which is written last. With a
tokenizer at hand, text is encoded while more is gathered.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.alone import alone
from unmask.bounded import load_json
from unmask.corpus import Document
from unmask.corpus.clean import clean
from unmask.corpus.exclude import Excluded
from unmask.corpus.ledger import Ledger, LedgerError
from unmask.corpus.readers import TOLD, judge_layout, read_documents
from unmask.corpus.sentences import detect_language
from unmask.corpus.sources import find_sources, identity
from unmask.corpus.streams import inner_suffix
from unmask.errors import UnmaskError, nearest
from unmask.randomness import permutation_slice
from unmask.store.encode import Piece
from unmask.store.gather import Gathered, Rules, gather
from unmask.store.read import FORMAT, PARTS, Store, load_counts, read_manifest, sha256
from unmask.store.shards import write_shards
from unmask.store.worker import Workers
from unmask.store.write import write_bytes, write_json
from unmask.tokens import KINDS, Tokenizer, load_tokenizer
from unmask.tokens.sample import Sample
from unmask.tokens.train import SAMPLE_BYTES, UNIGRAM_BYTES, check_kind, train_on

_ANEW = "delete the folder and build the corpus again"
_LANGUAGE_BYTES = 64_000
_LEAST_FOR_HELDOUT = 20
# How names of files of texts end.
_TEXTS = (".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet", ".gz", ".xz", ".zst")
_MANY = 10_000  # sources from which on they are not listed one by one


def build(
    inputs: Sequence[str | Path] = (),
    out: str | Path = "corpus",
    *,
    documents: Iterable[Document] | None = None,
    tokenizer: str | Path | Tokenizer = "wordpiece",
    vocab_size: int = 8192,
    lowercase: bool = False,
    language: str = "auto",
    layout: str = "auto",
    column: str = "text",
    exclude: Iterable[str | Path] = (),
    deduplicate: bool = True,
    repeated_line_bytes: int = 100,
    heldout: float = 0.01,
    seed: int = 0,
    processes: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Store:
    """Make a corpus folder from files (`inputs`) or from `documents`, and open it.

    `tokenizer` is a kind to train (`wordpiece`, `bpe`, `unigram`, `characters`), a `Tokenizer`, or the path of a
    `tokenizer.json`. `exclude` holds texts (`str`) that must not be in the corpus, and files (`Path`) of such texts.
    `deduplicate` drops exact duplicates of documents, and of lines of at least `repeated_line_bytes`. `heldout` is
    the share of documents that training never sees. `processes` is the number of worker processes (if None, all
    processors, or fewer for a small text). `say` is told what was understood, how far it is, and the ledger.

    A finished folder of the same text and settings is opened at once, a stopped build goes on. Raises `UnmaskError`
    if the folder holds something else, or the text cannot be read.
    """
    tell = say or (lambda message: None)
    folder = Path(out)
    if (documents is None) == (not inputs):
        raise UnmaskError(
            "expected either inputs (files) or documents, and found "
            + ("none" if documents is None else "both")
        )
    if not 0 <= heldout < 1:
        raise UnmaskError(f"heldout is {heldout} — expected a share of the documents in [0, 1)")
    files = Ledger().stage("files", "files")  # of folders: what was left out of them
    sources = find_sources(inputs, files) if documents is None else []
    layout = judge_layout(sources, layout)
    excluded = Excluded(_excluded_texts(exclude, column))
    given = _given_tokenizer(tokenizer, vocab_size)
    settings: dict[str, Any] = {
        "inputs": _identities(sources) if documents is None else "documents",
        "layout": layout, "column": column, "language": language,
        "tokenizer": given.fingerprint if given else str(tokenizer),
        "vocab_size": given.vocab.size if given else vocab_size,
        "lowercase": lowercase and not given,
        "exclude": excluded.digest if len(excluded) else "",
        "deduplicate": deduplicate, "repeated_line_bytes": repeated_line_bytes,
        "heldout": heldout, "seed": seed,
    }  # fmt: skip
    building = folder / "building"
    finished = _finished(folder, settings)
    rereadable = documents is None and all(Path(source).is_file() for source in sources)
    if finished and rereadable:
        return Store(folder)
    new = not folder.exists()
    building.mkdir(parents=True, exist_ok=True)
    state_file = building / "gathered.json"
    with alone(building), ExitStack() as begun, Workers(building, processes) as workers:
        write_json(building / "settings.json", settings)
        begun.callback(_clear, building, state_file, new)
        if state_file.is_file() and rereadable:
            state = _stopped(state_file)
            tell("the text has been gathered before: going on")
        else:
            ledger = Ledger()
            if files.came:
                ledger.stage(files.name, files.unit).merge(files)
            raw = _read(documents, sources, layout, column, ledger, tell)
            rules = Rules(deduplicate, repeated_line_bytes, excluded)
            if given:
                given.save(building / "tokenizer")
                workers.start(0 if finished else processes or 0)
            early = workers if given and not finished else None
            state = _gather(raw, building, rules, ledger, settings, given, early, tell)
            write_json(state_file, state)
        begun.pop_all()
        gathered = Gathered(**state["gathered"])
        if finished:  # the sources could not be compared before they were read
            shutil.rmtree(building)
            if read_manifest(folder)["text_sha256"] != gathered.text_sha256:
                raise UnmaskError(
                    f"{folder} holds a corpus of another text — choose another folder, or delete this one"
                )
            return Store(folder)
        held = load_tokenizer(building / "tokenizer", state["language"])
        chosen = heldout_documents(gathered.documents, heldout, seed)
        lines = write_shards(folder, gathered, held, chosen, workers, tell)
    return _finish(folder, settings, state, gathered, held, lines, tell)


def _clear(building: Path, state_file: Path, new: bool) -> None:
    """Take away what a build left that failed before its text was gathered: nobody can go on with it.

    `new`: the build made the folder.
    """
    if not state_file.exists():
        shutil.rmtree(building, ignore_errors=True)
        if new:
            with suppress(OSError):
                building.parent.rmdir()


def _stopped(file: Path) -> dict[str, Any]:
    """Where a stopped build was. Raises `UnmaskError` for what a build did not write."""
    state = load_json(file, "the state of a stopped build", _ANEW)
    try:
        gathered = Gathered(**state["gathered"])
        Ledger.from_json(state["ledger"])
        right = [
            isinstance(state["language"], str),
            isinstance(gathered.documents, int),
            gathered.documents > 0,
        ]
        for number, each in enumerate(gathered.files):
            right += [each["file"] == f"text-{number:05d}.arrow", each["documents"] > 0]
            right += [min(each["batches"]) >= 0, all(isinstance(at, int) for at in each["batches"])]
            right += [(file.parent / each["file"]).is_file()]
        if not all(right) or sum(each["documents"] for each in gathered.files) != gathered.documents:
            raise ValueError("its counts or files are not those of a build")
    except (KeyError, TypeError, ValueError, AttributeError, LedgerError) as error:
        raise UnmaskError(f"{file} is damaged ({error!r:.200}) — {_ANEW}") from None
    return dict(state)


def heldout_documents(documents: int, share: float, seed: int) -> NDArray[np.int64]:
    """The numbers of the held-out documents, rising: the share, but at least 1 of 20 documents and more."""
    count = round(share * documents)
    if share > 0 and count == 0 and documents >= _LEAST_FOR_HELDOUT:
        count = 1
    return np.sort(permutation_slice(0, count, documents, seed, "held-out documents"))


def _given_tokenizer(tokenizer: str | Path | Tokenizer, vocab_size: int) -> Tokenizer | None:
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if str(tokenizer) in KINDS:
        check_kind(str(tokenizer), vocab_size)
        return None
    if not Path(tokenizer).exists():
        raise UnmaskError(
            f'unknown tokenizer "{tokenizer}" — expected {", ".join(KINDS)}, or the path of a tokenizer.json.'
            f"{nearest(str(tokenizer), KINDS)}"
        )
    return load_tokenizer(Path(tokenizer))


def _identities(sources: list[str]) -> Any:
    """What the sources are; of very many their number, the first and a hash, for settings are read as a whole."""
    found = [identity(source) for source in sources]
    if len(found) <= _MANY:
        return found
    return {"files": len(found), "first": found[0], "digest": _digest([json.dumps(one) for one in found])}


def _excluded_texts(exclude: Iterable[str | Path], column: str) -> Iterator[str]:
    for entry in exclude:
        if isinstance(entry, Path):
            sources = find_sources([entry])
            stage = Ledger().stage("excluded")
            for document in read_documents(sources, "line", column, stage):
                yield clean(document.text)[0]  # as the corpus is
        elif entry.endswith(_TEXTS) and os.path.isfile(entry):  # which takes what is no name at all, too
            raise UnmaskError(
                f'exclude holds "{entry}", a text that names a file — give Path("{entry}") for its texts'
            )
        else:
            yield clean(entry)[0]


def _finished(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether the folder holds this very corpus. Raises `UnmaskError` if it holds another, or something else."""
    known: dict[str, Any] | None = None
    finished = (folder / "manifest.json").is_file()
    if finished:
        known = read_manifest(folder)["settings"]
    elif (folder / "building" / "settings.json").is_file():
        known = load_json(folder / "building" / "settings.json", "the settings of a stopped build", _ANEW)
        known = known if isinstance(known, dict) else {}
    elif folder.exists() and (
        not folder.is_dir() or any(entry.name != "building" for entry in folder.iterdir())
    ):
        raise UnmaskError(f"{folder} is there and is not a corpus — choose another folder")
    if known is not None and known != settings:
        names = [name for name in settings if known.get(name) != settings[name]]
        told = "; ".join(
            f"{name} {_shown(known.get(name))} there, {_shown(settings[name])} now" for name in names
        )
        raise UnmaskError(
            f"{folder} holds a corpus with other settings ({told}) — choose another folder, or delete it"
        )
    return finished


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:120] + "…"


def _read(
    documents: Iterable[Document] | None,
    sources: list[str],
    layout: str,
    column: str,
    ledger: Ledger,
    say: Callable[[str], None],
) -> Iterator[Document]:
    """The raw documents, after telling what was understood, with three samples."""
    if documents is None:
        raw = read_documents(sources, layout, column, ledger.stage("read"))
        formats = sorted({inner_suffix(source) or source for source in sources})
        told = f"{len(sources)} source{'s' * (len(sources) != 1)} ({', '.join(formats)})"
        if any(inner_suffix(source) == ".txt" or source == "-" for source in sources):
            told += f", text: {TOLD[layout]}"
        if any(inner_suffix(source) not in (".txt", "") for source in sources):
            told += f', column "{column}"'
    else:
        raw = iter(documents)
        told = "documents from memory"
    first = list(islice(raw, 3))
    if not first:
        raise UnmaskError("the input holds no document — expected at least one with text")
    say("understood: " + told)
    for document in first:
        text = " ".join(document.text.split())
        say(f"  {document.id}: {text[:100]}{'…' if len(text) > 100 else ''}")
    return chain(first, raw)


def _gather(
    raw: Iterator[Document],
    building: Path,
    rules: Rules,
    ledger: Ledger,
    settings: dict[str, Any],
    given: Tokenizer | None,
    early: Workers | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Gather, find the language, train a tokenizer. `early` encodes meanwhile, if no training has to be waited for."""
    seed, kind = settings["seed"], settings["tokenizer"]
    judged = Sample(_LANGUAGE_BYTES, seed, "language sample")
    lines = Sample(UNIGRAM_BYTES if kind == "unigram" else SAMPLE_BYTES, seed, "tokenizer sample")
    language = guess = "" if settings["language"] == "auto" else settings["language"]

    def begin(file: Path, at: int) -> None:
        nonlocal guess
        if early:
            guess = guess or detect_language(judged.texts())  # of the first batch: it is seldom another later
            early.begin(Piece(str(file), at, guess))

    gathered = gather(raw, building, rules, ledger, [judged] if given else [judged, lines], say, begin)
    if not gathered.documents:
        raise UnmaskError("no document is left after cleaning — " + "; ".join(ledger.lines()))
    if not language:
        language = detect_language(judged.texts())
        say(f"language: {language}")
    if early and language != guess:
        early.forget()
    held = given or train_on(lines.texts(), kind, settings["vocab_size"], settings["lowercase"], language)
    if not given:
        held.save(building / "tokenizer")
        asked = settings["vocab_size"]
        fewer = f" (of {asked:,} asked for: the text gives no more)" if held.vocab.size < asked else ""
        say(f"trained a {kind} tokenizer of {held.vocab.size:,} pieces{fewer} on {lines.bytes / 1e6:,.1f} MB")
    return {"gathered": vars(gathered), "language": language, "ledger": ledger.to_json()}


def _finish(
    folder: Path,
    settings: dict[str, Any],
    state: dict[str, Any],
    gathered: Gathered,
    tokenizer: Tokenizer,
    lines: list[dict[str, Any]],
    say: Callable[[str], None],
) -> Store:
    """Put everything in its place; the manifest last."""
    ledger = Ledger.from_json(state["ledger"])
    unigram = np.zeros(tokenizer.vocab.size, np.int64)
    for line in lines:
        ledger.merge(Ledger.from_json(line["ledger"]))
        unigram += load_counts(folder / "building" / line["unigram"], tokenizer.vocab.size)
    ledger.check()
    shares = unigram[unigram > 0] / max(1, unigram.sum())
    shards = {part: [line[part] for line in lines if line[part]] for part in PARTS}
    if not shards["train"]:
        raise UnmaskError("no token is left for training — " + "; ".join(ledger.lines()))
    tokenizer.save(folder / "tokenizer")
    buffer = io.BytesIO()
    np.save(buffer, unigram)
    write_bytes(folder / "unigram.npy", buffer.getvalue())
    write_json(folder / "ledger.json", ledger.to_json())
    keys = [shard["sha256"] for part in PARTS for shard in shards[part]]
    manifest = {
        "format": FORMAT,
        "fingerprint": _digest([tokenizer.fingerprint, *keys]),
        "language": state["language"],
        "tokenizer": {
            "fingerprint": tokenizer.fingerprint,
            "kind": tokenizer.vocab.kind,
            "size": tokenizer.vocab.size,
        },
        "parts": {
            part: {
                unit: sum(shard[unit] for shard in shards[part])
                for unit in ("documents", "sentences", "tokens")
            }
            for part in PARTS
        },
        "text_bytes": gathered.bytes,
        "text_sha256": gathered.text_sha256,
        "unknown_share": float(unigram[tokenizer.vocab.unk] / max(1, unigram.sum())),
        "unigram_entropy": float(-(shares * np.log(shares)).sum()),
        "unigram": {"file": "unigram.npy", "sha256": sha256(folder / "unigram.npy")},
        "ledger": {"file": "ledger.json", "sha256": sha256(folder / "ledger.json")},
        "shards": shards,
        "settings": settings,
    }
    write_json(folder / "manifest.json", manifest)
    shutil.rmtree(folder / "building")
    for told in ledger.lines():
        say(told)
    return Store(folder)


def _digest(parts: list[str]) -> str:
    import hashlib

    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
