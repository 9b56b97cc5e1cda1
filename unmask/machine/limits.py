"""A bench in words: the machine, its limits, the sizes beside them, and what costs speed with its remedy."""

from __future__ import annotations

from unmask.machine.bench import Bench, Speed
from unmask.machine.rates import Rate
from unmask.settings import show_bytes, show_count


def words(found: Bench) -> str:
    """The bench as lines for the terminal."""
    cpu = found.processors
    bound = f", {cpu.quota:g} by the quota of the container" if cpu.quota else ""
    return "\n".join(
        [
            f"machine   {found.device}; {cpu.allowed} processors allowed ({cpu.cores} cores{bound}), "
            f"{found.threads} threads in use",
            f"memory    {show_bytes(found.bandwidth)} a second, copied (read and written)",
            "",
            "matrix products",
            *map(_rate, found.rates),
            "",
            f"training  recipe {found.recipe}, rows of {found.length} tokens, {found.precision}",
            f"{'size':8}{'parameters':>14}{'tokens/s':>12}{'operations/token':>18}{'of the matrix rate':>20}",
            *map(_row, found.sizes),
            *(["~ not timed: at the share of the largest timed size"] * any(not s.timed for s in found.sizes)),
            "",
            *([f"! {line}" for line in found.warnings] or ["Nothing that costs speed was found."]),
        ]
    )  # fmt: skip


def _rate(rate: Rate) -> str:
    shape = f"{rate.rows} × {rate.inputs} × {rate.outputs}"
    return f"{rate.precision:6}{shape:20}{rate.operations / 1e9:>8,.0f} GFLOP/s"


def _row(speed: Speed) -> str:
    mark = "" if speed.timed else "~ "
    share = f"{speed.share:.0%}" if speed.timed else ""
    return (
        f"{speed.size:8}{show_count(speed.parameters):>14}{mark + f'{speed.tokens_per_second:,.0f}':>12}"
        f"{show_count(speed.operations_per_token):>18}{share:>20}"
    )
