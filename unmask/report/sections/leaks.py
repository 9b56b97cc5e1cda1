"""The section of leaks: what dev and test rows share with train and with the pre-training text, with samples."""

from __future__ import annotations

from typing import Any

from unmask.report.read import Run
from unmask.report.sections.form import Cell, Section, Table

Json = dict[str, Any]
HEAD = ["rows", "in all", "a training row once more", "share words with train", "share words with the corpus",
        "… from end to end", "too short to tell"]  # fmt: skip


def section(run: Run, value: Json) -> Section | None:
    """A table of counts, a table of samples, and what was not checked.

    None for what holds no counts, and for a control from scratch that shares nothing with train: what its rows share
    with the corpus is said beside the run that read it.
    """
    parts = value.get("parts")
    if not isinstance(parts, dict) or not parts:
        return None
    corpora = [one for one in value.get("corpora") or [] if isinstance(one, dict)]
    checked = [one for one in corpora if one.get("checked")]
    gram, shortest = value.get("gram"), value.get("shortest")
    rows: list[list[Cell]] = []
    samples: list[list[Cell]] = []
    touched = 0
    for name, part in parts.items():
        if not isinstance(part, dict):
            continue
        train = part.get("train") or {}
        own = [(one.get("parts") or {}).get(name) or {} for one in checked]
        shared: Cell = max((one.get("touched") or 0 for one in own), default=0) if own else None
        whole: Cell = max((one.get("whole") or 0 for one in own), default=0) if own else None
        count = (train.get("duplicates"), train.get("touched"))
        rows.append([name, part.get("rows"), *count, shared, whole, train.get("too_short")])
        touched += sum(number for number in (*count, shared) if isinstance(number, int))
        samples += [_sample(name, "train", one) for one in train.get("samples") or []][:2]
        for one in own:
            samples += [_sample(name, "corpus", sample) for sample in one.get("samples") or []][:2]
    tables = [Table(HEAD, rows)]
    if samples:
        head = ["rows", "row", "in", "where", "of its n-grams", "longest passage"]
        tables.append(Table(head, samples, "Rows that share most"))
    notes = [
        f"The pre-training text {one.get('path') or ''} was not checked: {one.get('why')}.".replace("  ", " ")
        for one in corpora
        if not one.get("checked")
    ]
    if run.start == "scratch" and not touched:
        return None
    lead = (
        f"Rows that share {gram} words in a row (characters, where a script has no spaces) with what the model learnt "
        f"from; of shorter rows, down to {shortest} words, the whole. Case, width and punctuation do not count."
    )
    if not touched:
        lead += " Nothing was found."
    return Section(title=f"Leaks: {run.name}", lead=lead, tables=tables, notes=notes)


def _sample(part: str, place: str, sample: Json) -> list[Cell]:
    share = sample.get("share")
    percent = f"{100 * share:.0f} %" if isinstance(share, int | float) else None
    return [part, sample.get("row"), place, sample.get("where"), percent, sample.get("passage")]
