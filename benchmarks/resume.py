"""Kills at random instants: does the same command end in the same bytes as a run that nobody disturbed?

    python -m benchmarks.resume --quick     about a dozen SIGKILLs, well under a minute
    python -m benchmarks.resume             two hundred mishaps: SIGKILL, also while a checkpoint is being written;
                                            SIGTERM; Ctrl-C; full disks; cut and flipped newest checkpoints;
                                            fine-tunings; then two and four processes (--mishaps N: the first N)

A run is disturbed some times, each time the same command is given again, and its final weights, moments and model are
compared with the undisturbed run's. A mishap is survived if that run reached its end with no byte of difference (and
if what a person must be told was said). The mishaps and their instants come from --seed; which update an instant
falls into is the machine's affair. Exit code 0 only if all were survived; the last line is `survived X of Y`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the bytes are those of one thread
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from benchmarks.mishaps import KINDS, Disk, Happened, happen
from benchmarks.sittings import Ended, import_as, sit
from unmask.errors import UnmaskError
from unmask.machine.compare import apart, difference
from unmask.randomness import generator

WORDS = "cat dog house river garden stone tree boat bird road hill lake".split()
QUICK, LONG = 12, 200  # mishaps
STEPS = 60
MANY = 4  # mishaps a run at most, so that each one ends
SHARES = {  # of the long form
    "kill": 70, "in-write": 25, "term": 25, "ctrl-c": 20, "disk": 25, "cut": 10, "flip": 15, "finetune": 10,
}  # fmt: skip
CLOSE = 1e-5  # nats between the losses of one process and of several, fp32
TOGETHER = 6  # updates of several processes


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} kills")
    parser.add_argument(
        "--mishaps", type=int, default=LONG, help=f"the first so many of the {LONG}, whose order is drawn"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the mishaps and their instants")
    given = parser.parse_args()
    if not 1 <= given.mishaps <= LONG:
        parser.error(f"--mishaps is {given.mishaps}: 1 to {LONG} was expected")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is mounted is unmounted
    began = time.perf_counter()
    kinds = ["kill"] * QUICK if given.quick else shuffled(given.seed)[: given.mishaps]
    with tempfile.TemporaryDirectory(prefix="unmask-resume-") as folder, Disk.made() as disk:
        survived, tried = run_all(kinds, given.seed, Path(folder), disk)
        if not given.quick:
            more = together(Path(folder))
            survived, tried = survived + more[0], tried + more[1]
    print(f"{time.perf_counter() - began:.0f} s in all, seed {given.seed}")
    print(f"survived {survived} of {tried}")
    return 0 if survived == tried else 1


def shuffled(seed: int) -> list[str]:
    """The kinds of the long form in an order of their own."""
    kinds = [kind for kind, count in SHARES.items() for _ in range(count)]
    assert len(kinds) == LONG and set(kinds) <= set(KINDS)
    return [kinds[n] for n in generator(seed, "resume order", 0).permutation(len(kinds))]


def make_material(folder: Path) -> None:
    """A corpus of random sentences and labelled rows, made in a process of its own."""
    pid = os.fork()
    if not pid:
        from unmask.corpus import Document
        from unmask.store.build import build

        draw = generator(0, "resume text", 0)

        def sentence() -> str:
            return f"The {' '.join(draw.choice(WORDS, 5))} is old."

        made = [Document("\n".join(sentence() for _ in range(6)), f"{n}", "made") for n in range(80)]
        build(documents=made, out=folder / "corpus", vocab_size=100, heldout=0.1, processes=1)
        rows = [f"{sentence()}\t{'yes' if n % 2 else 'no'}" for n in range(48)]
        (folder / "rows.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit("the corpus could not be made; what went wrong stands above")


def pretraining(folder: Path, out: Path) -> list[str]:
    return [
        "pretrain", "roberta", str(folder / "corpus"), "--out", str(out), "--size", "tiny", "--steps", str(STEPS),
        "--batch", "8", "--length", "32", "--precision", "fp32", "--snapshots", "0", "--checkpoint-every", "0.1",
    ]  # fmt: skip


def finetuning(folder: Path, out: Path) -> list[str]:
    return [
        "finetune", "classify", "--model", str(folder / "straight-pretrain"), "--train", str(folder / "rows.tsv"),
        "--out", str(out), "--seeds", "1", "--steps", "40", "--workers", "1", "--precision", "fp32",
    ]  # fmt: skip


def run_all(kinds: list[str], seed: int, folder: Path, disk: Disk) -> tuple[int, int]:
    """Let it all happen; (survived, tried)."""
    make_material(folder)
    verbs = {"pretrain": pretraining, "finetune": finetuning}
    straight = {verb: folder / f"straight-{verb}" for verb in verbs}
    took: dict[str, float] = {}
    for verb, words in verbs.items():
        if verb == "finetune" and verb not in kinds:
            continue
        for _ in range(2):  # the second time with all imported: the instants are drawn from that
            shutil.rmtree(straight[verb], ignore_errors=True)
            ended = sit(words(folder, straight[verb]), folder / "log", note=folder / "modules").end()
            if ended.code:
                raise SystemExit(f"the undisturbed run ended with {ended.code}:\n{ended.said}")
            import_as(folder / "modules")
        took[verb] = ended.seconds
        print(f"undisturbed {verb}: {took[verb]:.2f} s", flush=True)
    if "disk" in kinds:
        print(f"full disks are {disk.words}")
    survived = tried = 0
    rest = [kind for kind in kinds if kind not in ("disk", "finetune")]
    for verb, place, some in (
        ("pretrain", folder, rest),
        ("finetune", folder, [kind for kind in kinds if kind == "finetune"]),
        ("pretrain", disk.folder, [kind for kind in kinds if kind == "disk"]),
    ):
        at = 0
        while some:
            out = place / f"run-{at}"
            command = verbs[verb](folder, out)
            happened: list[Happened] = []
            for _ in range(min(MANY, len(some))):
                one = happen(
                    some[0], command, out, folder / "log", took[verb], generator(seed, verb, at), disk
                )
                at += 1
                if isinstance(one, Ended):  # the run reached its end first
                    if (
                        not happened
                    ):  # it began anew: an undisturbed run, perhaps while the machine was less busy
                        took[verb] = min(took[verb], one.seconds)
                    break
                happened.append(one)
                some = some[1:]
            wrong = finish(command, folder / "log", straight[verb], out)
            for one in happened:
                tried += 1
                good = not (wrong or one.wrong)
                survived += good
                end = "0 bytes differ" if good else f"NOT SURVIVED: {one.wrong or wrong}"
                print(f"{tried:4d}  {one.text} → {end}", flush=True)
            shutil.rmtree(out, ignore_errors=True)
    return survived, tried


def finish(words: list[str], log: Path, straight: Path, out: Path) -> str:
    """The same command to the run's end; what is wrong with that end, "" if nothing is."""
    ended = sit(words, log).end()
    if ended.code:
        return f"the last sitting ended with {ended.code}: {ended.said[-300:]}"
    try:
        found = difference(straight, out)
    except UnmaskError as error:  # it says that it ended well, and it did not
        return str(error)
    return f"{found.different:,} of {found.compared:,} bytes differ" if found.different else ""


def together(folder: Path) -> tuple[int, int]:
    """Two and four processes (torchrun, gloo) beside one: (how many of them were near, how many were tried)."""
    near = 0
    for count in (1, 2, 4):
        job = ["-m", "benchmarks.several", str(folder / "corpus"), str(folder / f"of-{count}")]
        launch = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(count),
        ]
        command = [*launch, *job]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{count} processes ended with {done.returncode}: {done.stderr[-500:]}")
            continue
        if count > 1:
            far = apart(folder / "of-1", folder / f"of-{count}")
            near += far <= CLOSE
            print(
                f"{count} processes: losses of {TOGETHER} updates apart by {far:.1e} nats at most", flush=True
            )
    return near, 2


if __name__ == "__main__":
    sys.exit(main())
