"""Import: a foreign model folder with its weights in a pickle becomes a folder with safetensors that opens here.

Nothing of a stranger's folder is run: no code beside the model is copied, and `auto_map`, by which a configuration
names such code, is taken out. The new folder is written aside, opened by the loader of every other verb, and only
then gets its name; what the loader did not use and what the file did not hold is named.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from unmask.errors import UnmaskError
from unmask.models.weights import FAMILIES, HEADS, load_pretrained
from unmask.models.weights.files import INDEX, WEIGHTS, read_json
from unmask.models.weights.foreign import pickles_of, read_pickled
from unmask.tokens.older import older_tokenizer

Watch = Callable[[dict[str, Any]], None]
NOTE = "import.json"
BESIDE = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE",
)  # fmt: skip
LARGEST = 256 << 20  # bytes of a file that is copied


@dataclass(frozen=True)
class Imported:
    """What became of a foreign folder; stands in its import.json too."""

    folder: str
    family: str | None  # None: no family of ours, so that only the weights could be checked
    heads: str | None  # one of HEADS
    tensors: int
    numbers: int
    unused: tuple[str, ...]  # tensors that have no place in the model
    missing: tuple[str, ...]  # parts of the model that the file does not hold
    left: tuple[str, ...]  # entries of the pickle that are no tensors, and stayed behind
    tokenizer: str  # where it is from
    sources: dict[str, str]  # file → sha256


def convert(source: Path, out: Path, watch: Watch | None = None) -> Imported:
    """Write a folder with safetensors from one whose weights are in a pickle, and open it.

    `source` is a folder with config.json and pytorch_model.bin (whole or in shards), or the file itself. Raises
    `UnmaskError` for damaged or hostile files, and where the new folder does not open or holds what is no number;
    nothing is left behind then.
    """
    source, out = Path(source), Path(out)

    def say(text: str) -> None:
        if watch is not None:
            watch({"event": "say", "text": text})

    folder = source.parent if source.is_file() else source
    if not folder.is_dir():
        raise UnmaskError(f"{source} is no folder and no file — expected a model folder — check the path")
    if source.is_dir() and any((folder / name).is_file() for name in (WEIGHTS, INDEX)):
        raise UnmaskError(f"{folder} has its weights as safetensors — it opens as it is — give it to --model")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UnmaskError(f"{out} is there already — an empty place was expected — give another --out")
    config = read_json(folder / "config.json")
    files = pickles_of(source)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        found = _written(folder, files, config, part, say)
        found = Imported(**{**asdict(found), "folder": str(out)})
        text = json.dumps(asdict(found), indent=1, ensure_ascii=False)
        (part / NOTE).write_text(text + "\n", encoding="utf-8")
        if out.is_dir():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for line in told(found):
        say(line)
    return found


def told(found: Imported) -> list[str]:
    """The outcome in sentences."""
    what = (
        f"a {found.family} with the heads {found.heads}"
        if found.family
        else "of none of the families that are built here"
    )
    lines = [
        f"{found.folder}: {found.tensors} tensors, {found.numbers:,} numbers, {what}; tokenizer {found.tokenizer}"
    ]
    for word, names in (
        ("unused", found.unused),
        ("not in the file", found.missing),
        ("left behind", found.left),
    ):
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            lines.append(f"{word}: {', '.join(names[:8])}{more}")
    return lines


def _written(
    folder: Path, files: list[Path], config: dict[str, Any], part: Path, say: Callable[[str], None]
) -> Imported:
    """Everything of the new folder but its note, opened again once it is whole."""
    placed: dict[str, str] = {}
    left: list[str] = []
    numbers = bytes_ = 0
    for number, path in enumerate(files, 1):
        held = read_pickled(path, say)
        name = WEIGHTS if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        own = {}
        for key, tensor in held.tensors.items():
            if key in placed:
                raise UnmaskError(
                    f"{key} stands in two shards of {folder} — once was expected — fetch it again"
                )
            own[key] = tensor.detach().contiguous().clone()
            if own[key].is_floating_point() and not bool(torch.isfinite(own[key]).all()):
                raise UnmaskError(
                    f"{key} in {path} holds what is no finite number — weights were expected — fetch it again"
                )
            placed[key] = name
            numbers += tensor.numel()
            bytes_ += tensor.numel() * tensor.element_size()
        save_file(own, part / name, metadata={"format": "pt"})
        left += held.left
    if len(files) > 1:
        index = {"metadata": {"total_size": bytes_}, "weight_map": placed}
        (part / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    tokenizer = _beside(folder, config, part, say)
    family, heads, unused, missing = _opened(part, config)
    return Imported(
        str(part), family, heads, len(placed), numbers, unused, missing, tuple(left), tokenizer,
        {path.name: _digest(path) for path in files},
    )  # fmt: skip


def _beside(folder: Path, config: dict[str, Any], part: Path, say: Callable[[str], None]) -> str:
    """Configuration, tokenizer and licence; where the tokenizer is from."""
    if config.pop("auto_map", None) is not None:
        say("config.json names code of its own (auto_map); that is taken out, and no code is copied")
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    (part / "config.json").write_text(text + "\n", encoding="utf-8")
    for name in BESIDE:
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > LARGEST:
            raise UnmaskError(f"{path} has {path.stat().st_size:,} bytes — at most {LARGEST:,} are copied")
        shutil.copyfile(path, part / name)
    if (part / "tokenizer.json").is_file():
        return "from tokenizer.json"
    made = older_tokenizer(part)
    if made is None:
        say(
            f"{folder} has no tokenizer.json, vocab.txt or vocab.json with merges.txt: the new folder has no "
            "tokenizer, and verbs that read text will ask for one"
        )
        return "none"
    (part / "tokenizer.json").write_text(made, encoding="utf-8")
    return "made from " + ("vocab.txt" if (part / "vocab.txt").is_file() else "vocab.json and merges.txt")


def _opened(
    part: Path, config: dict[str, Any]
) -> tuple[str | None, str | None, tuple[str, ...], tuple[str, ...]]:
    """Family, heads, unused tensors and missing parts, by the loader of every other verb."""
    known = {kind for family in FAMILIES.values() for kind in family.model_types}
    if config.get("model_type") not in known:
        return None, None, (), ()
    loaded = load_pretrained(part)
    held = {name.partition(".")[0] for name in loaded.state}
    return loaded.family, loaded.heads, loaded.unused, tuple(x for x in HEADS[loaded.heads] if x not in held)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
