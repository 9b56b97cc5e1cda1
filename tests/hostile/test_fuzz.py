# ruff: noqa: E501 (samples of formats, a line each)
"""Readers and loaders under generated damage: a value, or an `UnmaskError`; nothing else comes out of them."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mutate import ODD, damaged, scratched
from safetensors.torch import save

from unmask.corpus import Document
from unmask.corpus.ledger import Ledger
from unmask.corpus.readers import read_documents
from unmask.errors import UnmaskError
from unmask.models import sized
from unmask.models.encoder import Encoder
from unmask.models.weights import load_pretrained, save_pretrained
from unmask.models.weights.files import read_tensors
from unmask.recipes import RECIPES
from unmask.report.read import gather
from unmask.settings import from_json, seconds, to_json
from unmask.store import Store
from unmask.store.build import build
from unmask.tasks.questions import questions
from unmask.tasks.read import decode, sentences, table
from unmask.tokens import load_tokenizer, train_tokenizer
from unmask.training import Training

FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
TEXT = "The old film is good. The new one is long.\nA story of 3 birds, “sad”.\n"


def survives(work: Callable[[], Any]) -> Any:
    """What comes of it, or None for an `UnmaskError`."""
    try:
        return work()
    except UnmaskError as error:
        assert str(error)
        return None


def parquet(texts: list[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(len(texts))), "text": texts}), sink, compression="zstd")
    return sink.getvalue()


JSONL = "".join(
    json.dumps({"id": n, "text": line, "x": [1, {"y": None}]}) + "\n"
    for n, line in enumerate(TEXT.split("\n"))
)
SOURCES = {
    "txt": TEXT.encode(), "jsonl": JSONL.encode(), "csv": b'id,text\n1,"a ""b"" c"\n2,d\n', "tsv": b"id\ttext\n1\ta\n2\tb\n",
    "txt.gz": gzip.compress(TEXT.encode() * 9, mtime=0), "txt.xz": lzma.compress(TEXT.encode() * 9),
    "txt.zst": zstandard.compress(TEXT.encode() * 9), "parquet": parquet(TEXT.split("\n") * 9),
}  # fmt: skip


@pytest.mark.parametrize("suffix", list(SOURCES))
def test_sources(tmp_path: Path, suffix: str) -> None:
    """Whatever the bytes are, what was read is accounted for, and an error names the file."""
    file = tmp_path / f"a.{suffix}"

    @FUZZ
    @given(scratched(SOURCES[suffix]) | st.binary(max_size=200), st.sampled_from(["file", "blank", "line"]))
    def run(raw: bytes, layout: str) -> None:
        file.write_bytes(raw)
        stage = Ledger().stage("read")
        try:
            found = list(read_documents([str(file)], layout, "text", stage))
        except UnmaskError as error:
            assert "a." in str(error)
            return
        stage.check()
        assert all(document.text.strip() for document in found)
        assert stage.total("kept") + stage.total("split") <= len(found)

    run()


TABLES = {
    "csv": 'text,label\na,x\n"b ""c""",y\n',
    "tsv": "text\tlabel\na\tx\nb\ty\n",
    "jsonl": '{"text": "a", "label": "x"}\n{"text": "b", "label": 2}\n',
}


@FUZZ
@given(st.sampled_from(list(TABLES)), st.data())
def test_tables(kind: str, data: st.DataObject) -> None:
    raw = data.draw(scratched(TABLES[kind].encode()) | st.binary(max_size=100))
    records = survives(lambda: table(decode(raw, "a"), kind, ["text", "label"], "a"))
    if records is not None:
        assert records and all({"text", "label"} <= record.cells.keys() for record in records)
        assert [record.line for record in records] == sorted({record.line for record in records})


CONLL = "EU S-ORG\nrejects O\n\nPeter B-PER\nBlackburn I-PER\n"
CONLLU = "# newdoc id = a\n# text = a b\n1-2\tab\t_\t_\t_\t_\t_\t_\t_\t_\n1\ta\t_\tNOUN\t_\t_\t_\t_\t_\t_\n2\tb\t_\tVERB\t_\t_\t_\t_\t_\t_\n\n"


@FUZZ
@given(st.sampled_from([("conll", CONLL), ("conllu", CONLLU)]), st.booleans(), st.data())
def test_sentences(form: tuple[str, str], labelled: bool, data: st.DataObject) -> None:
    raw = data.draw(
        scratched(form[1].encode())
        | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    found = survives(lambda: sentences(decode(raw, "a"), form[0], "a", labelled=labelled))
    for sentence in found or ():
        assert len(sentence.words) == len(sentence.tags) > 0 and all(sentence.words)


SQUAD = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "the old film is good", "qas": [
    {"id": "q1", "question": "which", "answers": [{"text": "old", "answer_start": 4}]},
    {"id": "q2", "question": "who", "is_impossible": True, "answers": []},
]}]}]}  # fmt: skip
CMRC = [
    {
        "context_id": "c",
        "context_text": "甲乙丙",
        "qas": [{"query_id": "q", "query_text": "谁", "answers": ["乙"]}],
    }
]


@FUZZ
@given(damaged(SQUAD) | damaged(CMRC), st.booleans())
def test_questions(value: Any, labelled: bool) -> None:
    found = survives(lambda: questions(json.dumps(value), "a", labelled=labelled))
    for question in found or ():
        for text, place in question.answers:
            assert place is None or question.passage.startswith(text, place)


@FUZZ
@given(st.text() | st.from_regex(r"[0-9.]{1,6}[dhms]? ?[0-9]*[dhms]?", fullmatch=True))
@example("9" * 400)
@example("9" * 400 + "d")
@example("0s")
@example("٣s")
def test_durations(text: str) -> None:
    found = survives(lambda: seconds(text))
    assert found is None or (math.isfinite(found) and found > 0)


@FUZZ
@given(st.sampled_from([Training, *RECIPES.values()]), st.data())
def test_settings(kind: Any, data: st.DataObject) -> None:
    value = data.draw(damaged(to_json(kind())) | st.dictionaries(st.sampled_from(list(to_json(kind()))), ODD))
    found = survives(lambda: from_json(kind, value, "a"))
    if found is not None:
        assert survives(lambda: from_json(kind, json.loads(json.dumps(to_json(found))), "a")) == found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of every family, with a tokenizer beside it."""
    home = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer([TEXT] * 9, "wordpiece", 128)
    for family in ("bert", "roberta", "albert", "modernbert"):
        shape = sized(family, "tiny", 128, 32)
        encoder = torch.nn.ModuleDict({"encoder": Encoder(shape)})
        save_pretrained(home / family, family, encoder, shape, tokenizer, heads="body")
    return home


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "characters"])
def test_tokenizers(tmp_path: Path, kind: str) -> None:
    train_tokenizer([TEXT] * 9, kind, 512).save(tmp_path)
    good = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))

    @FUZZ
    @given(damaged(good))
    def run(value: Any) -> None:
        (tmp_path / "tokenizer.json").write_text(json.dumps(value), encoding="utf-8")
        tokenizer = survives(lambda: load_tokenizer(tmp_path))
        if tokenizer is None:
            return
        found = survives(lambda: tokenizer.encode(TEXT))
        if found is not None:
            assert found.ids.size == 0 or int(found.ids.max()) < tokenizer.vocab.size
            assert int(found.offsets.max(initial=0)) <= len(TEXT)

    run()


def test_weights(tmp_path: Path) -> None:
    good = save({"a": torch.zeros(3, 4), "b": torch.zeros(5, dtype=torch.float16)})

    @FUZZ
    @given(scratched(good[:150]).map(lambda raw: raw + good[150:]) | scratched(good) | st.binary(max_size=50))
    def run(raw: bytes) -> None:
        (tmp_path / "model.safetensors").write_bytes(raw)
        found = survives(lambda: read_tensors(tmp_path))
        assert found is None or sum(t.numel() * t.element_size() for t in found.values()) <= len(raw)

    run()


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "modernbert"])
def test_configurations(model: Path, tmp_path: Path, family: str) -> None:
    folder = tmp_path / "m"
    shutil.copytree(model / family, folder)
    good = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    @settings(FUZZ, max_examples=40)
    @given(damaged(good))
    def run(value: Any) -> None:
        (folder / "config.json").write_text(json.dumps(value), encoding="utf-8")
        survives(lambda: load_pretrained(folder).encoder())

    run()


def test_corpora(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    documents = [Document(f"{TEXT} {n}", str(n), "memory") for n in range(30)]
    build(documents=documents, out=folder, vocab_size=128, processes=1)
    good = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    shard = (folder / "train-00000.arrow").read_bytes()

    def read() -> None:
        store = Store(folder)
        for i in range(store.documents):
            store.document(i)
            store.id(i)
        _ = store.lengths.sum(), store.unigram.sum(), store.unigram_entropy, store.fingerprint, store.language

    @FUZZ
    @given(damaged(good))
    def lies(value: Any) -> None:
        (folder / "manifest.json").write_text(json.dumps(value), encoding="utf-8")
        survives(read)

    @FUZZ
    @given(scratched(shard))
    def noise(raw: bytes) -> None:
        good["shards"]["train"][0]["bytes"] = len(raw)
        (folder / "manifest.json").write_text(json.dumps(good), encoding="utf-8")
        (folder / "train-00000.arrow").write_bytes(raw)
        survives(read)

    lies()
    (folder / "manifest.json").write_text(json.dumps(good), encoding="utf-8")
    noise()


ABOUT = {
    "unmask": "0",
    "verb": "pretrain",
    "name": "bert",
    "settings": {"recipe": {"name": "bert"}, "training": {"steps": 5}},
    "machine": {"cores": 2},
    "tokens": 5,
    "seconds": 2.0,
}
LINES = [
    {"step": 1, "loss": 4.0, "seconds": 1.0},
    {"step": 2, "loss": 3.5, "seconds": 2.0, "heldout": {"mlm": 3.0, "accuracy": 0.1}},
]


def test_what_a_report_reads(tmp_path: Path) -> None:
    @FUZZ
    @given(damaged(ABOUT), damaged(LINES), ODD)
    def run(about: Any, lines: Any, evaluation: Any) -> None:
        (tmp_path / "evaluation").mkdir(exist_ok=True)
        (tmp_path / "run.json").write_text(json.dumps(about), encoding="utf-8")
        rows = lines if isinstance(lines, list) else [lines]
        (tmp_path / "metrics.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
        )
        (tmp_path / "evaluation/fills.json").write_text(json.dumps(evaluation), encoding="utf-8")
        (tmp_path / "ledger.json").write_text(json.dumps(evaluation), encoding="utf-8")
        survives(lambda: gather([tmp_path]))

    run()
