"""The run folder: everything of a run that a person, a report or a resumed run may want, as JSON and safetensors.

    run.json            resolved settings, the command and the Python call that repeat it, versions, machine
    metrics.jsonl       one JSON object a line; the source of every figure
    checkpoints/        step-00000100/: weights, optimizer, state, and a manifest of hashes that is written last
    model/              opens in Hugging Face
    evaluation/         NAME.json

A checkpoint is written aside, synced and renamed, so a kill or a full disk at any instant leaves the one before it
whole. What is read back is checked against the manifest; a damaged checkpoint is passed over, and said so, but a disk
that cannot be read is no damage: that ends the call and removes nothing. One process works in a folder at a time. The
loop is not known here, and no pickle is written or read.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unmask.alone import alone
from unmask.bounded import BadJson, parse_json, read_bounded
from unmask.errors import UnmaskError
from unmask.settings import TYPED, flat, named_settings

KEEP = 2  # checkpoints that stay: the newest, and the one before it
#: of a run, and of nothing without run.json
PARTS = ("metrics.jsonl", "checkpoints", "snapshots", "tensorboard")
#: verbs that go on with other settings where a person names them
CHANGEABLE = ("pretrain", "finetune")
#: what of a checkpoint is not there, or no file; any other error of the system is no damage
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back: groups of tensors by name, and the state that JSON can hold."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside, sync it and rename it into place."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read_json(path: Path) -> Any:
    """Raises UnmaskError where the file is missing or is no JSON. NaN passes: what a run measured may be none."""
    try:
        return parse_json(read_bounded(path, "the JSON of a run").decode("utf-8"), constants=True)
    except FileNotFoundError:
        raise UnmaskError(f"{path} is missing — a run folder was expected — check the path") from None
    except (BadJson, UnicodeDecodeError) as error:
        raise UnmaskError(
            f"{path} is not JSON ({error}) — it was written by unmask — restore or remove it"
        ) from None


def machine() -> dict[str, Any]:
    """What a figure's reader wants to know of the machine."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), name)
    except OSError:
        pass
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


class Run:
    """An open run folder."""

    def __init__(self, folder: Path, about: dict[str, Any]):
        self.folder = folder
        self.about = about

    @classmethod
    def create(
        cls,
        folder: str | Path,
        *,
        verb: str,
        settings: Mapping[str, Any],
        call: str = "",
        command: str = "",
        allow: tuple[str, ...] = (),
        allow_changed: Sequence[str] = (),
        fixed: tuple[str, ...] = (),
        **about: Any,
    ) -> Run:
        """Make the folder, or open it again for the same settings.

        Raises UnmaskError, with the difference, where the folder holds a run with other settings; settings named in
        `allow` ("seeds", "training.log") may differ. So may those that a person names in `allow_changed`, unless they
        are `fixed`: the new ones then stand in the settings, and both under "changed", as soon as `note` is called.
        """
        folder, command = Path(folder), command or TYPED.get()
        plain = json.loads(json.dumps(dict(settings), default=str))
        if (folder / "run.json").exists():
            old = cls.open(folder)
            if old.about.get("verb") != verb:
                raise UnmaskError(
                    f"{folder} holds a run of `{old.about.get('verb')}` — a folder for `{verb}` was "
                    "expected — give another --out"
                )
            then, now = flat(old.settings), flat(plain)
            known = sorted(set(then) | set(now))
            named = named_settings(allow_changed, known)
            changed = [key for key in known if then.get(key) != now.get(key) and key not in allow]
            refused = [key for key in changed if key not in named]
            words = {key: f"{key}: {then.get(key)!r} there, {now.get(key)!r} now" for key in changed}
            if refused:
                able = verb in CHANGEABLE and not old.finished
                flags = " ".join(f"--allow-changed {key}" for key in refused if able and key not in fixed)
                raise UnmaskError(
                    f"{folder} holds a run with other settings ({'; '.join(words[key] for key in refused)}) — going on "
                    "needs the same — give another --out, or the old settings"
                    + (f", or go on with the new ones: {flags}" if flags else "")
                )
            stuck = [words[key] for key in changed if key in fixed]
            if stuck or (changed and old.finished):
                why = "is finished" if not stuck else "cannot change them in the middle"
                raise UnmaskError(
                    f"{folder} {why} ({'; '.join(stuck or words.values())}) — --allow-changed is for what a run can go "
                    "on with — give another --out"
                )
            if changed:
                was = {key: {"there": then.get(key), "now": now.get(key)} for key in changed}
                old.about |= {"settings": plain, "call": call, "command": command}
                old.about["changed"] = [
                    *old.about.get("changed", []),
                    {"when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "settings": was},
                ]
            return old
        named_settings(allow_changed, sorted(flat(plain)))
        if orphans := [name for name in PARTS if (folder / name).exists()]:
            raise UnmaskError(
                f"{folder} has no run.json but {', '.join(orphans)} — they are of a run that lost it, or of another "
                "program — restore run.json, remove them, or give another --out"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UnmaskError(f"{folder} is a file — a folder was expected — give another --out") from None
        from unmask import __version__

        record = {
            "unmask": __version__,
            "verb": verb,
            "name": folder.name,
            "settings": plain,
            "call": call,
            "command": command,
            "machine": machine(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **about,
        }
        write_json(folder / "run.json", record)
        return cls(folder, record)

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        folder = Path(folder)
        if not folder.is_dir():
            raise UnmaskError(f"{folder} is no folder — a run folder was expected — check the path")
        about = read_json(folder / "run.json")
        if not isinstance(about, dict) or "verb" not in about or not isinstance(about.get("settings"), dict):
            raise UnmaskError(f"{folder / 'run.json'} has no verb and settings — it is not a run of unmask")
        return cls(folder, about)

    @property
    def settings(self) -> dict[str, Any]:
        settings = self.about["settings"]
        assert isinstance(settings, dict)
        return settings

    @property
    def finished(self) -> bool:
        return "finished" in self.about

    def note(self, **facts: Any) -> None:
        """Add facts to run.json."""
        self.about.update(facts)
        write_json(self.folder / "run.json", self.about)

    def finish(self) -> None:
        """Say that all is done, once model/ is on the disk."""
        for file in sorted((self.folder / "model").rglob("*")):
            _sync(file)
        self.note(finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes out of the folder. Raises UnmaskError, when entered, for the second."""
        with alone(self.folder):
            if not self.finished and Run.open(self.folder).finished:
                raise UnmaskError(
                    f"another process has just finished {self.folder} — an unfinished run was expected — run the same "
                    "command again to see it"
                )
            yield

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that a kill cut short is left out."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        records: list[dict[str, Any]] = []
        bad = 0
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if bad:
                    raise UnmaskError(f"{path}, line {bad} is not JSON — restore or remove the line")
                try:
                    records.append(json.loads(line))
                except json.JSONDecodeError:
                    bad = number
        return records

    def forget_after(self, step: int) -> None:
        """Drop metrics and checkpoints of steps after `step`: a run that goes on from there writes them again.

        Such checkpoints are damaged, or of a path that was left.
        """
        for later in (self.folder / "checkpoints").glob("step-*"):
            if later.name > _name(step):
                shutil.rmtree(later, ignore_errors=True)
        self.keep_metrics(lambda record: record.get("step", 0) <= step)

    def keep_metrics(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drop the lines of metrics.jsonl that are not wanted."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return
        kept = [record for record in self.metrics() if wanted(record)]
        part = path.with_name(".metrics.part")
        with open(part, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        _sync(part)
        os.replace(part, path)

    def save_evaluation(self, name: str, value: Any) -> Path:
        folder = self.folder / "evaluation"
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{name}.json", value)
        return folder / f"{name}.json"

    def evaluations(self) -> dict[str, Any]:
        return {p.stem: read_json(p) for p in sorted((self.folder / "evaluation").glob("*.json"))}

    def save_checkpoint(
        self,
        step: int,
        tensors: Mapping[str, dict[str, Tensor]],
        state: Mapping[str, Any],
        needed: int | None = None,
    ) -> Path:
        """Write a checkpoint aside, then rename it. Raises UnmaskError on a full disk; older ones stay whole.

        The newest `KEEP` stay, and with `needed` the newest at or before that step, to which the run may go back, and
        the oldest after it, which will be that one later. The lines of metrics.jsonl are on the disk before it is: a
        run goes on where they end.
        """
        root = self.folder / "checkpoints"
        final, part = root / _name(step), root / f".{_name(step)}.part"
        try:
            root.mkdir(exist_ok=True)
            if (self.folder / "metrics.jsonl").exists():
                _sync(self.folder / "metrics.jsonl")
            for stale in root.glob(".step-*.part"):  # what a kill left half written
                shutil.rmtree(stale, ignore_errors=True)
            part.mkdir()
            for name, group in tensors.items():
                save_file(
                    {k: v.detach().cpu().contiguous() for k, v in group.items()}, part / f"{name}.safetensors"
                )
            write_json(part / "state.json", {"step": step, **state})
            files = {p.name: _digest(p) for p in sorted(part.iterdir())}
            for file in part.iterdir():
                _sync(file)
            write_json(part / "manifest.json", {"step": step, "files": files})
            _sync(part)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(part, final)
            _sync(root)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(part, ignore_errors=True)
            raise UnmaskError(
                f"the checkpoint of step {step} could not be written ({error}) — {root} needs room — "
                "make room and run the same command again; the checkpoint before is whole"
            ) from error
        there = sorted(root.glob("step-*"))
        # Later ones are damaged, or of a path that was left.
        past = [p for p in there if p.name <= final.name]
        kept = past[-KEEP:]
        if needed is not None:  # the next to be needed stays, too: else all between would be gone when it is
            at = sum(p.name <= _name(needed) for p in past)
            kept += past[max(0, at - 1) : at + 1]
        for old in set(there) - set(kept):
            shutil.rmtree(old, ignore_errors=True)
        return final

    def load_checkpoint(
        self,
        say: Callable[[str], None] = lambda text: None,
        stands: Callable[[dict[str, Any]], bool] = lambda state: True,
    ) -> Checkpoint | None:
        """The newest checkpoint that is whole; damaged ones are passed over and named through `say`.

        Those whose state does not `stands` are passed over without a word. None where there is none, or none stands.
        Raises UnmaskError where all are damaged, or where one cannot be read, which is no damage.
        """
        damaged: list[str] = []
        for folder in sorted((self.folder / "checkpoints").glob("step-*"), reverse=True):
            try:
                manifest = read_json(folder / "manifest.json")
                for name, digest in manifest["files"].items():
                    if _digest(folder / name) != digest:
                        raise UnmaskError(f"{name} is not what was written")
                state = read_json(folder / "state.json")
                if not manifest["step"] == state["step"] or folder.name != _name(state["step"]):
                    raise UnmaskError("its files are of different steps")
                if not stands(state):
                    continue
                names = sorted(name for name in manifest["files"] if name.endswith(".safetensors"))
                tensors = {Path(name).stem: load_file(folder / name) for name in names}
            except (UnmaskError, *MISSING, SafetensorError, LookupError, TypeError, ValueError) as error:
                say(f"the checkpoint {folder.name} is damaged ({error}); taking the one before it")
                damaged.append(folder.name)
                continue
            except OSError as error:
                raise UnmaskError(
                    f"{folder} cannot be read ({error}) — is its disk there? — run the same command again when it is; "
                    "nothing was removed"
                ) from error
            return Checkpoint(int(state["step"]), tensors, state)
        if damaged:
            raise UnmaskError(
                f"no checkpoint that {self.folder} could go on from is whole (damaged: {', '.join(damaged)}) — "
                f"restore one, or remove {self.folder / 'checkpoints'} to begin anew"
            )
        return None


def _name(step: int) -> str:
    """The folder of a checkpoint; names sort as steps do."""
    return f"step-{step:08d}"


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
