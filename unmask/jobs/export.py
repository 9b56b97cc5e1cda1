"""Export: a model as an ONNX file for other runtimes, kept only if it says what the model says.

The graph is written by `graph.py`. Two gates stand before the folder: fp32 logits from onnxruntime, on rows of several
lengths with padding among them, lie within `NEAR` of our own over packed rows; and a file in 8 bits keeps the task's
score on labelled rows within `POINTS`. What fails is deleted, with the numbers said.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from unmask.batch import collate, layout
from unmask.errors import UnmaskError
from unmask.jobs.graph import OPSET, padded, to_bytes, write_graph
from unmask.jobs.predict import Tuned
from unmask.jobs.runtime import Session, said_by
from unmask.jobs.source import Source, model_folder, open_source
from unmask.jobs.tuned import NOTE, load_task
from unmask.models.heads import ClassifyHead, PairHead, SpanHead
from unmask.models.padded import Padded
from unmask.randomness import generator
from unmask.run import read_json
from unmask.settings import to_json

Watch = Callable[[dict[str, Any]], None]
NEAR = 1e-4  # largest difference of a logit, as a share of the largest logit where that is above 1
POINTS = 1.0  # of the task's score × 100
FEW = 100  # rows under which a point is too coarse a measure
MODULES = ("onnx", "onnxruntime", "onnxscript")
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", NOTE)


def export(
    run: Path, out: Path, *, int8: bool = False, check: Path | None = None, watch: Watch | None = None
) -> dict[str, Any]:
    """Write `out`/model.onnx with tokenizer, labels and a card; returns what export.json holds.

    `run` is a run folder or a model folder. With `int8` the file is in 8 bits, and `check` names labelled rows for the
    gate (else the run's own test or dev file). Raises `UnmaskError`, and leaves nothing behind, where a gate is not
    passed.
    """
    run, out = Path(run), Path(out)

    def say(text: str) -> None:
        if watch is not None:
            watch({"event": "say", "text": text})

    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise UnmaskError(
            f"{', '.join(missing)} cannot be imported — an export needs the extra onnx — pip install 'unmask[onnx]'"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UnmaskError(f"{out} is there already — an empty place was expected — give another --out")
    source = open_source(run)
    rows = _rows_to_check(run, check) if int8 else None
    network = padded(source)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        found = _written(run, source, network, part, rows, say)
        for name in FILES:
            if (source.folder / name).is_file():
                shutil.copyfile(source.folder / name, part / name)
        (part / "export.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (part / "README.md").write_text(card(found, source), encoding="utf-8")
        if out.is_dir():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


def _written(
    run: Path, source: Source, network: Padded, part: Path, rows: Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    import onnxruntime

    file = part / "model.onnx"
    write_graph(network, file)
    found: dict[str, Any] = {
        "inputs": network.inputs,
        "outputs": network.outputs,
        "opset": OPSET,
        "longest": source.loaded.shape.positions,
        "heads": source.loaded.heads,
        "labels": list(source.loaded.labels or ()),
        "precision": "fp32",
        "gates": {"logits": compare(network, Session(file), source)},
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
    }
    gate = found["gates"]["logits"]
    say(
        f"logits of onnxruntime lie within {gate['difference']:.1e} of ours (gate {NEAR:g}), {gate['rows']} rows"
    )
    if not gate["difference"] <= NEAR:  # nor what is no number
        raise UnmaskError(
            f"the exported graph differs from the model by {gate['difference']:.2e} — at most {NEAR:g} is accepted — "
            "nothing was kept; other versions of torch and onnxruntime may agree (constraints.txt has those tested)"
        )
    if rows is not None:
        found["precision"] = "int8"
        found["gates"]["score"] = score = _in_bytes(run, file, rows, say)
        if not score["int8"] >= score["fp32"] - POINTS:
            raise UnmaskError(
                f"in 8 bits {score['metric']} on {rows} falls from {score['fp32']:.2f} to {score['int8']:.2f} "
                f"({score['rows']} rows) — at most {POINTS:g} point less is accepted — nothing was kept; "
                "export without --int8"
            )
    found["bytes"] = sum(path.stat().st_size for path in part.glob("model.onnx*"))
    return found


def compare(network: Padded, session: Session, source: Source) -> dict[str, Any]:
    """The largest difference between onnxruntime over padded rows and our packed ones, on drawn tokens."""
    vocab, shape = source.tokenizer.vocab, source.loaded.shape
    rng = generator(0, "export", 0)
    text = np.flatnonzero(~vocab.special)
    longest = min(shape.positions, 512)
    lengths = [longest, 3, longest // 2, 7, max(3, longest - 1), 5]
    examples = []
    for length in lengths:
        ids = np.concatenate([[vocab.cls], rng.choice(text, length - 2), [vocab.sep]]).astype(np.int64)
        second = (np.arange(length) >= 1 + length // 2).astype(np.int64)
        examples.append(
            {"ids": ids, "segments": second, "parts": second, "asked_positions": np.array([length // 2])}
        )
    worst, largest = 0.0, 1.0
    for some in (examples, examples[:1], examples[3:4]):  # padded, and rows alone
        ours = packed(network, some, segments=shape.segments > 1)
        for mine, theirs in zip(ours, session.outputs(some), strict=True):
            for own, other in zip(mine, theirs, strict=True):
                apart = float(np.abs(own - other).max())
                worst = apart if np.isnan(apart) else max(worst, apart)  # what is no number is no agreement
                largest = max(largest, float(np.abs(own).max()))
    return {"difference": worst / largest, "gate": NEAR, "rows": len(examples), "lengths": lengths}


def packed(
    network: Padded, examples: list[dict[str, np.ndarray]], *, segments: bool
) -> list[list[np.ndarray]]:
    """Our own outputs for rows laid end to end: a list an output, an array a row."""
    batch = collate(examples)
    lay = layout(batch["lengths"])
    cuts = np.cumsum(batch["lengths"].numpy())[:-1]
    found: list[list[np.ndarray]] = []
    with torch.no_grad():
        states = network.encoder(
            batch["ids"], lay, batch["segments"] if segments else None, mix=network.mixes
        )
        for head in network.heads or [nn.Identity()]:
            if isinstance(head, PairHead):
                found.append(list(head(states[lay.starts]).numpy()))
            elif isinstance(head, ClassifyHead):
                asked = batch["asked_positions"] if head.style == "asked" else head.asks(lay)
                kept = states if asked is None else states[asked]
                found.append(list(head(kept, lay, batch["parts"]).numpy()))
            elif isinstance(head, SpanHead):
                scores = head(states).numpy()
                found += [np.split(scores[:, n], cuts) for n in (0, 1)]
            else:
                found.append(np.split(head(states).numpy(), cuts))
    return found


def _rows_to_check(run: Path, check: Path | None) -> Path:
    """The labelled rows of the gate. Raises `UnmaskError` where there are none."""
    load_task(model_folder(run))  # raises for a model without a task: 8 bits have nothing to be measured by
    if check is not None:
        return Path(check)
    about = read_json(run / "run.json") if (run / "run.json").is_file() else {}
    for part in ("test", "dev"):
        named = about.get("settings", {}).get(part)
        if named and Path(named).is_file():
            return Path(named)
    raise UnmaskError(
        f"{run} names no test or dev file that is still there — 8 bits are kept only if a score is — name labelled "
        "rows with --check FILE"
    )


def _in_bytes(run: Path, file: Path, rows: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Put the file in 8 bits, and score both models on the rows."""
    to_bytes(file)
    tuned = Tuned(run)
    task, labels = tuned.note.task, tuned.note.labels
    examples = task.read(rows)
    task.check(examples, labels)
    metric = task.leading(labels)
    plain = task.score(tuned.say(examples), examples, labels)
    small = task.score(said_by(Session(file), tuned, examples), examples, labels)
    say(
        f"{metric} on {rows}: {plain[metric]:.2f} in fp32, {small[metric]:.2f} in 8 bits ({len(examples)} rows)"
    )
    if len(examples) < FEW:
        say(f"{len(examples)} rows are few: one of them is {100 / len(examples):.1f} points")
    return {
        "metric": metric, "rows": len(examples), "file": str(rows), "fp32": plain[metric], "int8": small[metric],
        "gate": POINTS,
    }  # fmt: skip


def card(found: dict[str, Any], source: Source) -> str:
    """README.md: what the file takes and gives, and what was measured."""
    gate, score = found["gates"]["logits"], found["gates"].get("score")
    inputs, outputs = (", ".join(f"`{name}`" for name in found[key]) for key in ("inputs", "outputs"))
    lines = [
        "# An encoder as ONNX",
        "",
        f"`model.onnx`: opset {found['opset']}, {found['precision']}, {found['bytes']:,} bytes.",
        "",
        f"- inputs, int64: {inputs}; rows × tokens, padded at the right, at most {found['longest']} tokens",
        f"- outputs: {outputs}",
        f"- fp32 logits differ from the packed model by {gate['difference']:.1e} at most (gate {gate['gate']:g}), "
        f"on rows of {', '.join(map(str, gate['lengths']))} tokens",
    ]
    if "asked_positions" in found["inputs"]:
        lines.append("- `asked_positions`: one number a row, the token whose state is read (the mask)")
    if score:
        lines.append(
            f"- {score['metric']} × 100 on {score['rows']} rows of `{Path(score['file']).name}`: {score['fp32']:.2f} "
            f"in fp32, {score['int8']:.2f} in 8 bits (gate: {score['gate']:g} less)"
        )
    if found["labels"]:
        lines.append(f"- labels in order: {', '.join(found['labels'])}")
    feed = {"input_ids": "row.ids", "attention_mask": "row.attention_mask", "token_type_ids": "row.type_ids"}
    given = ", ".join(f'"{name}": [{feed.get(name, "place of the mask")}]' for name in found["inputs"])
    lines += [
        "",
        "```python",
        "import onnxruntime",
        "from tokenizers import Tokenizer",
        "",
        'row = Tokenizer.from_file("tokenizer.json").encode("a text")',
        'session = onnxruntime.InferenceSession("model.onnx")',
        f"session.run(None, {{{given}}})",
        "```",
        "",
        f"Written with torch {found['versions']['torch']}, checked with onnxruntime "
        f"{found['versions']['onnxruntime']}; shape {json.dumps(to_json(source.loaded.shape))}.",
        "",
    ]
    return "\n".join(lines)
