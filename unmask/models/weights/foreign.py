"""Foreign weights in pickles (`pytorch_model.bin`, whole or in shards): the one file that opens them.

A pickle can run code when it is opened, so nothing else here reads one, and only `unmask import` calls this. What
is done against it: the file is looked at before it is opened (a zip archive whose entries are stored plainly and are
no larger than the file, or the older stream), it is opened by torch's restricted reader (`weights_only=True`, which
builds tensors and plain containers and calls nothing else), an archive through a memory map, so that no length that
it claims takes memory; and afterwards every tensor must be a plain one whose numbers really lie in the file.

Source of the two forms: the serialisation of torch since 1.6 (a zip archive) and before (pickles one after another).
It differs from common loaders in what it refuses: tar archives, scripted modules, sparse and quantised tensors,
views that repeat their storage.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unmask.errors import UnmaskError
from unmask.models.weights.files import read_json

PICKLE = "pytorch_model.bin"
PICKLE_INDEX = PICKLE + ".index.json"
OPENING = (
    64 << 20
)  # bytes of the pickle inside an archive; weights lie beside it, so a real one has some 100 kB
ENTRIES = 100_000  # of an archive: one a tensor, and a few more
COPIES = (
    3  # tied tensors may be written once each; more than this many bytes a byte of the file are no weights
)
NESTS = ("state_dict", "model", "model_state_dict", "module")  # what training scripts wrap weights in
PLAIN = frozenset(
    [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool]
)  # fmt: skip


@dataclass(frozen=True)
class Pickled:
    """What one file held."""

    tensors: dict[str, Tensor]  # on the host, views on the file's memory map where it is an archive
    left: tuple[str, ...]  # entries that are no tensors and stay behind


def pickles_of(source: Path) -> list[Path]:
    """The files of weights that a source names: itself, `pytorch_model.bin`, or the shards of its index.

    Raises `UnmaskError` where there are none, and for an index that points out of its folder.
    """
    if source.is_file():
        return [source]
    if (source / PICKLE).is_file():
        return [source / PICKLE]
    if (source / PICKLE_INDEX).is_file():
        placed = read_json(source / PICKLE_INDEX).get("weight_map")
        if not isinstance(placed, dict) or not placed or not all(isinstance(x, str) for x in placed.values()):
            raise UnmaskError(
                f"{source / PICKLE_INDEX} has no weight_map of names to files — one was expected — fetch it again"
            )
        names = sorted(set(placed.values()))
        for name in names:
            if Path(name).name != name:
                raise UnmaskError(
                    f'shard "{name}" in {source / PICKLE_INDEX} — expected a file beside it — do not trust it'
                )
            if not (source / name).is_file():
                raise UnmaskError(f"{source / name} is missing, but {PICKLE_INDEX} names it — fetch it again")
        return [source / name for name in names]
    others = sorted(
        file.name for suffix in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in source.glob(suffix)
    )
    more = f"; {others[0]} can be named itself" if others else ""
    raise UnmaskError(
        f"{source} holds no {PICKLE} and no {PICKLE_INDEX}{more} — give a folder with one of them"
    )


def read_pickled(path: Path, say: Callable[[str], None]) -> Pickled:
    """The tensors of one file, in the precision that they have there.

    Raises `UnmaskError` for what is no file of weights, is damaged, would take more memory than the file has bytes,
    or asks for anything but tensors.
    """
    size = path.stat().st_size
    archive = _looked_at(path, size)
    say(
        f"opening {path} ({size:,} bytes): a pickle, which can run code when it is opened. It is opened by torch's "
        "restricted reader (weights_only), here and nowhere else; what comes out is written as safetensors"
    )
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # whatever bytes from elsewhere can bring about, it is one thing to the user
        first = str(error).strip().split("\n", 1)[0][:200]
        raise UnmaskError(
            f"{path} cannot be opened as weights ({type(error).__name__}: {first}) — expected a dictionary of tensors "
            "written by torch.save — it is damaged, or asks for more than tensors: get the model as safetensors"
        ) from error
    named = _unwrapped(found, path)
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    total = 0
    for name, value in tensors.items():
        total += _plain(name, value, path)
    if total > COPIES * size:
        raise UnmaskError(
            f"{path} has {size:,} bytes and its tensors would take {total:,} — at most {COPIES} times as many were "
            "expected — the same numbers are used over and over: do not trust it"
        )
    if not tensors:
        raise UnmaskError(
            f"{path} holds no tensors — expected a dictionary of them — give the file of weights"
        )
    return Pickled(tensors, tuple(sorted(named.keys() - tensors.keys())))


def _looked_at(path: Path, size: int) -> bool:
    """Whether the file is a plain archive (or else the older stream). Raises `UnmaskError` for anything else."""
    with open(path, "rb") as file:
        head = file.read(4)
    if head[:1] == b"\x80":
        return False
    if head != b"PK\x03\x04":
        raise UnmaskError(
            f"{path} begins with {head!r} — expected a file written by torch.save (a zip archive or a pickle) — "
            "fetch it again; a page of a pointer (git lfs) is no file of weights"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UnmaskError(
            f"{path} is a damaged archive ({error}) — it was cut short or changed — fetch it again"
        ) from error
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    held = sum(entry.file_size for entry in entries)
    opening = max((e.file_size for e in entries if e.filename.endswith("data.pkl")), default=0)
    if packed or held > size or len(entries) > ENTRIES or opening > OPENING:
        what = (
            f"compresses {packed[0]!r}"
            if packed
            else f"has entries of {held:,} bytes in {size:,}"
            if held > size
            else f"has {len(entries):,} entries"
            if len(entries) > ENTRIES
            else f"has a pickle of {opening:,} bytes"
        )
        raise UnmaskError(
            f"{path} {what} — torch.save stores tensors as they are — it is no file of weights: do not trust it"
        )
    return True


def _unwrapped(found: Any, path: Path) -> dict[str, Any]:
    """The dictionary of tensors, whatever a training script put around it."""
    for _ in range(len(NESTS)):
        if not isinstance(found, dict) or any(isinstance(value, Tensor) for value in found.values()):
            break
        inner = next((found[key] for key in NESTS if isinstance(found.get(key), dict)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, dict):
        raise UnmaskError(
            f"{path} holds a {type(found).__name__} — expected a dictionary of tensors — give the file of weights"
        )
    if not all(isinstance(key, str) for key in found):
        raise UnmaskError(f"{path} holds entries without a name — expected names of tensors — fetch it again")
    return {key.removeprefix("module."): value for key, value in found.items()}


def _plain(name: str, value: Tensor, path: Path) -> int:
    """The bytes of a tensor. Raises `UnmaskError` unless it is a plain one and its numbers lie in the file."""
    odd = (
        type(value) not in (Tensor, nn.Parameter)
        or value.layout != torch.strided
        or value.device.type != "cpu"
        or value.dtype not in PLAIN
    )
    taken = 0 if odd else value.numel() * value.element_size()
    if odd or taken > value.untyped_storage().nbytes():
        shape = list(value.shape)
        raise UnmaskError(
            f"{name} in {path} is {shape} of {value.dtype}, and no plain tensor with as many numbers in the file — "
            "weights are plain tensors — get the model as safetensors"
        )
    return taken
