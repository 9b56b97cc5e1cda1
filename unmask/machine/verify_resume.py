"""Is a stopped run the same run, with these settings on this machine? Tried out, and certified as JSON.

The user's own settings train for some updates in processes of their own: undisturbed; killed (SIGKILL) at random
instants and started again; and as two processes. The final weights, moments and model of the first two are compared
byte by byte. Two processes add in another order, so of them the losses are compared. How many updates that is follows
from the time that is given: a few are timed first. Whatever else differs from the user's run is said: the number of
updates, so the schedule is a short one of the same shape, and how often checkpoints are written; shares (--shard),
snapshots and logs are left out.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unmask import __version__
from unmask.errors import UnmaskError
from unmask.jobs.adapt import model_folder
from unmask.machine.compare import apart, difference, losses
from unmask.machine.sitting import READY
from unmask.models import size_of
from unmask.models.weights import load_pretrained
from unmask.processes import device
from unmask.randomness import generator
from unmask.recipes import Recipe
from unmask.run import machine, write_json
from unmask.settings import to_json
from unmask.store import Store
from unmask.train import working_precision
from unmask.training import Training, resolved

Say = Callable[[str], None]
TIMED = 3  # updates of the first, timed run
FEW, MOST = 6, 400  # updates of the others
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # nats between the losses of one process and of two
FIRST = 4  # updates over which they must be so close; later ones drift apart, as rounding is enlarged
TAIL = 400  # characters of what a failed process said


@dataclass(frozen=True)
class Setting:
    """What is verified."""

    recipe: Recipe
    corpus: Path
    size: str
    training: Training
    source: Path | None

    def job(self, out: Path) -> dict[str, Any]:
        return {
            "recipe": self.recipe.NAME, "settings": to_json(self.recipe), "corpus": str(self.corpus), "size": self.size,
            "training": to_json(self.training), "source": str(self.source) if self.source else None, "out": str(out),
        }  # fmt: skip


def verify_resume(
    recipe: Recipe,
    corpus: str | Path,
    *,
    size: str = "mini",
    training: Training | None = None,
    source: Path | None = None,
    seconds: float = 90.0,
    kills: int = 3,
    seed: int = 0,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Verify, in about `seconds`, and return the certificate; its "holds" is the verdict.

    `kills` is how often the run is killed, `seed` that of the instants. Raises UnmaskError for settings that cannot
    work, before anything is started.
    """
    if kills < 1:
        raise UnmaskError(f"kills is {kills} — at least 1 is needed to verify anything — give more")
    if source is not None:  # the body's own size has its own rate and batch, as in `pretrain`
        size = size_of(load_pretrained(model_folder(Path(source))).shape)
    chosen = resolved(recipe, size, training or Training())
    assert chosen.batch is not None
    Store(Path(corpus))  # a folder that is none is told before any process is started
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="unmask-verify-") as name:
        folder = Path(name)
        short = replace(
            chosen, steps=TIMED, budget=None, shard=False, snapshots=0, log=(), checkpoint_every=1e9
        )
        setting = Setting(recipe, Path(corpus), size, short, source)
        say(f"timing {TIMED} updates")
        whole = sit(setting, folder / "timed")
        steps, update = how_many(folder / "timed", whole, seconds, kills)
        # About twenty checkpoints on the way: enough that a kill loses little, few enough that they take no time.
        short = replace(short, steps=steps, checkpoint_every=steps * update / 20)
        setting = replace(setting, training=short)
        if steps == FEW:
            say(
                f"an update takes {update:.1f} s, so the {FEW} that are needed may take longer than {seconds:.0f} s; "
                "a smaller --batch or --size is quicker"
            )
        say(f"{steps} updates, undisturbed")
        straight = sit(setting, folder / "straight")
        killed, events = kill_and_resume(setting, folder / "killed", straight, kills, seed, say)
        found = difference(folder / "straight", folder / "killed")
        two = two_processes(setting, folder, say)
        certificate = {
            "holds": not found.different and two.get("holds", True),
            "recipe": recipe.NAME,
            "settings": to_json(recipe),
            "size": size,
            "training": to_json(replace(chosen, shard=False, snapshots=0, log=())),
            "corpus": str(corpus),
            "updates": steps,
            "bytes_compared": found.compared,
            "bytes_different": found.different,
            "kills": events,
            "two_processes": two,
            "seed": seed,
            "seconds": {
                "undisturbed": straight, "killed and resumed": killed, "two processes": two.get("seconds"),
                "in all": time.perf_counter() - began,
            },
            "precision": str(working_precision(chosen.precision, device())).removeprefix("torch."),
            "machine": machine(),
            "unmask": __version__,
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }  # fmt: skip
    return certificate


def start(setting: Setting, out: Path, processes: int = 1) -> subprocess.Popen[str]:
    """Begin a sitting; what it says goes to a file beside `out`."""
    job, said = out.with_suffix(".json"), out.with_suffix(".log")
    job.write_text(json.dumps(setting.job(out)), encoding="utf-8")
    module = ["-m", "unmask.machine.sitting", str(job)]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    package = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with open(said, "w", encoding="utf-8") as file:
        return subprocess.Popen(
            [sys.executable, *(launch if processes > 1 else []), *module],
            stdout=subprocess.PIPE, stderr=file, text=True, env=environment,
        )  # fmt: skip


def wait_ready(process: subprocess.Popen[str]) -> float:
    """When the sitting has imported everything and begins."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == READY:
            break
    return time.perf_counter()


def finish(process: subprocess.Popen[str], out: Path) -> None:
    """Wait for the end of a sitting. Raises UnmaskError, with what it said, where that was not a good one."""
    code = process.wait()
    if code:
        said = out.with_suffix(".log").read_text(encoding="utf-8", errors="replace").strip()
        if code == 2:
            raise UnmaskError(said.splitlines()[-1])
        raise UnmaskError(
            f"a training that nobody disturbed ended with {code} — 0 was expected — it said: {cause(said)}"
        )


def cause(said: str) -> str:
    """What a failed process said of why: of several the first to fail, and not the summary of torchrun."""
    errors = re.findall(r"^(?:\[rank\d+\]: )?((?:\w+\.)*\w*Error: .+)$", said, re.MULTILINE)
    return str(errors[0])[:TAIL] if errors else said[-TAIL:]


def sit(setting: Setting, out: Path, processes: int = 1) -> float:
    """A sitting to its end; its seconds from when it was ready."""
    process = start(setting, out, processes)
    began = wait_ready(process)
    finish(process, out)
    return time.perf_counter() - began


def how_many(run: Path, whole: float, seconds: float, kills: int) -> tuple[int, float]:
    """(updates that fit, seconds an update), from a run of `TIMED` updates that took `whole` seconds."""
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    at = [line["seconds"] for line in metrics if line.get("loss") is not None]
    if len(at) < 2:
        raise UnmaskError(
            f"the loss was no number in {TIMED - len(at)} of {TIMED} updates — a training that goes on was expected — "
            "lower --learning-rate"
        )
    update = max((at[-1] - at[0]) / (len(at) - 1), 1e-4)
    around = (
        max(0.0, whole - TIMED * update) + 4.0
    )  # what a sitting takes beside updates: to import, to write
    # Undisturbed, about one and a half times more with the kills, and two processes on the same cores.
    fits = (seconds - (kills + 3) * around) / (3.5 * update)
    return int(min(max(fits, FEW), MOST)), update


def kill_and_resume(
    setting: Setting, out: Path, straight: float, kills: int, seed: int, say: Say
) -> tuple[float, list[dict[str, Any]]]:
    """The run, killed `kills` times at random instants of what it has left; (seconds in all, the kills)."""
    took, events = 0.0, []
    left = straight
    for number in range(kills):
        rng = generator(seed, "verify-resume", number)
        after = float(rng.uniform(0.05, 0.8 if number else 0.5)) * left
        process = start(setting, out)
        began = wait_ready(process)
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        else:
            finish(
                process, out
            )  # it was quicker than the undisturbed one: its bytes are compared all the same
            say("it reached its end before the next kill")
            break
        lasted = time.perf_counter() - began
        took += lasted
        newest = max((p.name for p in (out / "checkpoints").glob("step-*")), default="")
        step = int(newest.removeprefix("step-")) if newest else 0
        left = max(0.2 * straight, straight * (1 - step / (setting.training.steps or 1)))
        events.append({"seconds": lasted, "goes_on_from": step})
        say(f"killed after {lasted:.1f} s, it goes on from step {step}")
    return took + sit(setting, out), events


def two_processes(setting: Setting, folder: Path, say: Say) -> dict[str, Any]:
    """The same as two processes: how far apart the losses are. Says why where that cannot be tried here."""
    training = setting.training
    assert training.batch is not None
    if training.batch < 2 * training.accumulate:
        return {"tried": False, "why": f"a batch of {training.batch} cannot be shared by two"}
    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        return {"tried": False, "why": "there is one GPU"}
    say(f"{training.steps} updates, two processes")
    out = folder / "two"
    try:
        took = sit(setting, out, processes=2)
    except UnmaskError as error:
        return {"tried": True, "holds": False, "why": str(error)}
    bound = CLOSE[working_precision(training.precision, device())]
    far = apart(folder / "straight", out, FIRST)
    return {
        "tried": True,
        "holds": far <= bound,
        "apart": far,
        "bound": bound,
        "updates": FIRST,
        "apart_in_all": apart(folder / "straight", out),
        "updates_in_all": len(losses(out)),
        "seconds": took,
    }


def store(certificate: dict[str, Any], out: Path) -> Path:
    """Write it into evaluation/resume.json of a run, or to a file. Raises UnmaskError for another folder."""
    path = place(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, certificate)
    return path


def place(out: Path) -> Path:
    """Where the certificate will lie: asked before the work, so that it is not done for nothing."""
    if not out.is_dir():
        return out
    if not (out / "run.json").is_file():
        raise UnmaskError(
            f"{out} is a folder without a run — a run folder or a file was expected — correct --out"
        )
    return out / "evaluation" / "resume.json"


def words(certificate: dict[str, Any]) -> str:
    """The certificate in sentences."""
    c = certificate
    about, two = c["machine"], c["two_processes"]
    kills = c["kills"]
    at = ", ".join(str(one["goes_on_from"]) for one in kills)
    same = (
        f"the same bytes as the one that nobody disturbed: 0 of {c['bytes_compared']:,} differ"
        if not c["bytes_different"]
        else f"OTHER bytes: {c['bytes_different']:,} of {c['bytes_compared']:,} differ"
    )
    lines = [
        f"{'holds' if c['holds'] else 'DOES NOT HOLD'}: {c['recipe']}, {c['size']}, {c['updates']} updates, "
        f"{c['precision']}, unmask {c['unmask']}",
        f"  killed (SIGKILL) {len(kills)} times and resumed (from step {at or '–'}): {same} (weights, moments, model)",
    ]
    if not two["tried"]:
        lines.append(f"  two processes: not tried, {two['why']}")
    elif "apart" not in two:
        lines.append(f"  two processes: they FAILED: {two['why']}")
    else:
        lines.append(
            f"  two processes: losses of the first {two['updates']} updates apart by {two['apart']:.1e} nats at most "
            f"({'within' if two['holds'] else 'NOT within'} {two['bound']:.0e}), of all {two['updates_in_all']} by "
            f"{two['apart_in_all']:.1e}"
        )
    lines.append(
        f"  on {about['processor']}, {about['threads']} threads, torch {about['torch']}, Python {about['python']}; "
        f"{c['seconds']['in all']:.0f} s, instants by seed {c['seed']}"
    )
    return "\n".join(lines)
