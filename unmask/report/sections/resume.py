"""The section of `unmask verify-resume`: whether a stopped run was the same run, and how that was found out."""

from __future__ import annotations

from typing import Any

from unmask.report.read import Run
from unmask.report.sections.form import Cell, Section, Table
from unmask.settings import show_seconds

Json = dict[str, Any]


def section(run: Run, value: Json) -> Section | None:
    """The certificate as a table. None for what compared nothing."""
    compared, different = value.get("bytes_compared"), value.get("bytes_different")
    if not isinstance(compared, int) or not isinstance(different, int):
        return None
    kills = value.get("kills") or []
    times = "once" if len(kills) == 1 else f"{len(kills)} times"
    verdict = (
        f"Killed {times} and started again, a run of {value.get('updates', '–')} updates with these settings ended in "
        f"the same bytes as one that nobody disturbed: 0 of {compared:,} differ."
        if not different
        else f"Killed {times} and started again, a run with these settings ended in OTHER bytes than one that nobody "
        f"disturbed: {different:,} of {compared:,} differ."
    )
    return Section(
        title=f"Stop and go on: the certificate of {run.name}",
        lead=verdict,
        tables=[Table(["what was done", "what came of it", "time"], _rows(value, kills))],
        notes=_notes(value),
    )


def _rows(value: Json, kills: list[Json]) -> list[list[Cell]]:
    took = value.get("seconds") or {}

    def time(name: str) -> Cell:
        found = took.get(name)
        return show_seconds(float(found)) if isinstance(found, int | float) else None

    rows: list[list[Cell]] = [["undisturbed", "what the others are compared with", time("undisturbed")]]
    steps = ", ".join(str(one.get("goes_on_from", "–")) for one in kills if isinstance(one, dict))
    rows.append(
        [
            "killed (SIGKILL) at random instants and resumed",
            f"went on from step {steps or '–'}; {value['bytes_different']:,} bytes of weights, moments, model differ",
            time("killed and resumed"),
        ]
    )
    two = value.get("two_processes") or {}
    if "apart" in two:
        inside = "within" if two.get("holds") else "NOT within"
        words = (
            f"losses of the first {two.get('updates', '–')} updates apart by {two['apart']:.1e} nats at most ({inside} "
            f"{two.get('bound', 0):.0e}), of all {two.get('updates_in_all', '–')} by {two.get('apart_in_all', 0):.1e}"
        )
    else:
        words = f"{'failed' if two.get('tried') else 'not tried'}: {two.get('why', '–')}"
    rows.append(["two processes", words, time("two processes")])
    return rows


def _notes(value: Json) -> list[str]:
    about = value.get("machine") or {}
    return [
        f"On {about.get('processor', '–')}, {about.get('threads', '–')} threads, torch {about.get('torch', '–')}, "
        f"Python {about.get('python', '–')}, unmask {value.get('unmask', '–')}, {value.get('precision', '–')}; "
        f"{value.get('when', '–')}.",
        f"The instants of the kills were drawn from seed {value.get('seed', '–')}. The short run has the settings of "
        "the long one but for the number of updates, how often checkpoints are written, and shares, snapshots and "
        "logs, which it does without.",
        "The same bytes are promised on the same machine with as many threads and the same versions, not elsewhere.",
    ]
