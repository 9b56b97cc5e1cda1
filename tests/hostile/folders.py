# ruff: noqa: E501 (tables of data, a line each)
"""Hostile model, corpus and run folders: good ones of two updates, each damaged in one way."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unmask.__main__ import main

SCRIPT = "<script>alert(1)</script>"
Change = Callable[[Path], None]


def base(home: Path) -> None:
    """A corpus, a pre-trained run and a classifier, all tiny: `corpus`, `bert`, `tuned`, and `rows.csv`."""
    from case import PRETRAIN, QUICK
    from texts import rows

    lines = [
        f"The {a} film is {b}. A story of the {a} {b} plot.\n\n"
        for a in ("old", "new", "sad")
        for b in ("good", "bad", "long")
    ]
    (home / "text.txt").write_text("".join(lines) * 4)
    (home / "rows.csv").write_text(rows(24))
    made = ["corpus", home / "text.txt", "--out", home / "corpus", "--vocab-size", "300", "--no-deduplicate"]
    run = ["pretrain", "bert", home / "corpus", "--out", home / "bert", *PRETRAIN]
    tune = [
        "finetune",
        "classify",
        "--model",
        home / "bert",
        "--train",
        home / "rows.csv",
        "--out",
        home / "tuned",
    ]
    for words in ([*made, "--processes", "1"], run, [*tune, *QUICK]):
        if main(list(map(str, words))) != 0:
            raise SystemExit("the good folders could not be made")


def as_json(name: str, change: Callable[[Any], Any]) -> Change:
    """Change the value of a JSON file."""

    def damage(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps(change(json.loads(file.read_text()))))

    return damage


def as_bytes(name: str, change: Callable[[bytes], bytes]) -> Change:
    """Change the bytes of a file."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def replaced(name: str, make: Callable[[Path], object]) -> Change:
    """Put something else in the place of a file."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def broken(name: str) -> Iterator[tuple[str, Change]]:
    """What can happen to any JSON file."""
    contents: dict[str, bytes] = {
        "empty": b"", "cut": b'{"a": [1, 2', "zero bytes": b"\0" * 100, "not UTF-8": b'{"a": "\xff"}', "a list": b"[]",
        "a number": b"5", "null": b"null", "nested deep": b"[" * 200_000, "a number without end": b"9" * 100_000,
        "NaN": b'{"a": NaN}', "a key twice": b'{"a": 1, "a": 2}', "an empty object": b"{}",
        "brackets alone": b"[" + b"[]," * 4_000_000 + b"[]]",
    }  # fmt: skip
    for how, content in contents.items():
        yield how, as_bytes(name, lambda raw, content=content: content)
    yield "a gigabyte", lambda folder: (folder / name).open("r+b").truncate(1 << 30) and None
    yield "a FIFO", replaced(name, os.mkfifo)
    yield "a folder", replaced(name, Path.mkdir)
    yield (
        "a link to a device",
        lambda folder: ((folder / name).unlink(), (folder / name).symlink_to("/dev/zero")) and None,
    )  # type: ignore[func-returns-value]  # two calls whose None is thrown away


def safetensors(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    """A file of this header; `length` is what it claims to have."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def weights(raw: bytes) -> dict[str, bytes]:
    """Files of weights: what is wrong → the bytes. `raw` is a good one."""
    length = struct.unpack("<Q", raw[:8])[0]
    header, body = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    name = next(name for name in header if name != "__metadata__")

    def told(**more: Any) -> bytes:
        return safetensors({**header, name: {**header[name], **more}}, body)

    return {
        "empty": b"",
        "cut": raw[: len(raw) // 2],
        "a header of 4 exabytes": struct.pack("<Q", 2**62) + raw[8:],
        "a header beyond the file": struct.pack("<Q", length + len(body) + 1) + raw[8:],
        "a header of 100 MB": safetensors(b" " * 100_000_000),
        "a header of brackets": safetensors(b'{"a":[' + b"[]," * 4_000_000 + b"[]]}"),
        "a header nested deep": safetensors(b'{"a":' * 100_000),
        "a header that is no JSON": safetensors(b"\xff" * 100, body),
        "a list": safetensors([], body),
        "a key twice": safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
        "a shape of 10^18": told(shape=[10**9, 10**9]),
        "a shape that overflows": told(shape=[2**32, 2**32, 2**32]),
        "a shape below zero": told(shape=[-1, -4]),
        "a shape of a million ranks": told(shape=[1] * 1_000_000),
        "a shape of fractions": told(shape=[1.5]),
        "places over each other": told(data_offsets=[8, 8 + header[name]["data_offsets"][1] - header[name]["data_offsets"][0]]),
        "places beyond the end": told(data_offsets=[10**12, 10**12 + 4]),
        "places turned around": told(data_offsets=[100, 0]),
        "a gap": safetensors(header, body + b"\0" * 64),
        "a type that is none": told(dtype="F31"),
        "a type that is a list": told(dtype=["F32"]),
        "metadata that are lists": safetensors({**header, "__metadata__": {"a": []}}, body),
        "no tensors": safetensors({}),
        "other names": safetensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        "numbers that are none": raw[:-8] + b"\xff" * 8,
        "a pickle": b"cos\nsystem\n(S'true'\ntR.",
    }  # fmt: skip


def configs() -> dict[str, dict[str, Any]]:
    """Settings of config.json that mean harm."""
    found = {
        f"{key} is {value!r:.20}": {key: value}
        for key in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "vocab_size",
            "max_position_embeddings",
            "intermediate_size",
        )
        for value in (10**9, -5, 0, 10**30, "12", None, [1], 1.5)
    }
    found |= {
        "type_vocab_size is -1": {"type_vocab_size": -1}, "layer_norm_eps is a text": {"layer_norm_eps": "x"},
        "layer_norm_eps is 0": {"layer_norm_eps": 0}, "hidden_act is a list": {"hidden_act": ["gelu"]},
        "model_type is a path": {"model_type": "../../x"}, "model_type is a list": {"model_type": ["bert"]},
        "code to load": {"model_type": "evil", "auto_map": {"AutoModel": "evil--model.Evil"}},
        "unmask is a list": {"unmask": [1]}, "heads that are none": {"unmask": {"heads": "../../x", "file": "/dev/zero"}},
        "architectures is a number": {"architectures": 7, "hidden_size": "x"},
        "modernbert with a billion layers": {"model_type": "modernbert", "num_hidden_layers": 10**9, "layer_types": None},
        "roberta with places below zero": {"model_type": "roberta", "pad_token_id": -3},
    }  # fmt: skip
    return found


def tokenizers() -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Changes of a tokenizer.json."""

    def rule(*rules: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
        return lambda data: {**data, "normalizer": {"type": "Sequence", "normalizers": list(rules)}}

    def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": pattern, "content": content}

    def model(**more: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda data: {**data, "model": {**data["model"], **more}}

    def vocab(**more: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda data: {**data, "model": {**data["model"], "vocab": {**data["model"]["vocab"], **more}}}

    def added(**more: Any) -> Callable[[dict[str, Any]], Any]:
        token = {
            "id": 299,
            "content": "x",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": False,
        }
        return lambda data: {**data, "added_tokens": [*data["added_tokens"], {**token, **more}]}

    def split(expression: str) -> Callable[[dict[str, Any]], Any]:
        cut = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}
        return lambda data: {**data, "pre_tokenizer": cut}

    deep: dict[str, Any] = {"type": "NFC"}
    for _ in range(60):
        deep = {"type": "Sequence", "normalizers": [deep]}
    nothing = dict.fromkeys(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))
    return {
        "text that doubles forty times": rule(*[replace({"String": "a"}, "aa")] * 40),
        "a letter becomes a megabyte": rule(replace({"Regex": "."}, "a" * 1_000_000)),
        "nothing becomes something": rule(replace({"String": ""}, "aa")),
        "a text before every text": rule({"type": "Prepend", "prepend": "a" * 1_000_000}),
        "a repeated repetition": rule(replace({"Regex": "(a+)+$"}, "b")),
        "a slow expression": split("(?:a|aa)+$"),
        "an expression that is none": split("(a"),
        "rules nested deep": rule(deep),
        "ten thousand rules": rule(*[{"type": "NFC"}] * 10_000),
        "a table of characters that lies": rule({"type": "Precompiled", "precompiled_charsmap": "////fwAAAA=="}),
        "words without end": model(max_input_chars_per_word=10**9),
        "an id of 4 billion": vocab(zz=2**32 - 1),
        "an id below zero": vocab(zz=-1),
        "an id that is a text": vocab(zz="5"),
        "a piece of a megabyte": vocab(**{"z" * 1_000_000: 299}),
        "no vocabulary": model(vocab={}),
        "a vocabulary of pairs": model(vocab=[["a", 1]]),
        "an added token of nothing": added(content=""),
        "an added token far away": added(id=10**9),
        "no special tokens": lambda data: {**data, "added_tokens": [], "model": {**data["model"], "vocab": {k: v for k, v in data["model"]["vocab"].items() if k not in nothing}}},
        "a model that is none": model(type="Evil"),
        "a model that is a list": lambda data: {**data, "model": []},
        "no model": lambda data: {"version": "1.0"},
    }  # fmt: skip


def notes() -> dict[str, Change]:
    """Changes of task.json beside a fine-tuned model."""

    def note(**more: Any) -> Change:
        return as_json("model/task.json", lambda data: {**data, **more})

    return {
        "a task that is none": note(task="../../x"), "a task that is a list": note(task=["classify"]),
        "settings that are none": note(settings={"evil": 1}), "labels that are a text": note(labels="x"),
        "rows of 10^12": note(length=10**12), "rows below zero": note(length=-1), "rows that are a text": note(length="9"),
        "an overlap beyond the row": note(overlap=10**6),
        "other labels": as_json("model/task.json", lambda d: {**d, "labels": {**d["labels"], "names": ["a"], "weights": [1.0]}}),
        "labels numbered from 7": as_json("model/config.json", lambda d: {**d, "id2label": {"7": "a", "9": "b"}}),
        "labels that are a list": as_json("model/config.json", lambda d: {**d, "id2label": ["a", "b"]}),
        "labels that are numbers": as_json("model/config.json", lambda d: {**d, "id2label": {"0": 1, "1": 2}}),
    }  # fmt: skip


def shard(change: Callable[[dict[str, Any]], None]) -> Change:
    """Write the training shard anew with other arrays, and put its size into the manifest, which then agrees."""

    def damage(folder: Path) -> None:
        file = folder / "train-00000.arrow"
        batch = pa.ipc.open_file(file.read_bytes()).get_batch(0)
        arrays: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
        change(arrays)
        sink = io.BytesIO()
        made = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
        with pa.ipc.new_file(sink, made.schema) as writer:
            writer.write_batch(made)
        file.write_bytes(sink.getvalue())
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["shards"]["train"][0]["bytes"] = len(sink.getvalue())
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return damage


def lists(name: str, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Change:
    """Change the (offsets, values) of a column of lists."""

    def damage(arrays: dict[str, Any]) -> None:
        old = arrays[name]
        offsets, values = change(
            old.offsets.to_numpy().copy(), old.values.to_numpy(zero_copy_only=False).copy()
        )
        kind = pa.LargeListArray if pa.types.is_large_list(old.type) else pa.ListArray
        buffers = [None, pa.py_buffer(offsets.astype(np.int64 if kind is pa.LargeListArray else np.int32))]
        arrays[name] = kind.from_buffers(
            old.type, len(old), buffers, children=[pa.array(values, old.type.value_type)]
        )

    return shard(damage)


def beyond(raw: bytes) -> bytes:
    """A shard whose last offset of tokens leads out of them: written into the bytes, since pyarrow makes no such list."""
    offsets = pa.ipc.open_file(raw).get_batch(0).column("tokens").offsets.to_numpy().tobytes()
    at = raw.index(offsets) + len(offsets) - 8
    return raw[:at] + struct.pack("<q", 10**9) + raw[at + 8 :]


def corpora() -> dict[str, Change]:
    """Changes of a corpus folder."""

    def manifest(**more: Any) -> Change:
        return as_json("manifest.json", lambda data: {**data, **more})

    def first(**more: Any) -> Change:
        def change(data: Any) -> Any:
            data["shards"]["train"][0] |= more
            return data

        return as_json("manifest.json", change)

    def at(values: np.ndarray, place: int, value: int) -> np.ndarray:
        values[place] = value
        return values

    def counts(array: np.ndarray, **more: Any) -> Change:
        sink = io.BytesIO()
        np.save(sink, array, **more)
        return as_bytes("unigram.npy", lambda raw: sink.getvalue())

    huge = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117)
        + b"\n"
    )
    found: dict[str, Change] = {f"manifest: {how}": change for how, change in broken("manifest.json")}
    found |= {
        "manifest: another format": manifest(format=99), "manifest: parts are a list": manifest(parts=[]),
        "manifest: shards are a text": manifest(shards="x"), "manifest: shards of numbers": manifest(shards={"train": [1], "heldout": []}),
        "manifest: a shard elsewhere": first(file="../../x.arrow"), "manifest: a shard that is a device": first(file="/dev/zero"),
        "manifest: other bytes": first(bytes=5), "manifest: bytes below zero": first(bytes=-1), "manifest: 10^30 tokens": first(tokens=10**30),
        "manifest: other counts": manifest(parts={part: {"documents": 10**15, "tokens": 10**15, "sentences": 1} for part in ("train", "heldout")}),
        "manifest: an entropy of infinity": as_bytes("manifest.json", lambda raw: raw.replace(b'"unigram_entropy": ', b'"unigram_entropy": 1e999, "x": ')),
        "manifest: an entropy that is a text": manifest(unigram_entropy="x"),
        "manifest: another tokenizer": manifest(tokenizer={"fingerprint": "0", "kind": "x", "size": 10**12}),
        "shard: noise": as_bytes("train-00000.arrow", lambda raw: np.random.default_rng(0).bytes(len(raw))),
        "shard: zero bytes": as_bytes("train-00000.arrow", lambda raw: b"\0" * len(raw)),
        "shard: ids beyond the vocabulary": lists("tokens", lambda o, v: (o, at(v, 3, 65_535))),
        "shard: offsets beyond the end": as_bytes("train-00000.arrow", beyond),
        "shard: offsets below zero": lists("tokens", lambda o, v: (at(o, 1, -(10**6)), v)),
        "shard: offsets that fall": lists("tokens", lambda o, v: (at(o, 1, int(o[2]) + 1), v)),
        "shard: sentences that end elsewhere": lists("sentence_ends", lambda o, v: (o, v + 10**6)),
        "shard: sentences that end before they begin": lists("sentence_ends", lambda o, v: (o, -v)),
        "shard: fewer word starts": lists("word_starts", lambda o, v: (o // 2, v[: len(v) // 2])),
        "shard: columns of another type": shard(lambda a: a.update(tokens=pa.array([[1.5]] * len(a["id"])))),
        "shard: a column missing": shard(lambda a: a.pop("word_starts")),
        "unigram: a trillion numbers": as_bytes("unigram.npy", lambda raw: huge),
        "unigram: a pickle": counts(np.array([{"a": 1}], object), allow_pickle=True),
        "unigram: other counts": counts(np.zeros(7, np.int64)),
        "unigram: texts": as_bytes("unigram.npy", lambda raw: b"hello"),
        "tokenizer: missing": lambda folder: shutil.rmtree(folder / "tokenizer"),
        "tokenizer: another": as_json("tokenizer/tokenizer.json", lambda d: {**d, "pre_tokenizer": {"type": "Whitespace"}}),
    }  # fmt: skip
    return found


def runs() -> dict[str, Change]:
    """Changes of the folder of a pre-training run."""
    found: dict[str, Change] = {f"run.json: {how}": change for how, change in broken("run.json")}
    found |= {f"metrics: {how}": change for how, change in broken("metrics.jsonl")}

    def about(**more: Any) -> Change:
        return as_json("run.json", lambda data: {**data, **more})

    for name, value in {
        "a script": SCRIPT, "a number": 7, "null": None, "a list": [[[]]], "10^300": 10**300, "a long text": "x" * 1_000_000,
        "turned around": "\u202e\u2066x", "deep": json.loads('{"a":' * 200 + "1" + "}" * 200),
    }.items():  # fmt: skip
        for key in (
            "settings",
            "machine",
            "name",
            "call",
            "command",
            "started",
            "finished",
            "tokens",
            "seconds",
        ):
            found[f"run.json: {key} is {name}"] = about(**{key: value})
    line = {"step": 1, "loss": 3.0, "seconds": 1.0, "tokens": 5, "heldout": {"mlm": 3.0, "accuracy": 0.1}}
    for key in ("step", "loss", "seconds", "tokens", "heldout"):
        for name, value in {
            "a text": SCRIPT,
            "a list": [1],
            "10^300": 10**300,
            "-1": -1,
            "null": None,
            "true": True,
        }.items():
            text = json.dumps({**line, key: value}) + "\n"
            found[f"metrics: {key} is {name}"] = as_bytes(
                "metrics.jsonl", lambda raw, text=text: raw + text.encode()
            )
    found["metrics: not a number"] = as_bytes(
        "metrics.jsonl", lambda raw: raw + b'{"step": 2, "loss": NaN, "seconds": Infinity}\n'
    )
    found["metrics: a million lines"] = as_bytes(
        "metrics.jsonl",
        lambda raw: raw + b"".join(b'{"step": %d, "loss": 1.0}\n' % n for n in range(1_000_000)),
    )
    found["metrics: a long line"] = as_bytes("metrics.jsonl", lambda raw: raw + b"x" * 50_000_000)
    for name in ("fills", "finetune", "pretrain", "heldout", "../x", SCRIPT.replace("/", "")):
        for how, content in {
            "a script": json.dumps([{"text": SCRIPT, "before": SCRIPT}]),
            "noise": "{",
            "a number": "7",
            "nested deep": "[" * 100_000,
        }.items():
            found[f"evaluation/{name}: {how}"] = evaluation(name, content)
    return found


def evaluation(name: str, content: str) -> Change:
    def damage(folder: Path) -> None:
        (folder / "evaluation").mkdir(exist_ok=True)
        (folder / "evaluation" / f"{name.replace('/', '_')}.json").write_text(content)

    return damage


def stopped() -> dict[str, Change]:
    """Changes of a corpus folder whose build was stopped: `building` lies beside the shards."""
    found: dict[str, Change] = {}
    for name in ("gathered.json", "settings.json", "shard-00000.json"):
        found |= {f"building/{name}: {how}": change for how, change in broken(f"building/{name}")}

    def state(**more: Any) -> Change:
        return as_json("building/gathered.json", lambda d: {**d, "gathered": {**d["gathered"], **more}})

    found |= {
        "building: a text elsewhere": state(files=[{"file": "../../x", "batches": [0], "documents": 9}]),
        "building: other counts": state(documents=10**9), "building: counts below zero": state(documents=-1),
        "building: no ledger": as_json("building/gathered.json", lambda d: {**d, "ledger": {"stages": 5}}),
        "building: a ledger that lies": as_json("building/gathered.json", lambda d: {**d, "ledger": {"stages": [{"name": "x", "unit": "y", "in": 5, "kept": {}, "split": {}, "cut": {}, "dropped": {}}]}}),
        "building: text cut off": as_bytes("building/text-00000.arrow", lambda raw: raw[: len(raw) // 2]),
        "building: counts that are noise": as_bytes("building/unigram-00000.npy", lambda raw: b"noise"),
        "building: the way to another file": lambda folder: (folder / "building/settings.json.part").symlink_to(folder / "mine"),
    }  # fmt: skip
    return found
