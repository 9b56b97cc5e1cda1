"""Readers: every format, packed too, and input that must be refused with its place."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UnmaskError
from unmask.tasks.questions import read_questions
from unmask.tasks.read import read_sentences, read_table

WANT = ["text", "label"]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    raw = gzip.compress(raw) if name.endswith(".gz") else lzma.compress(raw) if name.endswith(".xz") else raw
    (folder / name).write_bytes(raw)
    return folder / name


@pytest.mark.parametrize("packed", ["", ".gz", ".xz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", 'text\tlabel\nsay "hi\t1\nno "\t0\n'),
        ("a.csv", 'label,text\n1,"say ""hi"\n0,"no """\n'),
        ("a.jsonl", '{"text": "say \\"hi", "label": 1}\n\n{"text": "no \\"", "label": "0"}\n'),
        ("a.tsv", '\ufefftext\tlabel\r\nsay "hi\t1\r\nno "\t0'),
    ],
)
def test_tables(tmp_path: Path, name: str, content: str, packed: str) -> None:
    rows = read_table(put(tmp_path, name + packed, content), WANT)
    assert [(r.cells["text"], r.cells["label"]) for r in rows] == [('say "hi', "1"), ('no "', "0")]


def test_lines_of_quoted_newlines_and_of_odd_separators(tmp_path: Path) -> None:
    rows = read_table(put(tmp_path, "a.csv", 'text,label\n"two\nlines",1\nx,0\n'), WANT)
    assert [(r.line, r.cells["text"]) for r in rows] == [(2, "two\nlines"), (4, "x")]
    rows = read_table(put(tmp_path, "a.tsv", "text\tlabel\na\u2028b\x0cc\t1\n"), WANT)
    assert rows[0].cells["text"] == "a\u2028b\x0cc"


def test_decimal_points_of_json_numbers_survive(tmp_path: Path) -> None:
    rows = read_table(
        put(tmp_path, "a.jsonl", '{"text": "x", "label": 1.0}\n{"text": "x", "label": 3}\n'), WANT
    )
    assert [r.cells["label"] for r in rows] == ["1.0", "3"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", "", "is empty"),
        ("a.tsv", " \n\n", "is empty"),
        ("a.tsv", "text\tlabel\n", "no rows"),
        (
            "a.tsv",
            "texts\tlabel\nx\t1\n",
            'such as --text or --label. Did you mean "texts"?',
        ),
        ("a.tsv", "text\tlabel\nx\t1\ny\n", "line 3: 1 columns — the header has 2"),
        ("a.tsv", "text\tlabel\nx\t1\t2\n", "line 2: 3 columns"),
        ("a.csv", 'text,label\nx,1\n"open,0\n', "line 3"),
        ("a.csv", "text,text,label\nx,y,1\n", '"text" occurs twice'),
        ("a.jsonl", '{"text": "x", "label": 1}\nnonsense\n', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: list"),
        ("a.jsonl", '{"text": "x", "lable": 1}\n', 'Did you mean "lable"?'),
        ("a.jsonl", '{"text": null, "label": 1}\n', '"text" is null'),
        ("a.tsv", b"text\tlabel\nok\t1\ncaf\xe9\t0\n", "byte 19 is 0xe9 (line 3)"),
        ("a.tsv", b"\xef\xbb\xbftext\tlabel\ncaf\xe9\t0\n", "byte 17 is 0xe9 (line 2)"),
        ("a.parquet", "x", "is not a table"),
    ],
)
def test_bad_tables(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    with pytest.raises(UnmaskError) as error:
        read_table(put(tmp_path, name, content), WANT)
    assert said in str(error.value) and name in str(error.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    put(tmp_path, "train.tsv", "text\tlabel\nx\t1\n")
    with pytest.raises(UnmaskError, match='Did you mean "train.tsv"'):
        read_table(tmp_path / "trian.tsv", WANT)
    (tmp_path / "a.tsv.gz").write_bytes(b"not gzip")
    with pytest.raises(UnmaskError, match="cannot be unpacked"):
        read_table(tmp_path / "a.tsv.gz", WANT)


def test_conll(tmp_path: Path) -> None:
    text = (
        "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\n-DOCSTART- -X- O O\n\n# NN B-NP O\n"
    )
    found = read_sentences(put(tmp_path, "a.conll", text))
    assert [(s.line, s.words, s.tags) for s in found[:1]] == [(3, ("EU", "rejects"), ("B-ORG", "O"))]
    assert found[0].group != found[-1].group and None not in {s.group for s in found}


def test_tabs_keep_spaces_inside_a_word(tmp_path: Path) -> None:
    assert read_sentences(put(tmp_path, "a.txt", "New York\tB\nis\tO\n"))[0].words == ("New York", "is")


def test_words_that_look_like_comments_are_words(tmp_path: Path) -> None:
    rows = ["a\tO", "#a=b\tO", "", "#newdocument\tO", "", "#MeToo\tO", "x=y\tO", "# text = a b", "c\tO"]
    found = read_sentences(put(tmp_path, "a.conll", "\n".join([*rows[:7], "", *rows[7:]]) + "\n"))
    assert [s.words for s in found] == [("a", "#a=b"), ("#newdocument",), ("#MeToo", "x=y"), ("c",)]


def test_a_document_begins_a_sentence_without_a_blank_line(tmp_path: Path) -> None:
    text = "a O\nb O\n-DOCSTART- O\nc O\n"
    found = read_sentences(put(tmp_path, "a.conll", text))
    assert [s.words for s in found] == [("a", "b"), ("c",)]
    assert found[0].group != found[1].group


CONLLU = """# newdoc id = d1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
2.1\tx\tx\tX\t_\t_\t_\t_\t_\t_

# newdoc id = d2
1\tmar\tmar\tNOUN\t_\t_\t0\troot\t_\t_
"""


@pytest.mark.parametrize("name", ["a.conllu", "a.txt", "a.conllu.xz"])
def test_conllu_skips_ranges_and_empty_nodes(tmp_path: Path, name: str) -> None:
    found = read_sentences(put(tmp_path, name, CONLLU))
    assert [(s.words, s.tags, s.group, s.skipped) for s in found] == [
        (("vamos", "nos"), ("VERB", "PRON"), "d1", 2),
        (("mar",), ("NOUN",), "d2", 0),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.conll", "EU B-ORG\nrejects\n", "line 2: 1 columns — the first word has 2"),
        ("a.conll", "EU\nrejects\n", "line 1: one column"),
        ("a.conll", "EU\tB-ORG\n\tO\n", "line 2: an empty word"),
        ("a.conll", "EU\tB-ORG\nx\t \n", "line 2: an empty tag"),
        ("a.conllu", "# text = nothing\n\n" + CONLLU, "line 1: a sentence with no words"),
        ("a.conllu", "1\tmar\tNOUN\n", "line 1: 3 columns"),
        ("a.conllu", "x\tmar\tmar\tNOUN\t_\t_\t0\troot\t_\t_\n", 'line 1: the word number is "x"'),
        ("a.conllu", "1\tmar\tmar\t\t_\t_\t0\troot\t_\t_\n", "line 1: an empty tag"),
        ("a.conllu", "1\t\tmar\tNOUN\t_\t_\t0\troot\t_\t_\n", "line 1: an empty word"),
        ("a.conll", "-DOCSTART- O\n\n", "no sentence"),
    ],
)
def test_bad_sentences(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(UnmaskError) as error:
        read_sentences(put(tmp_path, name, content))
    assert said in str(error.value)


def squad(answer: dict[str, Any] | None, **more: Any) -> str:
    qa = {"id": "q7", "question": "Where?", "answers": [answer] if answer else [], **more}
    passage = "Rome is old. In Rome it rains in May."
    return json.dumps({"data": [{"title": "t", "paragraphs": [{"context": passage, "qas": [qa]}]}]})


def test_questions(tmp_path: Path) -> None:
    found = read_questions(put(tmp_path, "a.json", squad({"text": "Rome", "answer_start": 16})))
    assert (found[0].id, found[0].answers, found[0].group) == ("q7", (("Rome", 16),), "t")
    found = read_questions(
        put(tmp_path, "a.json.gz", squad({"text": "x", "answer_start": 0}, is_impossible=True))
    )
    assert found[0].impossible and found[0].answers == ()


def test_cmrc_layouts_have_no_offsets(tmp_path: Path) -> None:
    own = [
        {
            "context_id": "c",
            "context_text": "他住在北京。",
            "qas": [{"query_id": "q", "query_text": "?", "answers": ["北京", "北京市"]}],
        }
    ]
    found = read_questions(put(tmp_path, "a.json", json.dumps(own)))
    assert found[0].answers == (("北京", 3), ("北京市", None)) and found[0].group == "c"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (squad({"text": "May", "answer_start": 3}), 'question "q7": the answer "May" is not at character 3'),
        (squad({"text": "May", "answer_start": 3}), "it occurs once, at 33: set answer_start to 33"),
        (squad({"text": "Rome", "answer_start": 1}), "it occurs 2 times"),
        (squad({"text": "Paris", "answer_start": 1}), "it is not in the passage"),
        (squad({"text": "", "answer_start": 1}), "empty answer"),
        ("{", "not JSON"),
        ('{"version": 1}', 'no list "data"'),
        ('{"data": []}', "no question"),
        ('{"data": [{"title": "x"}]}', '"paragraphs"'),
    ],
)
def test_bad_questions(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UnmaskError) as error:
        read_questions(put(tmp_path, "a.json", content))
    assert said in str(error.value)


def test_an_id_twice(tmp_path: Path) -> None:
    data = json.loads(squad({"text": "May", "answer_start": 33}))
    data["data"] *= 2
    with pytest.raises(UnmaskError, match='"q7" occurs twice'):
        read_questions(put(tmp_path, "a.json", json.dumps(data)))


def test_a_number_sign_is_a_word_and_a_comment_is_not(tmp_path: Path) -> None:
    text = "# id 17 domain=en\n# newdoc id = d9\n# NN\n1 CD\n"
    found = read_sentences(put(tmp_path, "a.conll", text))
    assert [(s.words, s.group) for s in found] == [(("#", "1"), "d9")]
