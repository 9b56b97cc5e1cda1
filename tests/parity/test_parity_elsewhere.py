"""A run's folder opens in a fresh process that has none of our code, with equal logits: every recipe, every task."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unmask.batch import layout
from unmask.corpus import Document
from unmask.jobs.export import padded
from unmask.jobs.finetune import finetune
from unmask.jobs.pretrain import pretrain
from unmask.jobs.source import open_source
from unmask.jobs.tuned import FineTuning
from unmask.models.heads import ClassifyHead, PairHead, SpanHead
from unmask.recipes import RECIPES
from unmask.store.build import build
from unmask.tasks import Answer, Classify, Pair, Tag
from unmask.training import Training

WORDS = "cat dog house river garden stone tree boat bird road hill lake".split()
TEXTS = [
    "The cat dog house is old.",
    "A bird",
    "The lake road tree hill stone boat is old. The river is old.",
]

ELSEWHERE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "unmask":
            raise ModuleNotFoundError("no unmask here")
sys.meta_path.insert(0, Nothing())
try:
    import unmask
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("unmask can be imported")
import json
import numpy as np, torch, transformers
torch.set_num_threads(1)
for folder, kind, texts, out in json.loads(sys.stdin.read()):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model, told = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"], told
    rows = [text if isinstance(text, str) else tuple(text) for text in texts]
    given = tokenizer(rows, padding=True, return_tensors="pt")
    with torch.no_grad():
        said = model.eval()(**given)
    names = [name for name in said.keys() if name.endswith("logits")]
    np.savez(out, ids=given["input_ids"], mask=given["attention_mask"], **{n: said[n].numpy() for n in names})
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str, list[Any]]]:
    """Folder, class and texts of a run of every recipe and every task."""
    root, draw = tmp_path_factory.mktemp("elsewhere"), random.Random(1)

    def sentence() -> str:
        return f"The {' '.join(draw.choice(WORDS) for _ in range(5))} is old."

    given = [Document("\n".join(sentence() for _ in range(4)), f"{n}", "made") for n in range(30)]
    build(documents=given, out=root / "corpus", vocab_size=100, heldout=0.1, processes=1)
    tiny = Training(steps=3, batch=4, length=64, precision="fp32", learning_rate=0.01)
    found: dict[str, tuple[Path, str, list[Any]]] = {}
    for name, recipe in RECIPES.items():
        run = pretrain(recipe(), root / "corpus", out=root / name, size="tiny", training=tiny)
        config = json.loads((run.folder / "model/config.json").read_text())
        found[name] = (run.folder, config["architectures"][0], TEXTS)
    kinds = [draw.choice(["yes", "no"]) for _ in range(30)]
    put = {
        "classify": ["text\tlabel", *(f"{sentence()}\t{k}" for k in kinds)],
        "pair": ["text_a\ttext_b\tlabel", *(f"{sentence()}\t{sentence()}\t{k}" for k in kinds)],
        "tag": [line for k in kinds for line in [*(f"{w} {k}" for w in sentence().split()), ""]],
    }
    for name, lines in put.items():
        (root / f"{name}.{'conll' if name == 'tag' else 'tsv'}").write_text("\n".join(lines) + "\n")
    asked = []
    for n in range(30):
        context = sentence()
        word = draw.choice(context.split()[1:6])
        qa = {
            "id": f"{n}",
            "question": "The cat",
            "answers": [{"text": word, "answer_start": context.index(word)}],
        }
        asked.append({"title": f"{n}", "paragraphs": [{"context": context, "qas": [qa]}]})
    (root / "answer.json").write_text(json.dumps({"data": asked}))
    quick = FineTuning(steps=3, learning_rate=0.01, workers=1, precision="fp32", length=64)
    pairs = [(text, "The bird is old.") for text in TEXTS]
    tasks: list[tuple[str, Any, str, str, str, list[Any]]] = [
        ("first", Classify(head="first"), "bert", "classify.tsv", "SequenceClassification", TEXTS),
        ("pair", Pair(head="first"), "albert", "pair.tsv", "SequenceClassification", pairs),
        ("tag", Tag(), "modern", "tag.conll", "TokenClassification", TEXTS),
        ("answer", Answer(), "roberta", "answer.json", "QuestionAnswering", pairs),
    ]
    for name, task, body, file, kind, texts in tasks:
        run = finetune(task, model=root / body, train=root / file, out=root / name, training=quick, seeds=1)
        found[name] = (run.folder, f"AutoModelFor{kind}", texts)
    return found


def ours(folder: Path, ids: np.ndarray, mask: np.ndarray, pairs: bool) -> list[np.ndarray]:
    """Our packed outputs for the rows that their tokenizer made."""
    source = open_source(folder)
    network = padded(source)  # the heads that the folder holds
    rows = [torch.from_numpy(row[m > 0]) for row, m in zip(ids, mask, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])
    segments = None
    if source.loaded.shape.segments > 1 and pairs:
        sep = source.tokenizer.vocab.sep
        segments = torch.cat(
            [((row == sep).long().cumsum(0) - (row == sep).long()).clamp(max=1) for row in rows]
        )
    lay = layout(lengths)
    found = []
    with torch.no_grad():
        states = network.encoder(torch.cat(rows), lay, segments)
        for head in network.heads:
            if isinstance(head, PairHead):
                found.append(head(states[lay.starts]).numpy())
            elif isinstance(head, ClassifyHead):
                asked = head.asks(lay)
                found.append(head(states if asked is None else states[asked], lay).numpy())
            elif isinstance(head, SpanHead):
                found += list(head(states).numpy().T)
            else:
                found.append(head(states).numpy())
    return found


def test_every_folder_in_one_fresh_process(
    runs: dict[str, tuple[Path, str, list[Any]]], tmp_path: Path
) -> None:
    work = [
        (str(folder / "model"), kind, texts, str(tmp_path / f"{name}.npz"))
        for name, (folder, kind, texts) in runs.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, (folder, _, texts) in runs.items():
        with np.load(tmp_path / f"{name}.npz") as said:
            mask = said["mask"]
            mine = ours(folder, said["ids"], mask, isinstance(texts[0], tuple))
            names = [key for key in said.files if key.endswith("logits")]
            assert len(names) == len(mine) > 0 and (mask == 0).any(), name
            for key, own in zip(names, mine, strict=True):
                other = said[key] if len(own) == len(texts) else said[key][mask > 0]
                assert float(np.abs(other).max()) > 1e-3, name
                np.testing.assert_allclose(
                    own, other, atol=1e-5 * max(1.0, float(np.abs(other).max())), rtol=0
                )
