"""Everything a user may have is read, and what cannot be read is named with its place."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from unmask.corpus import readers, streams
from unmask.corpus.ledger import Ledger
from unmask.corpus.readers import judge_layout, read_documents
from unmask.corpus.sources import find_sources
from unmask.errors import UnmaskError

TEXTS = ["first text", "zweiter Text", "第三篇"]


def read(inputs: list[str], layout: str = "auto", column: str = "text") -> list[tuple[str, str]]:
    sources = find_sources(inputs)
    ledger = Ledger()
    documents = read_documents(sources, judge_layout(sources, layout), column, ledger.stage("read"))
    found = [(document.id, document.text) for document in documents]
    ledger.check()
    return found


def write_jsonl(file: Path) -> None:
    file.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(TEXTS)))


def write_csv(file: Path) -> None:
    file.write_text("id,text\n" + "".join(f'{i},"{t}"\n' for i, t in enumerate(TEXTS)), encoding="utf-8")


def write_tsv(file: Path) -> None:
    file.write_text("id\ttext\n" + "".join(f"{i}\t{t}\n" for i, t in enumerate(TEXTS)), encoding="utf-8")


def write_parquet(file: Path) -> None:
    pq.write_table(pa.table({"id": list(range(3)), "text": TEXTS}), file)


@pytest.mark.parametrize(
    ("suffix", "write"),
    [("jsonl", write_jsonl), ("csv", write_csv), ("tsv", write_tsv), ("parquet", write_parquet)],
)
def test_tables(tmp_path: Path, suffix: str, write: Callable[[Path], None]) -> None:
    file = tmp_path / f"data.{suffix}"
    write(file)
    assert read([str(file)]) == [(str(i), text) for i, text in enumerate(TEXTS)]
    with pytest.raises(UnmaskError, match='no column "texts".*id, text.*Did you mean "text"'):
        read([str(file)], column="texts")


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lambda plain: lzma.compress(plain, preset=0),
    "zst": zstandard.compress,
}


@pytest.mark.parametrize("suffix", list(PACK))
def test_bombs(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What unpacks to far more than its size is stopped early; what text is like, and small files, are not."""
    monkeypatch.setattr(streams, "BOMB_BYTES", 100_000)
    file = tmp_path / f"data.txt.{suffix}"
    line = b"a" * 99 + b"\n"
    file.write_bytes(PACK[suffix](line * 999))
    assert len(read([str(file)])) == 999
    file.write_bytes(PACK[suffix](line * 100_000))
    with pytest.raises(UnmaskError, match="unpacks to more than 200 times its size"):
        read([str(file)])
    monkeypatch.setattr(streams, "BOMB_RATIO", 10**6)
    assert sum(1 for _ in streams.read_lines(str(file))) == 100_000
    # One line of 20 MB: no more of it is held than a line may have, and nothing is lost.
    monkeypatch.setattr(streams, "LONGEST_LINE", 100_000)
    file.write_bytes(PACK[suffix](b"a" * 20_000_000))
    tracemalloc.start()
    parts = [(len(part), ends) for part, ends in streams.read_parts(str(file))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert parts == [(100_000, False)] * 200 + [(0, True)]
    assert peak < 3_000_000


@pytest.mark.parametrize("suffix", list(PACK))
def test_compressed_and_damaged(tmp_path: Path, suffix: str) -> None:
    plain = "\n".join(TEXTS * 300).encode()
    pack = PACK[suffix]
    file = tmp_path / f"data.txt.{suffix}"
    file.write_bytes(pack(plain))
    assert [text for _, text in read([str(file)])] == TEXTS * 300
    file.write_bytes(pack(plain) + pack(b"\nanother frame"))
    assert [text for _, text in read([str(file)])] == [*TEXTS * 300, "another frame"]
    file.write_bytes(pack(plain)[:-12])
    with pytest.raises(UnmaskError, match="damaged or cut off"):
        read([str(file)])
    file.write_bytes(b"not compressed at all")
    with pytest.raises(UnmaskError, match="damaged or cut off"):
        read([str(file)])


def test_layouts(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("Title\nline\n\n\nOther\nline two\n")
    assert read([str(file)]) == [("a.txt:1", "Title\nline"), ("a.txt:5", "Other\nline two")]
    assert [text for _, text in read([str(file)], "line")] == ["Title", "line", "Other", "line two"]
    assert read([str(file)], "file") == [("a.txt", "Title\nline\n\n\nOther\nline two")]
    (tmp_path / "b.txt").write_text("alone")
    assert [id_ for id_, _ in read([str(tmp_path)])] == ["a.txt", "b.txt"]
    with pytest.raises(UnmaskError, match='unknown layout "blanc".*Did you mean "blank"'):
        read([str(file)], "blanc")


def test_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.txt").write_text("one")
    (tmp_path / "two.txt").write_text("two")
    (tmp_path / "notes.md").write_text("no")
    assert [text for _, text in read([str(tmp_path)])] == ["one", "two"]
    assert [text for _, text in read([str(tmp_path / "t*.txt")])] == ["two"]
    stage = Ledger().stage("files", "files")
    assert find_sources([str(tmp_path / "*")], stage) == [str(tmp_path / "two.txt")]
    assert (stage.came, stage.total("kept"), stage.total("dropped")) == (3, 1, 2)  # notes.md, and a folder
    assert len(find_sources([str(tmp_path / "**" / "*")])) == 2
    with pytest.raises(UnmaskError, match='unknown ending ".md"'):
        read([str(tmp_path / "notes.md")])
    with pytest.raises(UnmaskError, match='is not there. Did you mean "two.txt"'):
        read([str(tmp_path / "tow.txt")])
    with pytest.raises(UnmaskError, match="no file matches"):
        read([str(tmp_path / "*.csv")])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\n\nb")))
    assert read(["-"]) == [("stdin:1", "a"), ("stdin:3", "b")]


def test_not_utf8_names_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes(b"fine\nalso fine\ncaf\xe9 no\n")
    with pytest.raises(UnmaskError, match=r"latin.txt is not UTF-8: byte 0xe9 at offset 18"):
        read([str(file)])
    file.write_bytes("hello".encode("utf-16"))
    with pytest.raises(UnmaskError, match="looks like UTF-16"):
        read([str(file)])
    file.write_bytes(b"\xef\xbb\xbfhello")
    assert read([str(file)]) == [("latin.txt:1", "hello")]


def test_empty_and_damaged(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("")
    with pytest.raises(UnmaskError, match="is empty"):
        read([str(file)])
    file.write_text('{"text": "fine"}\n{"text": \n')
    with pytest.raises(UnmaskError, match="line 2 is not JSON"):
        read([str(file)])
    file.write_text('{"text": 3}\n')
    with pytest.raises(UnmaskError, match="holds a int"):
        read([str(file)])
    table = tmp_path / "a.csv"
    table.write_text("text,label\nfine,1\nbad\n")
    with pytest.raises(UnmaskError, match="line 3 has 1 fields"):
        read([str(table)])
    (tmp_path / "b.tsv").write_bytes(b"text\tlabel\na\rb\t1\nc\t2\n")
    assert [text for _, text in read([str(tmp_path / "b.tsv")])] == ["a b", "c"]


@pytest.mark.parametrize("layout", ["line", "blank", "file"])
def test_a_long_line_of_text_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    """A line of any length comes in parts, cut between characters, and all of it comes."""
    monkeypatch.setattr(streams, "LONGEST_LINE", 100)
    monkeypatch.setattr(readers, "LONGEST_DOCUMENT", 60)
    text = "é中😀x" * 50
    for end in ("", "\n", "\nnext"):
        (tmp_path / "a.txt").write_text(text + end, encoding="utf-8")
        stage = Ledger().stage("read")
        found = list(read_documents([str(tmp_path / "a.txt")], layout, "text", stage))
        assert "".join(document.text.replace("\n", "") for document in found) == text + end.strip()
        assert max(len(document.text) for document in found) <= 60 + len("\nnext")
        assert len({document.id for document in found}) == len(found)
        assert stage.total("split") == 1
        stage.check()


def test_a_line_whose_first_part_is_blank_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LONGEST_LINE", 100)
    (tmp_path / "a.txt").write_text(" " * 100 + "words behind much space\n")
    stage = Ledger().stage("read")
    found = list(read_documents([str(tmp_path / "a.txt")], "line", "text", stage))
    assert [d.text.strip() for d in found] == ["words behind much space"] and stage.came == 1
    stage.check()


def test_a_long_row_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LONGEST_LINE", 100)
    reason = "a line longer than 100 bytes"
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "%s"}\n{"text": "two"}\n' % ("x" * 500))
    (tmp_path / "b.tsv").write_text("id\ttext\n1\tone\n2\t%s\n3\ttwo\n" % ("x" * 500))
    for name, place in (("a.jsonl", "a.jsonl:2"), ("b.tsv", "b.tsv:3")):
        stage = Ledger().stage("read")
        found = [d.text for d in read_documents([str(tmp_path / name)], "line", "text", stage)]
        assert found == ["one", "two"]
        assert stage.came == 3 and stage.counts["dropped"] == {reason: 1}
        assert stage.samples["dropped"][reason] == [place]
        stage.check()
    (tmp_path / "c.csv").write_text('id,text\n1,"one"\n2,"%s"\n' % ("x" * 500))
    with pytest.raises(UnmaskError, match="line 3 is longer than 100 bytes, .* quotes"):
        read([str(tmp_path / "c.csv")])


def test_a_long_document_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LONGEST_DOCUMENT", 10)
    rows = tmp_path / "b.jsonl"
    rows.write_text(json.dumps({"id": "d", "text": "aaaa\nbbbb\ncccc\ndddddddddddddd"}))
    ledger = Ledger()
    found = list(read_documents([str(rows)], "line", "text", ledger.stage("read")))
    assert "".join(document.text for document in found) == "aaaa\nbbbb\ncccc\ndddddddddddddd"
    assert max(len(document.text) for document in found) <= 10
    assert ledger.stage("read").total("split") == 1


@pytest.mark.parametrize(("layout", "name"), [("file", "a.txt"), ("blank", "a.txt:1")])
def test_a_long_text_file_comes_in_parts_of_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, name: str
) -> None:
    monkeypatch.setattr(readers, "LONGEST_DOCUMENT", 100)
    lines = [f"line {number:03d}" for number in range(40)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (tmp_path / "b.txt").write_text("short")
    ledger = Ledger()
    stage = ledger.stage("read")
    sources = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    found = []
    for document in read_documents(sources, layout, "text", stage):
        ledger.check()  # at any time
        found.append(document)
    assert "\n".join(document.text for document in found) == "\n".join([*lines, "short"])
    assert [document.id for document in found[:-1]] == [name, *(f"{name}#{n}" for n in range(1, 4))]
    assert max(len(document.text) for document in found) <= 100
    assert stage.came == 2
    assert stage.counts["kept"] == {"": 1}
    assert stage.counts["split"] == {"longer than 100 characters": 1}
    assert stage.samples["split"] == {"longer than 100 characters": [name]}


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load(*names: object, **options: object) -> list[dict[str, str]]:
        asked.append((names, options))
        return [{"text": "from the hub"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))
    assert read(["hf://owner/name:part"]) == [("owner/name:0", "from the hub")]
    assert asked == [(("owner/name", "part"), {"split": "train", "streaming": True})]

    def breaks(*names: object, **options: object) -> Iterator[dict[str, str]]:
        yield {"text": "the first"}
        raise TimeoutError("the network is away")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=breaks))
    with pytest.raises(UnmaskError, match="hf://owner/name, row 1: the network is away"):
        read(["hf://owner/name"])
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UnmaskError, match=r"pip install \"unmask\[hub\]\""):
        read(["hf://owner/name"])
