"""``--like RUN``: another run's settings are the defaults of this command, in its help too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.bounded import load_json
from unmask.errors import UnmaskError


@dataclass(frozen=True)
class Like:
    """A run folder whose settings are wanted again."""

    folder: Path

    def settings(self, verb: str, kind: str) -> dict[str, Any]:
        """Its resolved settings by name if it is a run of ``verb`` and of ``kind`` (a recipe or a task), else {}.

        Groups of settings (the recipe's, the training's) are laid out flat, as options are.
        """
        about = self._about()
        if about.get("verb") != verb or kind != _kind(about):
            return {}
        flat: dict[str, Any] = {}
        for name, value in about["settings"].items():
            flat.update(value if isinstance(value, dict) else {name: value})
        return flat

    def check(self, verb: str, kind: str) -> None:
        """Raises UnmaskError if the run is of another kind than the one that is asked for."""
        if not self.settings(verb, kind):
            about = self._about()
            raise UnmaskError(
                f"--like {self.folder}: that run is of `{about.get('verb')} {_kind(about)}`, this command is "
                f"`{verb} {kind}` — its settings do not fit — name a run of the same kind"
            )

    def _about(self) -> dict[str, Any]:
        path = self.folder / "run.json"
        try:
            about = load_json(path, "the run.json of a run folder", "check the path")
        except UnmaskError as error:
            raise UnmaskError(f"--like {self.folder}: {error}") from None
        if not isinstance(about, dict) or not isinstance(about.get("settings"), dict):
            raise UnmaskError(f"--like {self.folder}: {path} holds no settings — it is not a run of unmask")
        return about


def _kind(about: dict[str, Any]) -> str:
    """The name of a run's recipe or task."""
    found = about["settings"].get("recipe") or about["settings"].get("task") or ""
    return str(found.get("name", "") if isinstance(found, dict) else found)


def find(words: Sequence[str], name: str) -> str | None:
    """The value of an option that changes defaults (``--like``, ``--size``), looked for before parsing."""
    for at, word in enumerate(words):
        if word == name and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


def past_settings(words: Sequence[str], verb: str, kind: str, kinds: Iterable[str]) -> dict[str, Any]:
    """The settings of the run that ``--like`` names, {} without one. Raises UnmaskError if it is of another kind.

    Sub-commands that are not meant by these words get {}: their defaults are not asked for.
    """
    folder = find(words, "--like")
    if folder is None or kind != next((word for word in words[1:] if word in kinds), None):
        return {}
    like = Like(Path(folder))
    like.check(verb, kind)
    return like.settings(verb, kind)
