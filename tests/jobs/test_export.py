"""Exports: the padded pass is the packed one, the file says what the model says, and what fails a gate is not kept."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from unmask.errors import UnmaskError
from unmask.jobs import export as job
from unmask.jobs.export import compare, export, packed, padded
from unmask.jobs.finetune import finetune
from unmask.jobs.predict import Tuned, evaluate
from unmask.jobs.runtime import said_by
from unmask.jobs.source import open_source
from unmask.jobs.tuned import FineTuning
from unmask.models import sized
from unmask.models.encoder import Encoder
from unmask.models.heads import ClassifyHead, PairHead, SpanHead, TagHead, TokensHead
from unmask.models.padded import Padded
from unmask.models.weights import FAMILIES, save_pretrained
from unmask.tasks import Answer, Classify, Pair, Tag
from unmask.tokens import Tokenizer, train_tokenizer

WORDS = "red blue cat dog runs in house tree big small saw the a good bad Paris London".split()
LABELS = ("no", "maybe", "yes")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([" ".join(WORDS)] * 9, "wordpiece", 90)


class Network(nn.Module):
    def __init__(self, encoder: Encoder, *heads: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)


def save(folder: Path, family: str, kind: str, tokenizer: Tokenizer, plain: bool = False) -> Path:
    """A model whose every part matters."""
    torch.manual_seed(4)
    shape = replace(sized(family, "tiny", tokenizer.vocab.size, 40), width=24, heads=2, inner=40, layers=4)
    if family == "modernbert":
        shape = replace(shape, window=6, head="plain" if plain else "dense")
    encoder = Encoder(shape)
    style = FAMILIES[family].style if kind == "classify" else kind
    made: dict[str, Any] = {
        "tokens": lambda: (TokensHead(encoder),),
        "pretraining": lambda: (TokensHead(encoder), PairHead(shape)),
        "tag": lambda: (TagHead(shape, 3),),
        "span": lambda: (SpanHead(shape),),
        "body": tuple,
    }
    heads = made[kind]() if kind in made else (ClassifyHead(shape, 3, style),)
    network = Network(encoder, *heads).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    name = kind if kind in made else "classify"
    labels = LABELS if name in ("classify", "tag") else None
    save_pretrained(folder, family, network, shape, tokenizer, name, labels)
    return folder


class Direct:
    """What `Session` does, with the padded network itself in place of onnxruntime."""

    def __init__(self, network: Padded) -> None:
        self.network = network

    def outputs(self, examples: list[dict[str, np.ndarray]]) -> list[list[np.ndarray]]:
        lengths = [len(x["ids"]) for x in examples]
        grids = {key: torch.full((len(examples), max(lengths)), 7) for key in ("ids", "mask", "parts")}
        for row, (x, n) in enumerate(zip(examples, lengths, strict=True)):
            grids["ids"][row, :n] = torch.from_numpy(x["ids"])
            second = x.get("parts", x.get("segments", np.zeros(n, np.int64)))
            grids["parts"][row, :n] = torch.from_numpy(second)
            grids["mask"][row], grids["parts"][row, n:] = (torch.arange(max(lengths)) < n).long(), 1
        more = [grids["parts"]] if "token_type_ids" in self.network.inputs else []
        if "asked_positions" in self.network.inputs:
            more.append(torch.tensor([int(x["asked_positions"][0]) for x in examples]))
        with torch.no_grad():
            found = self.network(grids["ids"], grids["mask"], *more)
        flat = zip(found, self.network.outputs, strict=True)
        cut = [out.dim() == 3 or name in ("start_logits", "end_logits") for out, name in flat]
        return [
            [row[:n] if per_token else row for row, n in zip(out.numpy(), lengths, strict=True)]
            for out, per_token in zip(found, cut, strict=True)
        ]


KINDS = [
    "body",
    "tokens",
    "classify",
    "mean",
    "compare",
    "layers_mean",
    "layers_compare",
    "asked",
    "tag",
    "span",
]
CASES = [(family, kind) for family in FAMILIES for kind in KINDS] + [
    ("bert", "pretraining"), ("albert", "pretraining"), ("modernbert", "normed_mean"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_padded_is_packed(family: str, kind: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    source = open_source(save(tmp_path, family, kind, tokenizer))
    network = padded(source)
    found = compare(network, Direct(network), source)  # type: ignore[arg-type]  # in place of a runtime
    assert found["difference"] < 1e-5 and found["lengths"][0] == 40
    if kind != "body":  # a gate that cannot fail is none
        with torch.no_grad():
            network.encoder.layers[-1].down.weight[0, 0] += 0.1
            direct = Direct(padded(source))
        assert compare(network, direct, source)["difference"] > job.NEAR  # type: ignore[arg-type]


def test_what_is_no_number_passes_no_gate(tokenizer: Tokenizer, tmp_path: Path) -> None:
    class Broken(Direct):
        def outputs(self, examples: Any) -> Any:
            return [[np.full_like(row, np.nan) for row in out] for out in super().outputs(examples)]

    source = open_source(save(tmp_path, "bert", "tag", tokenizer))
    network = padded(source)
    assert not compare(network, Broken(network), source)["difference"] <= job.NEAR  # type: ignore[arg-type]


onnx = pytest.mark.skipif(
    any(job.importlib.util.find_spec(name) is None for name in job.MODULES),
    reason="the extra onnx is not installed",
)


@onnx
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("bert", "pretraining"),
        ("modernbert", "tag"),
        ("roberta", "asked"),
        ("albert", "compare"),
        ("modernbert", "layers_compare"),
    ],
)
def test_a_file_says_what_the_model_says(
    family: str, kind: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    import onnxruntime
    from transformers import AutoTokenizer

    source = save(tmp_path / "model", family, kind, tokenizer, plain=True)
    found = export(source, tmp_path / "out")
    assert found["gates"]["logits"]["difference"] < job.NEAR and found["opset"] == 20
    held = {path.name for path in (tmp_path / "out").iterdir()}
    assert held == {
        "model.onnx",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "export.json",
        "README.md",
    }
    assert not list(tmp_path.glob(".*.part"))
    # As a stranger would use it: their tokenizer, padded text, any number of rows and tokens.
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx")
    assert [one.name for one in session.get_inputs()] == found["inputs"]
    texts = ["the cat saw a dog", "a tree", "red house in Paris runs big", "cat"]
    auto = AutoTokenizer.from_pretrained(tmp_path / "out")
    network = padded(open_source(source))
    for some in (texts, texts[:1], texts[1:3]):
        rows = dict(auto(some, padding=True, return_tensors="np"))
        real = rows["attention_mask"].sum(1)
        asked = real - 2
        ids = rows["input_ids"]
        second = np.broadcast_to(np.arange(ids.shape[1]) > 1, ids.shape).astype(np.int64)
        given = {**rows, "token_type_ids": second * rows["attention_mask"], "asked_positions": asked}
        said = session.run(None, {name: given[name].astype(np.int64) for name in found["inputs"]})
        examples = [
            {"ids": row[:n], "segments": s[:n], "parts": s[:n], "asked_positions": np.array([a])}
            for row, n, s, a in zip(ids, real, second, asked, strict=True)
        ]
        ours = packed(network, examples, segments=network.encoder.shape.segments > 1)
        for mine, output in zip(ours, said, strict=True):
            for own, other in zip(mine, output, strict=True):
                np.testing.assert_allclose(
                    other[: len(own)] if own.ndim > 1 else other, own, atol=2e-5, rtol=1e-4
                )


QUICK = FineTuning(steps=25, learning_rate=5e-3, dropout=0.0, workers=1, precision="fp32")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, draw = tmp_path_factory.mktemp("rows"), random.Random(2)

    def text(n: int) -> list[str]:
        return [draw.choice(WORDS[:13]) for _ in range(n)]

    kinds = [draw.choice(["good", "bad"]) for _ in range(120)]
    lines = [" ".join([k, *text(draw.randrange(3, 30))]) for k in kinds]
    put = {
        "classify": ["text\tlabel", *(f"{line}\t{k}" for line, k in zip(lines, kinds, strict=True))],
        "pair": ["text_a\ttext_b\tlabel", *(f"the cat\t{line}\t{k}" for line, k in zip(lines, kinds, strict=True))],
        "tag": [f"{w} {'X' if w in WORDS[13:] else 'O'}" if w else "" for line in lines for w in [*line.split(), ""]],
    }  # fmt: skip
    for name, content in put.items():
        (root / f"{name}.{'conll' if name == 'tag' else 'tsv'}").write_text("\n".join(content) + "\n")
    questions = []
    for n in range(60):
        words = [*text(draw.randrange(4, 50)), "Paris", *text(3)]
        passage = " ".join(words)
        answers = [{"text": "Paris", "answer_start": passage.index("Paris")}]
        qa = {"id": f"q{n}", "question": "the house", "answers": answers}
        questions.append({"title": f"t{n}", "paragraphs": [{"context": passage, "qas": [qa]}]})
    (root / "answer.json").write_text(json.dumps({"data": questions}))
    return root


TASKS = [
    (Classify(), "classify.tsv", "bert"), (Pair(), "pair.tsv", "roberta"), (Tag(), "tag.conll", "modernbert"),
    (Answer(), "answer.json", "bert"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "file", "family"), TASKS, ids=[task.NAME for task, *_ in TASKS])
def test_logits_become_the_predictions_of_the_task(
    task: Any, file: str, family: str, rows: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    body = save(tmp_path / "body", family, "tokens", tokenizer)
    run = finetune(
        task, model=body, train=rows / file, test=rows / file, out=tmp_path / "run", training=QUICK, seeds=1
    )
    tuned = Tuned(run.folder)
    examples = task.read(rows / file)
    direct: Any = Direct(padded(open_source(run.folder)))
    ours, theirs = tuned.say(examples), said_by(direct, tuned, examples)
    labels = tuned.note.labels
    assert task.score(ours, examples, labels) == pytest.approx(task.score(theirs, examples, labels))
    for own, other in zip(ours, theirs, strict=True):
        assert own.keys() == other.keys()
        for key in own.keys() & {"label", "tags", "answer"}:
            assert own[key] == other[key]


@onnx
def test_eight_bits_keep_the_score_or_are_refused(
    rows: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = rows / "classify.tsv"
    body = save(tmp_path / "body", "bert", "tokens", tokenizer)
    run = finetune(
        Classify(), model=body, train=file, test=file, out=tmp_path / "run", training=QUICK, seeds=1
    )
    whole = export(run.folder, tmp_path / "whole")
    assert whole["precision"] == "fp32" and "score" not in whole["gates"]
    graph = (tmp_path / "whole/model.onnx").read_bytes()
    monkeypatch.setattr(job, "write_graph", lambda network, path: path.write_bytes(graph))  # once is enough
    monkeypatch.setattr(job, "POINTS", 100.0)
    found = export(run.folder, tmp_path / "small", int8=True, check=file)
    score, want = found["gates"]["score"], evaluate(run.folder, file)["scores"]["accuracy"]
    assert found["precision"] == "int8" and found["bytes"] < 0.8 * len(graph)
    assert score["fp32"] == pytest.approx(want) and score["rows"] == 120
    assert (
        "in 8 bits" in (tmp_path / "small/README.md").read_text() and (tmp_path / "small/task.json").is_file()
    )
    assert {path.name for path in (tmp_path / "small").glob("model*")} == {"model.onnx"}
    monkeypatch.setattr(job, "POINTS", -101.0)
    with pytest.raises(UnmaskError, match=r"in 8 bits accuracy on .* falls from .*nothing was kept"):
        export(run.folder, tmp_path / "refused", int8=True)
    monkeypatch.setattr(job, "NEAR", -1.0)
    with pytest.raises(UnmaskError, match="differs from the model by"):
        export(run.folder, tmp_path / "refused")
    assert not (tmp_path / "refused").exists() and not list(tmp_path.glob(".*.part"))
    (run.folder / "run.json").write_text(json.dumps({"verb": "finetune", "settings": {"test": "gone.tsv"}}))
    with pytest.raises(UnmaskError, match="--check FILE"):
        export(run.folder, tmp_path / "refused", int8=True)


def test_what_is_refused_beforehand(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unmask.__main__ import main

    body = save(tmp_path / "body", "bert", "tokens", tokenizer)
    if all(job.importlib.util.find_spec(name) is not None for name in job.MODULES):
        with pytest.raises(UnmaskError, match=r"has no task\.json"):
            export(body, tmp_path / "out", int8=True)
        with pytest.raises(UnmaskError, match="empty place"):
            export(body, body)
    monkeypatch.setattr(job, "MODULES", ("onnx_of_nobody",))
    with pytest.raises(UnmaskError, match=r"unmask\[onnx\]"):
        export(body, tmp_path / "out")
    assert main(["export", str(body), "--out", str(tmp_path / "out")]) == 2
    assert main(["export", str(body), "--onnx", "--check", "x", "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
