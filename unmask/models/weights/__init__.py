"""Models in and out of Hugging Face folders: `config.json` ↔ `Shape`, their names ↔ ours, one table a family.

A folder that is written opens in `AutoModelFor…` with equal logits. A head that has no form there (segment
means compared, no dense layer before the table) is kept beside it in `unmask_heads.safetensors`, and
`config.json` says so under "unmask". Nothing is initialised in silence: `Loaded.into` tells which parts a
file did not hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import torch
from torch import Tensor, nn

from unmask.errors import UnmaskError, nearest
from unmask.models import Shape
from unmask.models.encoder import Encoder, undrawn
from unmask.models.heads import ClassifyHead, Style, TokensHead
from unmask.models.weights import albert, bert, modernbert, roberta
from unmask.models.weights.family import Family, Names, dictionary
from unmask.models.weights.files import EXTRA, WEIGHTS, read_extra, read_json, read_tensors, write_tensors
from unmask.models.weights.parts import parts_of, state_of

if TYPE_CHECKING:
    from unmask.tokens import Tokenizer

FAMILIES: dict[str, Family] = {
    "bert": bert.FAMILY,
    "roberta": roberta.FAMILY,
    "albert": albert.FAMILY,
    "modernbert": modernbert.FAMILY,
}
#: heads → the parts they are made of
HEADS: dict[str, tuple[str, ...]] = {
    "body": (),
    "tokens": ("tokens",),
    "pretraining": ("tokens", "pair"),
    "classify": ("classify",),
    "tag": ("tag",),
    "span": ("span",),
}


Made = TypeVar("Made", bound=nn.Module)


@dataclass(frozen=True)
class Loaded:
    """What a folder holds; no network yet."""

    state: dict[str, Tensor]  # part names, as `state_of` gives them
    shape: Shape
    family: str
    heads: str  # one of HEADS
    style: Style | None  # of the classifier, if there is one
    labels: tuple[str, ...] | None
    tokenizer: Tokenizer | None
    unused: tuple[str, ...]  # tensors of the file that have no place here

    def into(self, model: nn.Module) -> tuple[str, ...]:
        """Copies the weights into a network and returns its fresh parts: those that the folder did not hold.

        A fresh classifier of ModernBERT starts from the masked-LM head's dense and norm, as in its original
        code. Raises `UnmaskError` where a part is there and has other shapes.
        """
        fresh: dict[str, None] = {}
        with torch.no_grad():
            for name, tensor in state_of(model).items():
                part, _, rest = name.partition(".")
                found = self.state.get(name)
                if found is None and rest.startswith("first.") and self.family == "modernbert":
                    found = self.state.get(f"tokens.{rest.removeprefix('first.')}")
                    fresh[part] = None
                if found is None:
                    fresh[part] = None
                elif found.shape != tensor.shape:
                    raise UnmaskError(
                        f"{name} is {list(found.shape)} in the folder and {list(tensor.shape)} in the network — "
                        "expected equal shapes — build the network from the folder's shape and labels."
                    )
                else:
                    tensor.copy_(found)
        return tuple(fresh)

    def encoder(self) -> Encoder:
        """A new encoder with the folder's weights. Raises `UnmaskError`, before it is made, where they do not fit."""
        return self.around(Encoder)[0]

    def around(self, make: Callable[[Shape], Made]) -> tuple[Made, tuple[str, ...]]:
        """The network that `make` makes of the shape, with the folder's weights, and its fresh parts as in `into`.

        Its encoder is not drawn first. Raises `UnmaskError`, before anything is made, where its weights do not fit.
        """
        check_shapes(self.state, self.shape, "the folder")
        with undrawn():
            model = make(self.shape)
        fresh = self.into(model)
        if "encoder" in fresh or sum(isinstance(part, Encoder) for part in model.modules()) != 1:
            raise ValueError("an encoder that the folder does not fill: its weights would be no numbers")
        return model, fresh


def check_shapes(state: dict[str, Tensor], shape: Shape, where: str) -> None:
    """Raise `UnmaskError` unless weights are those of such an encoder; no memory is taken for what it claims."""
    try:
        with torch.device("meta"):
            expected = {f"encoder.{name}": value.shape for name, value in Encoder(shape).named_parameters()}
    except (RuntimeError, TypeError):  # sizes that overflow
        raise UnmaskError(
            f"{where}: config.json speaks of {shape.layers} layers of width {shape.width} — no machine holds that — "
            "copy the whole folder again"
        ) from None
    for name, size in expected.items():
        if name not in state or state[name].shape != size:
            found = f"is {list(state[name].shape)}" if name in state else "is missing"
            raise UnmaskError(
                f"{where}: {name} {found} and by config.json {list(size)} — they do not belong together — copy the"
                " whole folder again"
            )


def load_pretrained(folder: str | Path, heads: str | None = None) -> Loaded:
    """Reads a model folder; `heads` (one of HEADS) overrules what its configuration says it holds.

    Raises `UnmaskError` for pickled weights, unknown model types, settings that are not built, and tensors
    that are missing or untied.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    family = _family(config)
    shape = family.from_config(config)
    below = [name for name in ("segments", "embedding", "window", "offset") if getattr(shape, name) < 0]
    if below:
        raise UnmaskError(
            f"config.json gives {below[0]} below zero ({getattr(shape, below[0])}) — a count was expected — fetch the"
            " folder again."
        )
    extra = dictionary(config, "unmask")
    if heads is not None and heads not in HEADS:
        raise UnmaskError(
            f'heads "{heads}" — expected one of {", ".join(HEADS)} — choose one.{nearest(heads, HEADS)}'
        )
    held = _held(family, config)
    kind = heads or extra.get("heads") or held
    if kind not in HEADS:
        raise UnmaskError(
            f'config.json says heads "{kind!s:.60}" — expected one of {", ".join(HEADS)} — fetch the folder again.'
        )
    roberta.check_head(family.name, shape, kind)
    tensors = read_tensors(folder)
    if not shape.shared and shape.layers > len(tensors):  # before anything is made by that number
        raise UnmaskError(
            f"config.json says {shape.layers} layers and the weights hold {len(tensors)} tensors — expected some for "
            "each layer — fetch the folder again."
        )
    tied = config.get("tie_word_embeddings", True) is not False
    state, unused = _ours(family, shape, heads or held, tensors, folder, tied)
    if extra:
        state |= read_extra(folder)
    style: Style | None = None
    if kind == "classify":
        mean = family.name == "modernbert" and config.get("classifier_pooling", "cls") == "mean"
        style = extra.get("style") or ("normed_mean" if mean else family.style)
        if style not in get_args(Style):
            raise UnmaskError(
                f'config.json says style "{style!s:.60}" — expected one of {", ".join(get_args(Style))} — fetch the'
                " folder again."
            )
    labels = _labels(config) if kind in ("classify", "tag") else None
    return Loaded(state, shape, family.name, kind, style, labels, _tokenizer(folder), unused)


def save_pretrained(
    folder: str | Path,
    family: str,
    model: nn.Module,
    shape: Shape,
    tokenizer: Tokenizer | None,
    heads: str,
    labels: Sequence[str] | None = None,
) -> None:
    """Writes a network as a folder that `transformers` opens: config.json, model.safetensors, the tokenizer's files.

    `heads`: one of HEADS; "pretraining" takes the pair head only if the network has one. `labels` name the
    classes. Raises `UnmaskError` if the network lacks the head or the shape is none of the family's.
    """
    if family not in FAMILIES or heads not in HEADS:
        word, known = (heads, HEADS) if family in FAMILIES else (family, FAMILIES)
        raise UnmaskError(
            f'"{word}" — expected one of {", ".join(known)} — choose one.{nearest(word, known)}'
        )
    form, parts = FAMILIES[family], parts_of(model)
    wanted = [part for part in HEADS[heads] if part in parts]
    if heads != "body" and HEADS[heads][0] not in parts:
        raise UnmaskError(
            f'the network has no "{HEADS[heads][0]}" head — it has {", ".join(parts)} — choose other heads.'
        )
    state = {name: tensor.detach() for name, tensor in state_of(model).items()}
    pad = shape.offset - 1 if tokenizer is None else tokenizer.vocab.pad
    if family == "roberta" and pad + 1 != shape.offset:  # there the padding id fixes where positions start
        table = state["encoder.places.weight"]
        state["encoder.places.weight"] = torch.cat(
            (table.new_zeros(pad + 1, table.shape[1]), table[shape.offset :])
        )
        shape = replace(shape, offset=pad + 1)
    config = {"model_type": form.model_types[0], **form.to_config(shape)}
    _check(form, shape, config)
    theirs = [part for part in wanted if _has_form(form, parts[part], part)]
    kind = next(kind for kind, own in HEADS.items() if list(own) == theirs)
    if kind not in form.architectures:
        theirs, kind = [], "body"
    roberta.check_head(form.name, shape, kind)
    config["architectures"] = [form.architectures[kind]]
    config["tie_word_embeddings"] = True
    config |= _ids(tokenizer, family, pad)
    classifier = parts.get(heads)
    if heads in ("classify", "tag"):
        count = int(getattr(classifier, "classes", 0))
        names = tuple(labels or (f"LABEL_{i}" for i in range(count)))
        if len(names) != count:
            raise UnmaskError(
                f"{len(names)} labels for {count} classes — expected as many — give one name a class."
            )
        config["id2label"] = {str(i): name for i, name in enumerate(names)}
        config["label2id"] = {name: i for i, name in enumerate(names)}
        if heads == "classify" and count == 1:
            config["problem_type"] = "regression"
    if isinstance(classifier, ClassifyHead) and theirs == ["classify"] and family == "modernbert":
        config["classifier_pooling"] = "mean" if classifier.style == "normed_mean" else "cls"
    own = [part for part in wanted if part not in theirs]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EXTRA).unlink(missing_ok=True)
    if own:
        config["unmask"] = {"heads": heads, "file": EXTRA}
        if isinstance(classifier, ClassifyHead):
            config["unmask"]["style"] = classifier.style
        stored = {*own, "pooler"}  # the pooler of a pair or classifier goes with it
        write_tensors(folder / EXTRA, {n: t for n, t in state.items() if n.partition(".")[0] in stored})
    names_table = _table(form, shape, kind)
    prefix = "" if kind == "body" else form.prefix
    inside = form.body(shape).keys() | form.pooler.keys()
    tensors = {}
    for name, targets in names_table.items():
        if name.startswith("pooler.") and not (
            name in state and (kind in ("body", "pretraining", "classify"))
        ):
            continue
        if name not in state and shape.head == "plain" and name.endswith(".dense.weight"):
            tensors[targets[0]] = torch.eye(
                shape.width
            )  # a plain head, said in a form that has a dense layer
            continue
        for target, piece in zip(targets, state[name].chunk(len(targets)), strict=True):
            tensors[(prefix if name in inside else "") + target] = piece
    write_tensors(folder / WEIGHTS, tensors)
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    if tokenizer is not None:
        tokenizer.save(folder, shape.positions, segments=shape.segments > 1)


def _labels(config: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of the classes in their order. Raises `UnmaskError` unless they are numbered from 0 on."""
    names = config.get("id2label")
    if not names:
        return None
    if not isinstance(names, dict) or names.keys() != {str(i) for i in range(len(names))}:
        raise UnmaskError(
            "id2label in config.json — expected names by 0, 1, 2 … — mend or fetch the file again."
        )
    found = tuple(names[str(i)] for i in range(len(names)))
    if not all(isinstance(name, str) for name in found):
        raise UnmaskError("id2label in config.json holds what is no text — expected names — mend the file.")
    return found


def _family(config: dict[str, Any]) -> Family:
    found = str(config.get("model_type", ""))
    known = {kind: family for family in FAMILIES.values() for kind in family.model_types}
    if found not in known:
        raise UnmaskError(
            f'model_type "{found:.60}" — expected one of {", ".join(known)} — this model cannot be read.'
            + nearest(found, known)
        )
    return known[found]


def _held(family: Family, config: dict[str, Any]) -> str:
    """The heads that the configuration's class says."""
    named = config.get("architectures")
    named = named if isinstance(named, list) and named else [""]
    endings = {
        name.rpartition("For")[2]: kind for kind, name in family.architectures.items() if "For" in name
    }
    return endings.get(str(named[0]).rpartition("For")[2], "body")


def _table(family: Family, shape: Shape, kind: str) -> Names:
    names = {**family.body(shape), **family.pooler}
    for part in HEADS[kind]:
        names |= family.heads.get(part, {})
    return names


def _ours(
    family: Family, shape: Shape, kind: str, tensors: dict[str, Tensor], folder: Path, tied: bool
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Their tensors under our names, and the names that are left over."""
    found = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(family.prefix).replace("LayerNorm.gamma", "LayerNorm.weight")
        found[plain.replace("LayerNorm.beta", "LayerNorm.bias")] = tensor
    for copy, source in family.copies.items():
        if copy in found:
            tensor = found.pop(copy)
            # Of a tied bias some old files hold two, and one is used.
            apart = not tied or copy.endswith("weight")
            if source in found and apart and not torch.equal(found[source], tensor):
                raise UnmaskError(
                    f"{copy} in {folder} is not {source} — expected one and the same — an untied model cannot be read."
                )
            found.setdefault(source, tensor)
    state = {}
    begun = {name.partition(".")[0] for name, own in _table(family, shape, kind).items() if own[0] in found}
    # A head may be missing, not a part of one.
    whole = ("encoder.", "tokens.") if "tokens" in begun else ("encoder.",)
    for name, sources in _table(family, shape, kind).items():
        if all(source in found for source in sources):
            pieces = [found.pop(source) for source in sources]
            if shape.head == "plain" and not name.startswith("encoder.") and name.endswith(".dense.weight"):
                if not torch.equal(pieces[0].float(), torch.eye(shape.width)):
                    raise UnmaskError(
                        f"{sources[0]} in {folder} is not the identity — a head without activation has none here — "
                        "this model cannot be read."
                    )
                continue
            state[name] = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        elif name.startswith(whole) or any(source in found for source in sources):
            lacking = [source for source in sources if source not in found]
            raise UnmaskError(
                f"{folder} lacks {lacking[0]} — expected every tensor of a {family.name} with {shape.layers} layers — "
                "fetch the folder again."
            )
    return state, tuple(
        sorted(name for name in found if not name.endswith(("position_ids", "token_type_ids")))
    )


def _has_form(family: Family, module: nn.Module, part: str) -> bool:
    if isinstance(module, TokensHead):
        return module.norm is not None
    if isinstance(module, ClassifyHead):
        return module.style == family.style or (family.name == "modernbert" and module.style == "normed_mean")
    return part in family.heads


def _check(family: Family, shape: Shape, config: dict[str, Any]) -> None:
    """That the family's configuration can say this shape."""
    plain = shape if shape.window and shape.global_every > 1 else replace(shape, window=0, global_every=1)
    said, meant = asdict(family.from_config(config)), asdict(plain)
    odd = [f"{key} {meant[key]!r} (there: {said[key]!r})" for key in meant if meant[key] != said[key]]
    if odd:
        raise UnmaskError(
            f"this shape is no {family.name}: {', '.join(odd)} — a folder for transformers needs the family's own — "
            "choose another family or shape."
        )


def _ids(tokenizer: Tokenizer | None, family: str, pad: int) -> dict[str, int]:
    """The special ids of the configuration; without a tokenizer only the padding."""
    if tokenizer is None:
        pad_only: dict[str, Any] = {"pad_token_id": max(pad, 0)}
        if family == "modernbert":
            pad_only |= dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), None)
        return pad_only
    vocab = tokenizer.vocab
    ids = {"pad_token_id": vocab.pad}
    if family != "bert":
        ids |= {"bos_token_id": vocab.cls, "eos_token_id": vocab.sep}
    if family == "modernbert":
        ids |= {"cls_token_id": vocab.cls, "sep_token_id": vocab.sep}
    return ids


def _tokenizer(folder: Path) -> Tokenizer | None:
    if not (folder / "tokenizer.json").is_file():
        return None
    from unmask.tokens import load_tokenizer

    return load_tokenizer(folder)
