# ruff: noqa: E501 (tables of data, a line each)
"""Hostile texts, tables and labelled files; every one is made from a few lines of code, none is kept.

Bombs are written by repeating a packed block, so that making one takes no memory; files of a gigabyte are sparse.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

GIB = 1 << 30
DEEP = "[" * 200_000 + "]" * 200_000
SCRIPT = "<script>alert(1)</script>"


def sparse(file: Path, begin: bytes, size: int, end: bytes = b"") -> Path:
    """A file of `size` zero bytes between two texts; it takes no room on the disk."""
    with file.open("wb") as stream:
        stream.write(begin)
        stream.truncate(len(begin) + size)
        stream.seek(0, os.SEEK_END)
        stream.write(end)
    return file


def gzip_bomb(file: Path, block: bytes, times: int) -> Path:
    """One member that unpacks to `times` blocks; behind a full flush a block packs to the same bytes again."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first, again = (pack.compress(block) + pack.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    assert first == again
    checksum = 0
    for _ in range(times):
        checksum = zlib.crc32(block, checksum)
    with file.open("wb") as stream:
        stream.write(b"\x1f\x8b\x08" + bytes(6) + b"\xff")
        for _ in range(times):
            stream.write(first)
        stream.write(pack.flush() + struct.pack("<II", checksum, len(block) * times & 0xFFFFFFFF))
    return file


def members(file: Path, packed: bytes, times: int) -> Path:
    """The same member, frame or stream again and again."""
    with file.open("wb") as stream:
        for _ in range(times):
            stream.write(packed)
    return file


def greedy_xz(file: Path) -> Path:
    """A few bytes whose header asks for a dictionary of four gigabytes."""
    raw = bytearray(lzma.compress(b"text\n" * 100, format=lzma.FORMAT_XZ))
    header = raw[12 : 12 + 4 * (raw[12] + 1)]  # of the block, behind the stream's
    at = header.index(bytes([0x21, 0x01])) + 2  # LZMA2, one byte of properties
    header[at] = 40
    header[-4:] = struct.pack("<I", zlib.crc32(bytes(header[:-4])))
    raw[12 : 12 + len(header)] = header
    file.write_bytes(bytes(raw))
    return file


def parquet_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Parquet that explodes, lies or is damaged: name → (file, what the error says)."""
    folder.mkdir()
    found = {}

    def add(name: str, table: pa.Table, says: str, **options: object) -> None:
        pq.write_table(table, folder / f"{name}.parquet", **options)
        found[name] = (folder / f"{name}.parquet", says)

    once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int32)), pa.array(["a" * 5_000_000]))
    add(
        "parquet: one text of a dictionary, 200,000 times",
        pa.table({"text": once}),
        "unpacks to more",
        compression="zstd",
    )
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int32)), pa.array(["i" * 5_000_000]))
    texts = pa.DictionaryArray.from_arrays(
        pa.array(np.arange(200_000, dtype=np.int32) % 3), pa.array(["a b", "c d", "e f"])
    )
    add(
        "parquet: ids of five megabytes",
        pa.table({"text": texts, "id": ids}),
        "unpacks to more",
        compression="zstd",
    )
    add("parquet: twenty million nulls", pa.table({"text": pa.nulls(20_000_000, pa.string())}), "rows in")
    add("parquet: a page of 100 MB", pa.table({"text": ["a" * 100_000_000]}), "unpacks to more",
        compression="zstd", use_dictionary=False, write_statistics=False)  # fmt: skip
    delta = pa.table({"text": ["a" * 1_000_000] * 400})
    add("parquet: texts told by their beginnings", delta, "unpacks to more", compression="zstd",
        use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"}, write_statistics=False)  # fmt: skip
    add("parquet: lists of texts", pa.table({"text": [["a"] * 10]}), "expected text")
    add("parquet: numbers", pa.table({"text": [1, 2]}), "expected text")
    good = pa.table({"text": ["a text of a file"] * 1000})
    pq.write_table(good, folder / "good.parquet")
    raw = (folder / "good.parquet").read_bytes()
    middle = len(raw) // 3
    for name, changed in {
        "parquet: cut": raw[: len(raw) // 2],
        "parquet: its first page": raw[:4] + b"\xff" * 16 + raw[20:],
        "parquet: a footer of four gigabytes": raw[:-8] + b"\xff\xff\xff\xff" + raw[-4:],
        "parquet: noise": b"PAR1" + np.random.default_rng(0).bytes(5000) + b"PAR1",
        "parquet: zero bytes within": raw[:middle] + b"\0" * 40 + raw[middle + 40 :],
    }.items():
        (folder / f"{len(found)}.parquet").write_bytes(changed)
        found[name] = (folder / f"{len(found)}.parquet", "cannot be read as Parquet")
    return found


def texts(folder: Path, size: int) -> dict[str, tuple[Path, str, str]]:
    """Sources for `unmask corpus`: name → (file, what the error says, what the ledger counts); both empty: harmless.

    `size` is that of the long lines, in bytes.
    """
    folder.mkdir()
    plain = b"A line of text that anyone could have written.\n"
    block = b"\0" * (1 << 20)
    found: dict[str, tuple[Path, str, str]] = {}

    def add(name: str, file: Path, says: str = "", counted: str = "") -> None:
        found[name] = (file, says, counted)

    def write(name: str, file: str, content: str | bytes, says: str = "", counted: str = "") -> None:
        path = folder / f"{len(found):02d}-{file}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        add(name, path, says, counted)

    bomb = "unpacks to more than"
    add("gzip bomb of zeros", gzip_bomb(folder / "zeros.txt.gz", block, 1024), bomb)
    add("gzip bomb of newlines", gzip_bomb(folder / "lines.txt.gz", b"\n" * (1 << 20), 512), bomb)
    add("gzip bomb of rows", gzip_bomb(folder / "rows.jsonl.gz", b'{"text": "a"}\n' * 75_000, 512), bomb)
    add("gzip bomb of members", members(folder / "members.txt.gz", gzip.compress(block, 9), 512), bomb)
    add("xz bomb", members(folder / "zeros.txt.xz", lzma.compress(block), 512), bomb)
    add("xz that asks for four gigabytes", greedy_xz(folder / "greedy.txt.xz"), "damaged or cut off")
    add("zstd bomb", members(folder / "zeros.txt.zst", zstandard.compress(block, 19), 512), bomb)
    write("gzip in gzip", "twice.txt.gz", gzip.compress(gzip.compress(plain * 100)), "is not UTF-8")
    write("gzip with noise behind it", "noise.txt.gz", gzip.compress(plain) + b"noise", "damaged or cut off")
    write("gzip cut off", "cut.txt.gz", gzip.compress(plain * 1000)[:-9], "damaged or cut off")
    write("bzip2", "a.txt.bz2", bz2.compress(plain), "unknown ending")
    add(
        "a long line of zeros",
        sparse(folder / "zeros.txt", plain * 50, size, b"\n"),
        counted="control character U+0000",
    )
    with (folder / "a.txt").open("wb") as stream:
        stream.write(plain * 50)
        for _ in range(size >> 20):
            stream.write(b"a" * (1 << 20))
    add("a long line of one letter", folder / "a.txt", counted="longer than")
    row = b'{"text": "one"}\n' * 40
    add(
        "a long line of JSON",
        sparse(folder / "line.jsonl", row + b'{"text": "', size, b'"}\n'),
        counted="a line longer",
    )
    add(
        "a long line of a TSV",
        sparse(folder / "line.tsv", b"text\nfine\n", size, b"\n"),
        counted="a line longer",
    )
    add(
        "a long line of a CSV",
        sparse(folder / "line.csv", b"text\nfine\n", size, b"\n"),
        "line 3 is longer than",
    )
    write("JSON nested deep", "deep.jsonl", '{"text": ' + DEEP + "}\n", "nested too deep")
    write(
        "brackets alone",
        "brackets.jsonl",
        '{"text": "a", "more": [' + "[]," * 5_000_000 + "[]]}\n",
        "brackets and commas",
    )
    write("a key twice", "twice.jsonl", '{"text": "a", "text": "b"}\n', "occurs twice")
    write(
        "a number without end",
        "digits.jsonl",
        '{"text": "a", "n": ' + "9" * 1_000_000 + "}\n",
        "thousands of digits",
    )
    write(
        "half a character",
        "half.jsonl",
        '{"text": "a fine text \\ud83d", "id": "\\udc00"}\n' * 30,
        counted="control character U+D83D",
    )
    write(
        "ids of 100,000 characters",
        "ids.jsonl",
        "".join(json.dumps({"text": f"text {n}", "id": "i" * 100_000}) + "\n" for n in range(60)),
    )
    write("not a number", "nan.jsonl", '{"text": NaN}\n', "holds a float")
    write("no object", "list.jsonl", "[1]\n", "is a list")
    write("quote without end", "quote.csv", 'text\nfine\n"' + "a\n" * 200_000, "unexpected end of data")
    write(
        "a million columns",
        "columns.csv",
        ",".join(f"c{n}" for n in range(1_000_000)) + "\n",
        'no column "text"',
    )
    write("rows of other lengths", "ragged.csv", "text,a\nx,1\nx\n", "line 3 has 1 fields")
    write("formula cells", "formula.csv", "text,a\n" + "=cmd|' /C calc'!A0,@x\n+1+1,-2\n" * 10)
    write("zero bytes", "nul.txt", b"a\0b c\0d some text\n" * 50, counted="control character U+0000")
    write(
        "bits of an image",
        "image.txt",
        b"\x89PNG\r\n\x1a\n" + np.random.default_rng(1).bytes(5000),
        "is not UTF-8",
    )
    write("mixed encodings", "mixed.txt", b"caf\xc3\xa9\ncaf\xe9\n", "is not UTF-8: byte 0xe9 at offset 9")
    write("UTF-16", "utf16.txt", "some text\n".encode("utf-16"), "looks like UTF-16")
    write("surrogates in UTF-8", "cesu.txt", "a \ud83d\ude00 b\n", "is not UTF-8")
    write("overlong UTF-8", "overlong.txt", b"a \xc0\xaf b\n", "is not UTF-8")
    write("turned and hidden characters", "bidi.txt", "user \u202e\u2066 txt.exe \u200b\u2069\n" * 30)
    write(
        "a million marks on a letter",
        "marks.txt",
        "e" + "\u0301\u0327" * 500_000 + "\n" + plain.decode() * 20,
        counted="mark after 30",
    )
    write(
        "a Chinese novel in a line",
        "novel.txt",
        "他说我们走。今天天气很好！" * 40_000 + "\n" + "一行。\n" * 20,
    )
    write("quotes that never close", "quotes.txt", "“" * 300_000 + "\n" + plain.decode() * 20)
    write(
        "a word of a million letters",
        "word.txt",
        "".join(map(chr, np.random.default_rng(2).integers(97, 123, 1_000_000).tolist()))
        + "\n"
        + plain.decode() * 20,
    )
    write("a million short lines", "short.txt", "".join(f"{n}\n" for n in range(300_000)))
    write("ligatures that grow", "grow.txt", "\ufdfa " * 100_000 + "\n" + plain.decode() * 20)
    write("only white space", "space.txt", " \n\t\n\u3000\n" * 1000, "holds no text")
    write("script tags", "script.txt", f"{SCRIPT} </title> text\n" * 30)
    return found


def names(folder: Path) -> dict[str, tuple[Path, str, str]]:
    """Folders whose entries lead elsewhere, never end, or have names that do harm."""
    folder.mkdir()
    outside = folder / "outside.txt"
    outside.write_text("a text that nobody named\n" * 30)
    found: dict[str, tuple[Path, str, str]] = {}
    for name, reason in (("link", "symbolic link"), ("pipe", "no regular file"), ("loop", "no regular file")):
        home = folder / name
        home.mkdir()
        (home / "good.txt").write_text("".join(f"a good text of number {n}\n" for n in range(40)))
        found[f"a folder with a {name}"] = (home, "", reason)
    (folder / "link/evil.txt").symlink_to(outside)
    (folder / "link/up").symlink_to(folder)
    os.mkfifo(folder / "pipe/evil.txt")
    (folder / "loop/a.txt").symlink_to(folder / "loop/b.txt")
    (folder / "loop/b.txt").symlink_to(folder / "loop/a.txt")
    home = folder / "named"
    home.mkdir()
    for number, name in enumerate(
        (b"\xff\xfe.txt", b"new\nline.txt", "\u202etxt.exe.txt".encode(), b"..\\..\\x.txt", b"<script>.txt")
    ):
        Path(os.fsdecode(os.fsencode(home) + b"/" + name)).write_text(f"the text of file {number}\n" * 20)
    found["names of no encoding, of two lines, turned around"] = (home, "", "")
    (folder / "all").mkdir()
    (folder / "all/evil.txt").symlink_to(outside)
    found["a folder of links alone"] = (folder / "all", "links that lead out of it", "")
    os.mkfifo(folder / "fifo.txt")
    found["a FIFO"] = (folder / "fifo.txt", "is a FIFO", "")
    found["a device"] = (Path("/dev/zero"), "is a device", "")
    found["a name that is too long"] = (folder / ("x" * 5000), "cannot be looked up", "")
    found["a name that is not there"] = (folder / "goof.txt", "is not there", "")
    return found


def rows(count: int = 12) -> str:
    """A small labelled file of two classes."""
    return "text,label\n" + "".join(f"a film {n},{'yes' if n % 2 else 'no'}\n" for n in range(count))


def labelled(folder: Path) -> dict[str, tuple[str, Path, str]]:
    """Labelled files: name → (task, file, what the error says); nothing said: harmless."""
    folder.mkdir()
    found: dict[str, tuple[str, Path, str]] = {}

    def write(name: str, task: str, file: str, content: str | bytes, says: str = "") -> None:
        path = folder / f"{len(found):02d}-{file}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        found[name] = (task, path, says)

    good = rows()
    bomb = gzip_bomb(folder / "zeros.csv.gz", b"\0" * (1 << 20), 512)
    found["labelled: gzip bomb"] = ("classify", bomb, "unpacks to more than")
    bomb = members(folder / "zeros.csv.xz", lzma.compress(b"\0" * (1 << 20)), 256)
    found["labelled: xz bomb"] = ("classify", bomb, "unpacks to more than")
    found["labelled: a terabyte"] = (
        "classify",
        sparse(folder / "tera.csv", good.encode(), 1 << 40),
        "has more than",
    )
    found["labelled: a device"] = ("classify", Path("/dev/zero"), "is a device")
    os.mkfifo(folder / "pipe.csv")
    found["labelled: a FIFO"] = ("classify", folder / "pipe.csv", "is a FIFO")
    write(
        "labelled: nested deep",
        "classify",
        "deep.jsonl",
        '{"text": ' + DEEP + ', "label": "a"}\n',
        "nested too deep",
    )
    write(
        "labelled: brackets alone",
        "classify",
        "many.jsonl",
        '{"text": "a", "label": "b", "x": [' + "[]," * 5_000_000 + "[]]}\n",
        "brackets and commas",
    )
    write(
        "labelled: a key twice",
        "classify",
        "twice.jsonl",
        '{"text": "a", "label": "x", "label": "y"}\n',
        "occurs twice",
    )
    write(
        "labelled: a label that is no number", "classify", "nan.jsonl", '{"text": "a", "label": NaN}\n', "NaN"
    )
    write(
        "labelled: a number without end",
        "classify",
        "digits.jsonl",
        '{"text": "a", "label": ' + "9" * 100_000 + "}\n",
        "thousands of digits",
    )
    write(
        "labelled: half a character",
        "classify",
        "half.jsonl",
        '{"text": "\\ud83d", "label": "a"}\n',
        "half of a surrogate",
    )
    write("labelled: zero bytes", "classify", "nul.csv", good.replace("film", "fi\0lm"))
    write(
        "labelled: labels that are paths and scripts",
        "classify",
        "evil.csv",
        good.replace(",yes", ",../../x").replace(",no", f",{SCRIPT}"),
    )
    write("labelled: formula cells", "classify", "formula.csv", good.replace("a film", "=cmd|' /C calc'!A0"))
    write("labelled: turned around", "classify", "bidi.csv", good.replace("yes", "\u202eyes"))
    write(
        "labelled: a label of a megabyte",
        "classify",
        "label.csv",
        good + "x," + "y" * 1_000_000 + "\n",
        "a label has 1,000,000",
    )
    write("labelled: infinite labels", "classify", "inf.csv", "text,label\na,1.5\nb,1e400\nc,2.5\n")
    write(
        "labelled: mixed encodings", "classify", "mixed.csv", good.encode() + b"caf\xe9,yes\n", "is not UTF-8"
    )
    write("labelled: a quote without end", "classify", "quote.csv", good + '"a,yes\n' * 3, "line 14")
    write(
        "labelled: a million columns",
        "classify",
        "columns.csv",
        ",".join(f"c{n}" for n in range(1_000_000)) + "\n",
        "columns",
    )
    write("labelled: a text of five megabytes", "classify", "long.csv", good + "film " * 1_000_000 + ",yes\n")
    write("labelled: a word of a megabyte", "classify", "word.csv", good + "f" * 1_000_000 + ",yes\n")
    write(
        "labelled: marks without end",
        "classify",
        "marks.csv",
        good + "e" + "\u0301\u0327" * 200_000 + ",yes\n",
        "line 14: more than 30 marks",
    )
    write(
        "labelled: marks without end, as escapes",
        "classify",
        "marks.jsonl",
        '{"text": "e' + "\\u0301\\u0327" * 200_000 + '", "label": "yes"}\n',
        "line 1: more than 30 marks",
    )
    write(
        "labelled: cells of other numbers", "classify", "ragged.csv", good + "a,b,c\n", "line 14: 3 columns"
    )
    write(
        "tag: a sentence of 3,000 words",
        "tag",
        "long.conll",
        "".join(f"w{n} {'AB'[n % 2]}\n" for n in range(3000)) + "\nw A\nv B\n\n",
    )
    write("tag: a word of a megabyte", "tag", "word.conll", "w" * 1_000_000 + " A\nv B\n\nw A\nv B\n\n")
    write("tag: columns that change", "tag", "ragged.conll", "a O\nb X O\n\n", "3 columns")
    write(
        "tag: numbers that are none",
        "tag",
        "bad.conllu",
        "\t".join(["9" * 5000 + "x", *["_"] * 9]) + "\n\n",
        "word number",
    )
    write(
        "tag: superscript numbers",
        "tag",
        "odd.conllu",
        "".join("\t".join(["²", "w", "_", tag, *["_"] * 6]) + "\n\n" for tag in "AB"),
        "",
    )
    question = {"id": "q", "question": "which film", "answers": [{"text": "old", "answer_start": 4}]}

    def squad(**more: object) -> str:
        return json.dumps(
            {
                "data": [
                    {
                        "title": "t",
                        "paragraphs": [{"context": "the old film is good", "qas": [{**question, **more}]}],
                    }
                ]
            }
        )

    write("answer: nested deep", "answer", "deep.json", DEEP, "nested too deep")
    for name, start in (
        ("beyond", 10**9),
        ("negative", -5),
        ("huge", 10**30),
        ("no number", "4"),
        ("a list", [4]),
        ("a fraction", 4.5),
    ):
        answer = [{"text": "old", "answer_start": start}]
        write(
            f"answer: a place that is {name}",
            "answer",
            f"{name}.json",
            squad(answers=answer),
            "is not at character",
        )
    for name, answers in (
        ("a number", 5),
        ("an object", {"text": "old"}),
        ("a list of lists", [["old"]]),
        ("texts", ["old"]),
    ):
        write(
            f"answer: answers are {name}", "answer", f"as {name}.json", squad(answers=answers), 'question "q"'
        )
    write("answer: questions are numbers", "answer", "number.json", squad(question=5), '"question"')
    write("answer: data is an object", "answer", "object.json", '{"data": {"a": 1}}', 'no list "data"')
    cmrc = [
        {
            "context_text": "a b",
            "context_id": "c",
            "qas": [{"query_id": "q", "query_text": "q", "answers": 7}],
        }
    ]
    write("answer: another layout, answers a number", "answer", "cmrc.json", json.dumps(cmrc), "answers")
    return found
