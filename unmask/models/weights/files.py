"""Tensors and configuration in a folder: safetensors and JSON, whole or in shards; no pickle is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unmask.bounded import load_json
from unmask.errors import UnmaskError
from unmask.models.weights.header import check_header

WEIGHTS = "model.safetensors"
INDEX = WEIGHTS + ".index.json"
EXTRA = "unmask_heads.safetensors"
LARGEST_CONFIG = 16 * 1024 * 1024  # bytes of config.json, and of an index of shards


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `UnmaskError` if there is none or it is not one."""
    if not path.exists():
        raise UnmaskError(
            f"{path} is not there — expected a model folder with {path.name} — give such a folder."
        )
    found = load_json(path, "an object", "fetch the file again.", most=LARGEST_CONFIG)
    if not isinstance(found, dict):
        raise UnmaskError(
            f"{path} holds a {type(found).__name__} — expected an object — fetch the file again."
        )
    return found


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model folder, from one file or from the shards of an index."""
    if (folder / WEIGHTS).is_file():
        return _load(folder / WEIGHTS)
    if (folder / INDEX).is_file():
        placed = read_json(folder / INDEX).get("weight_map")
        if not isinstance(placed, dict) or not all(isinstance(file, str) for file in placed.values()):
            raise UnmaskError(f"{folder / INDEX} has no weight_map of names to files — fetch the file again.")
        tensors: dict[str, Tensor] = {}
        for name in sorted(set(placed.values())):
            if Path(name).name != name:
                raise UnmaskError(
                    f'shard "{name}" in {folder / INDEX} — expected a file beside it — do not trust it.'
                )
            tensors |= _load(folder / name)
        missing = placed.keys() - tensors.keys()
        if missing:
            raise UnmaskError(f"the shards in {folder} lack {sorted(missing)[:3]} — fetch the folder again.")
        return tensors
    pickles = sorted(file.name for pattern in ("*.bin", "*.pt", "*.ckpt") for file in folder.glob(pattern))
    if pickles:
        raise UnmaskError(
            f"{folder} holds its weights in {pickles[0]}, a pickle, which can run code when opened, and is not read — "
            f"expected {WEIGHTS} — get the model in safetensors, or convert it once with `unmask import`."
        )
    raise UnmaskError(f"{folder} holds no weights — expected {WEIGHTS} or {INDEX} — give a model folder.")


def read_extra(folder: Path) -> dict[str, Tensor]:
    """The heads that have no form in `transformers`, under our own names."""
    return _load(folder / EXTRA)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Tensors in fp32, sorted by name, each with storage of its own."""
    own = {name: tensors[name].detach().to("cpu").float().contiguous().clone() for name in sorted(tensors)}
    save_file(own, path, metadata={"format": "pt"})


def _load(path: Path) -> dict[str, Tensor]:
    check_header(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UnmaskError(
            f"{path} cannot be read ({error}) — expected safetensors — fetch the file again."
        ) from error
