"""The model that a job starts from or asks: its folder found, its tokenizer fitting, its weights whole and finite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from unmask.errors import UnmaskError
from unmask.models import Shape
from unmask.models.weights import Loaded, check_shapes, load_pretrained
from unmask.tasks import Frame
from unmask.tokens import Tokenizer


@dataclass(frozen=True)
class Source:
    """A model folder that has been read and checked."""

    folder: Path
    loaded: Loaded
    tokenizer: Tokenizer
    frame: Frame


def model_folder(path: Path) -> Path:
    """The folder with the weights: `path` itself, or the `model/` of a run."""
    for folder in (path / "model", path):
        if (folder / "config.json").is_file():
            return folder
    if (path / "run.json").is_file():
        raise UnmaskError(
            f"{path} holds no model yet — its run is not finished — give the command of that run again, it goes on"
        )
    raise UnmaskError(
        f"{path} holds no model — expected a run folder with model/, or a folder with config.json"
    )


def frame_of(tokenizer: Tokenizer, shape: Shape) -> Frame:
    """How this model's rows begin, divide and end: as its tokenizer, which goes with it, puts two texts together."""
    return Frame(tokenizer.vocab, segments=shape.segments > 1, separators=tokenizer.separators)


def open_source(path: Path) -> Source:
    """Read a run's model or a model folder.

    Raises `UnmaskError` where there is no tokenizer, where the tokenizer is another model's, and where the weights
    are of other shapes than the configuration says or hold what is no number.
    """
    folder = model_folder(path)
    loaded = load_pretrained(folder)
    shape, tokenizer = loaded.shape, loaded.tokenizer
    if tokenizer is None:
        raise UnmaskError(f"{folder} has no tokenizer.json — expected one beside the weights — copy it there")
    size = tokenizer.vocab.size
    if size > shape.vocab or size < 0.99 * shape.vocab - 128:  # models pad their table a little
        raise UnmaskError(
            f"{folder}: the tokenizer has {size} pieces and the model {shape.vocab} — they do not belong together — "
            "put the tokenizer the model was trained with beside it"
        )
    check_shapes(loaded.state, shape, str(folder))
    for name, tensor in loaded.state.items():
        if not torch.isfinite(tensor).all():
            raise UnmaskError(
                f"{folder}: {name} holds what is no finite number — the file is damaged, or its training went wrong — "
                "copy it again, or train with a lower rate"
            )
    return Source(folder, loaded, tokenizer, frame_of(tokenizer, shape))
