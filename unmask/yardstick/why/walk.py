"""The way of one start through the weights: losses along it, and the plane around it, from a cell's own training.

What a training measured at its first and last look is measured again at the ends of the way, on the same batches in the
same process: the numbers are equal to the last bit, and the difference is kept beside them, so that a machine on which
they are not says so.
"""

from __future__ import annotations

from unmask.run import write_json
from unmask.yardstick.why import landscape
from unmask.yardstick.why.landscape import ACROSS, ALPHAS, UP
from unmask.yardstick.why.measure import loss_of, put
from unmask.yardstick.why.starts import begin, moving
from unmask.yardstick.why.study import Cell
from unmask.yardstick.why.train import DONE, Bench, Emit, Weights, end_of, read_cell, train

DRAWN = 0  # seed of the random direction, the same for all starts


def file_of(bench: Bench, cell: Cell) -> str:
    kind = f"-{bench.study.plane}" if bench.study.surface else ""
    return f"way-{cell.name}{kind}.json"


def do_walk(bench: Bench, cell: Cell, emit: Emit) -> None:
    """Measure the way of a cell, with a surface if the study asks for one, into way-CELL.json."""
    p, study = bench.p, bench.study
    points: list[tuple[int, Weights]] = []
    if study.surface:  # the points between are kept by a second training, which is the first one again
        logged, end = train(bench, cell, emit, lambda step, weights: points.append((step, weights)))
    else:
        _, end = end_of(bench, cell, emit)
        logged = read_cell(bench.folder(cell) / DONE)
    model = begin(p, cell.start, cell.seed).to(bench.device).eval()
    start = {name: value.detach().clone() for name, value in moving(model).items()}
    end = {name: value.to(bench.device) for name, value in end.items()}
    batches, _ = bench.samples(cell)

    def loss(weights: Weights) -> float:
        put(model, weights)
        return loss_of(p.task, model, batches.batches)

    losses = landscape.along(loss, start, end)
    curve = logged["curve"]
    ends = {"start": curve[0]["train"], "end": curve[-1]["train"]}
    found = {
        "start": cell.start,
        "seed": cell.seed,
        "rate": cell.rate,
        "rows": len(batches.part.examples),
        "alphas": list(ALPHAS),
        "losses": losses,
        "logged": ends,
        "gaps": [
            _gap(losses[ALPHAS.index(0.0)], ends["start"]),
            _gap(losses[ALPHAS.index(1.0)], ends["end"]),
        ],
        "length": landscape.dot(d := landscape.difference(end, start), d) ** 0.5,
        "norm": landscape.dot(start, start) ** 0.5,
    }
    if study.surface:
        first = landscape.difference(end, start)
        steps = [landscape.difference(weights, start) for step, weights in points[1:]]
        second = (
            landscape.random_direction(end, DRAWN)
            if study.plane == "filter"
            else landscape.bend(first, steps)
        )
        emit({"event": "say", "text": f"{cell.start}: the surface, {len(ACROSS) * len(UP)} losses"})
        places, share = landscape.project(first, second, steps)
        found["surface"] = {
            "plane": study.plane,
            "seed": DRAWN if study.plane == "filter" else None,
            "across": list(ACROSS),
            "up": list(UP),
            "losses": landscape.surface(loss, start, end, second),
            "trajectory": [
                {"step": step, "x": x, "y": y}
                for step, (x, y) in zip([s for s, _ in points], [(0.0, 0.0), *places], strict=True)
            ],
            "inside": share,
            "norms": [found["length"], landscape.dot(second, second) ** 0.5],
        }
    write_json(bench.out / file_of(bench, cell), found)


def _gap(measured: float | None, logged: float | None) -> float | None:
    return None if measured is None or logged is None else measured - logged
