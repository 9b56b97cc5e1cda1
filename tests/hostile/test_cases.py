"""Inputs of the hostile corpus that are quick to make, shown to the code that meets them first.

All of them, through every entry point and within bounds of memory and time, are `python -m benchmarks.robustness`.
"""

from __future__ import annotations

import json
from pathlib import Path

import folders
import pytest
import texts
import torch
from safetensors.torch import save

from unmask.corpus.ledger import Ledger
from unmask.corpus.readers import read_documents
from unmask.corpus.sources import find_sources
from unmask.errors import UnmaskError
from unmask.models.weights.header import check_header
from unmask.tokens import load_tokenizer, train_tokenizer

GOOD = save({"a": torch.zeros(3, 4), "b": torch.zeros(5, dtype=torch.float16)})
# What the header does not tell: seen when the tensors are asked for.
LATER = {"other names", "no tensors", "numbers that are none"}


def test_names_of_files(tmp_path: Path) -> None:
    """Links, pipes, loops and odd names: nothing outside the folder is read, and what was left out is counted."""
    for name, (path, says, counted) in texts.names(tmp_path / "names").items():
        ledger = Ledger()
        try:
            sources = find_sources([path], ledger.stage("files", "files"))
            read = list(read_documents(sources, "line", "text", ledger.stage("read")))
        except (UnmaskError, OSError) as error:
            assert says in str(error) and (says or isinstance(error, OSError)), name
            continue
        assert not says and read, name
        ledger.check()
        assert not any("nobody named" in document.text for document in read), name
        for document in read:
            document.id.encode("utf-8")  # names of no encoding are written out
        reasons = [reason for stage in ledger.stages.values() for reason in stage.counts["dropped"]]
        assert not counted or any(reason.startswith(counted) for reason in reasons), name


def test_headers_of_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    for name, raw in folders.weights(GOOD).items():
        file.write_bytes(raw)
        if name in LATER:
            check_header(file)
            continue
        with pytest.raises(UnmaskError, match="safetensors"):
            check_header(file)
    file.write_bytes(GOOD)
    check_header(file)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["the old film is good"] * 9, "wordpiece", 128).save(home)
    return home


@pytest.mark.parametrize("name", list(folders.tokenizers()))
def test_tokenizers(good: Path, tmp_path: Path, name: str) -> None:
    data = folders.tokenizers()[name](json.loads((good / "tokenizer.json").read_text()))
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(UnmaskError, match="tokenizer.json"):
        load_tokenizer(tmp_path)


def test_long_runs_of_sentences_and_marks_take_no_square_of_time() -> None:
    """A megabyte each, which took minutes and hours once."""
    import time

    from unmask.corpus.clean import clean
    from unmask.corpus.sentences import split_sentences

    began = time.process_time()
    text, removed = clean("e" + "\u0301\u0327" * 500_000)
    assert removed == {"mark after 30 others": 999_970} and len(text) <= 31
    for line in ("他走。" * 100_000, "“" * 300_000, "a. " * 100_000):
        assert "".join(split_sentences(line, "zh")) == line
    assert time.process_time() - began < 20


def test_sentences_of_a_long_line_are_those_of_its_parts() -> None:
    from unmask.corpus.sentences import split_sentences

    line = "".join(f"Sentence number {n} is here. " for n in range(3000))
    assert split_sentences(line) == [f"Sentence number {n} is here. " for n in range(3000)]
