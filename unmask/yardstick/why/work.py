"""The order of a study's work: what it will cost, trainings that choose the rates, the rest, the ways, a summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from statistics import median
from typing import Any

import torch

from unmask.jobs.crew import cores
from unmask.jobs.finetune import SMALL
from unmask.run import read_json
from unmask.settings import show_bytes, show_seconds
from unmask.yardstick.why.crew import run
from unmask.yardstick.why.landscape import ACROSS, ALPHAS, UP
from unmask.yardstick.why.measure import loss_of, score_of
from unmask.yardstick.why.starts import begin
from unmask.yardstick.why.study import PATHS, STARTS, Cell, places
from unmask.yardstick.why.summary import grid_of, summary
from unmask.yardstick.why.train import DONE, SCORE, WEIGHTS, Bench, train
from unmask.yardstick.why.walk import file_of

Json = dict[str, Any]
TIMED = 6  # updates that the estimate is measured on


class Work:
    """A study that is under way."""

    def __init__(
        self, bench: Bench, words: Json, sizes: Sequence[int], watch: Callable[[Json], None]
    ) -> None:
        self.bench, self.words, self.sizes, self.watch = bench, words, tuple(sizes), watch
        self.most = self.sizes[-1]
        shape, study = bench.p.shape, bench.study
        self.grids = {start: study.grid(start, shape) for start in STARTS}
        small = 12 * shape.layers * shape.width**2 <= SMALL
        usual = cores() if small and bench.steps * study.batch > 500 and not torch.cuda.is_available() else 1
        self.workers = study.workers or usual
        self.threads = max(1, cores() // self.workers)

    def all(self, name: str) -> Json:
        """Train whatever is missing and sum up."""
        study = self.bench.study
        tuned = self.sizes if study.tune == "each" else (self.most,)
        tries = [
            Cell(start, rate, rows, seed)
            for seed, rows, start in product(study.seeds_of(), tuned, STARTS)
            for rate in self.grids[start]
        ]
        self.cost(tries, len(self.sizes) - len(tuned))
        self.do("train", [c for c in tries if not self.whole(c)], "trainings that choose the rates")
        chosen = {(start, rows): self.choice(start, rows) for start, rows in product(STARTS, tuned)}
        chosen |= {(start, rows): chosen[start, self.most] for start, rows in product(STARTS, self.sizes)
                   if (start, rows) not in chosen}  # fmt: skip
        taken = [
            Cell(start, chosen[start, rows], rows, seed)
            for seed, rows, start in product(study.seeds_of(), self.sizes, STARTS)
        ]
        self.forget(set(tries) - set(taken))
        self.do("score", [c for c in taken if not self.at(c, SCORE).is_file()], "starts at their rates")
        walked = [c for c in taken if self.walked(c)]
        files = [self.bench.out / file_of(self.bench, c) for c in walked]
        self.do("walk", [c for c, file in zip(walked, files, strict=True) if not file.is_file()], "ways")
        self.forget(taken)
        grids = {
            start: grid_of(study, self.tried(start, self.most), chosen[start, self.most]) for start in STARTS
        }
        return summary(
            self.bench, name, self.sizes, chosen, grids,
            {c: read_json(self.at(c, DONE)) for c in taken},
            {c: read_json(self.at(c, SCORE)) for c in taken},
            [read_json(file) for file in files],
        )  # fmt: skip

    # -- cells -------------------------------------------------------------------------------------------------

    def at(self, cell: Cell, name: str) -> Any:
        return self.bench.folder(cell) / name

    def whole(self, cell: Cell) -> bool:
        return bool(self.at(cell, DONE).is_file())

    def walked(self, cell: Cell) -> bool:
        """Whether the way of this cell, at its chosen rate, is drawn."""
        return cell.start in PATHS and cell.rows == self.most and cell.seed == self.bench.study.seed

    def forget(self, cells: Iterable[Cell]) -> None:
        """Drop weights that nothing will read: they are the bulk of a study, and can be trained again."""
        for cell in cells:
            self.at(cell, WEIGHTS).unlink(missing_ok=True)

    def tried(self, start: str, rows: int) -> dict[float, list[float]]:
        """Leading score on dev by rate, a number a seed, for the rates of the grid."""
        leading = self.bench.p.task.leading(self.bench.p.labels)
        return {
            rate: [
                read_json(self.at(Cell(start, rate, rows, seed), DONE))["dev"][leading]
                for seed in self.bench.study.seeds_of()
            ]
            for rate in self.grids[start]
        }

    def choice(self, start: str, rows: int) -> float:
        """The rate with the highest median on dev; of equals the lower one."""
        found = self.tried(start, rows)
        return max(found, key=lambda rate: (median(found[rate]), -rate))

    def do(self, what: str, cells: Sequence[Cell], words: str) -> None:
        """Do one kind of job for these cells, and say how far it is."""
        if not cells:
            return
        began, done = time.perf_counter(), 0

        def see(event: Json) -> None:
            nonlocal done
            if event["event"] != "job":
                self.watch(event)
                return
            done += 1
            cell = Cell(**event["cell"])
            if what == "score" and not self.walked(cell):
                self.forget([cell])
            left = (time.perf_counter() - began) / done * (len(cells) - done)
            rest = f", about {show_seconds(left)} left" if done < len(cells) else ""
            self.watch(
                {
                    "event": "say",
                    "text": f"{words}: {done} of {len(cells)} ({cell.name}){rest}",
                }
            )

        jobs = [
            {"do": what, "cell": {"start": c.start, "rate": c.rate, "rows": c.rows, "seed": c.seed}}
            for c in cells
        ]
        run(self.bench, self.words, jobs, self.workers, self.threads, see)

    # -- cost --------------------------------------------------------------------------------------------------

    def cost(self, tries: Sequence[Cell], later: int) -> None:
        """Say what is to be done and how long it will take, from a few updates of both kinds and one measurement.

        `later`: numbers of rows that are trained at rates which the others choose.
        """
        bench, study = self.bench, self.bench.study
        todo = [c for c in tries if not self.whole(c)]
        rest = [
            Cell(start, 0.0, rows, seed)
            for seed, rows, start in product(study.seeds_of(), self.sizes[:-1] if later else (), STARTS)
            if not any(self.bench.out.glob(f"cells/{start}-rows{rows}-*-seed{seed}/{SCORE}"))
        ]
        cells = [*todo, *rest]
        before = len(tries) + later * len(STARTS) * study.seeds - len(cells)
        if before:
            self.say(f"{before} trainings were finished before")
        kind = f"-{study.plane}" if study.surface else ""
        names = {start: f"way-{start}-rows{self.most}-*-seed{study.seed}{kind}.json" for start in PATHS}
        walks = [start for start, name in names.items() if not any(bench.out.glob(name))]
        if not cells and not walks:
            return
        step, look, loss, score = self.timed()
        looks = len(places(bench.steps))
        whole = (
            score * len(bench.p.parts["dev"].examples) / min(study.sample, len(bench.p.parts["dev"].examples))
        )
        seconds = sum(bench.steps * step[c.start == "frozen"] + looks * look + whole for c in cells)
        points = len(ALPHAS) + (len(ACROSS) * len(UP) if study.surface else 0)
        walk = points * loss + (bench.steps * step[False] + looks * look if study.surface else 0)
        grid = ", ".join(f"{start} {'/'.join(f'{r:g}' for r in self.grids[start])}" for start in STARTS)
        self.say(f"rates to choose from on dev: {grid}")
        self.say(
            f"{len(cells)} trainings of {bench.steps:,} updates: {len(STARTS)} starts, {study.seeds} seeds"
            + (f", {len(self.sizes)} numbers of rows" if len(self.sizes) > 1 else "")
            + f"; {1000 * step[False]:.0f} ms an update ({1000 * step[True]:.0f} with a frozen body), {looks} "
            f"measurements of {1000 * look:.0f} ms each: {show_seconds(max(0.1, seconds))} of computing"
        )
        if walks:
            plane = f", {len(ACROSS) * len(UP)} of them on the surface" if study.surface else ""
            self.say(
                f"the ways of {len(walks)} starts: {points} losses each{plane}, {1000 * loss:.0f} ms a loss: "
                f"{show_seconds(max(0.1, walk * len(walks)))}"
            )
        size = sum(v.numel() for v in begin(bench.p, "scratch", study.seed).parameters())
        kept = sum(1 for c in todo if c.start != "frozen") * 4 * size
        total = (seconds + walk * len(walks)) / self.workers
        self.say(
            f"together about {show_seconds(max(0.1, total))} with {self.workers} at a time, and up to "
            f"{show_bytes(kept)} of disk until the rates are chosen"
        )

    def timed(self) -> tuple[dict[bool, float], float, float, float]:
        """Measured seconds of an update (by whether the body is frozen), a look, a loss of the sample, its score."""
        threads = torch.get_num_threads()
        if self.workers > 1:
            torch.set_num_threads(self.threads)
        rates = {start: self.grids[start][0] for start in STARTS}
        cells = {start: Cell(start, rates[start], self.most, self.bench.study.seed) for start in STARTS}
        fixed, dev = self.bench.samples(cells["scratch"])
        p = self.bench.p
        short = replace(self.bench, steps=TIMED, p=replace(p, parts={**p.parts, "dev": dev.part}))
        step = {
            start == "frozen": train(short, cells[start], lambda event: None)[0]["step_seconds"]
            for start in ("scratch", "frozen")
        }
        model = begin(p, "scratch", self.bench.study.seed).to(self.bench.device)
        began = time.perf_counter()
        loss_of(p.task, model, fixed.batches)
        loss = time.perf_counter() - began
        score_of(p, model, dev.part, self.bench.device)
        score = time.perf_counter() - began - loss
        torch.set_num_threads(threads)
        return step, 2 * loss + score, loss, score

    def say(self, text: str) -> None:
        self.watch({"event": "say", "text": text})
