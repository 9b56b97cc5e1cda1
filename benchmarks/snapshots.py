"""What a snapshot costs: seconds to write one, for the sizes mini and base, and of how long a run 24 are 1 %.

    python -m benchmarks.snapshots [--quick] [--run RUN]

The masters of a freshly drawn body are cast to bf16 and written as a pre-training does it, twelve times (--quick: five,
mini alone), to the folder of temporary files. With --run nothing is made: the seconds that a real run wrote into its
metrics.jsonl (a line a snapshot) are added up beside its own time, which is the figure that counts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from unmask.jobs.snapshots import Keeper
from unmask.models import sized
from unmask.recipes.network import Network
from unmask.run import Run
from unmask.settings import show_seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="mini alone, five times")
    parser.add_argument("--run", type=Path, help="a run of `unmask pretrain`: what its snapshots cost it")
    options = parser.parse_args()
    if options.run is not None:
        lines = Run.open(options.run).metrics()
        took = [line["snapshot"] for line in lines if "snapshot" in line]
        whole = lines[-1]["seconds"]
        print(
            f"{len(took)} snapshots, {sum(took):.2f} s of {whole:.1f} s: {100 * sum(took) / whole:.2f} % of the run"
        )
        return
    for size in ("mini",) if options.quick else ("mini", "base"):
        shape = sized("bert", size, 8192, 128)
        weights = dict(Network(shape, pair=False).named_parameters())
        with tempfile.TemporaryDirectory() as folder:
            keeper = Keeper(
                Path(folder),
                count=24,
                total=None,
                start=0,
                working=torch.bfloat16,
                say=lambda text: print(text),
            )
            taken = range(5 if options.quick else 12)
            found = [keeper.keep(dict(weights), step, 0.0, 0, 0.0) or 0.0 for step in taken]
            if len(list(Path(folder).rglob("step-*.safetensors"))) < len(taken):
                raise SystemExit("a snapshot could not be written: its seconds say nothing")
        middle = statistics.median(found)
        print(
            f"{size}: {1000 * middle:.1f} ms a snapshot ({1000 * min(found):.1f} to {1000 * max(found):.1f}); "
            f"24 are 1 % of a run of {show_seconds(2400 * middle)}"
        )


if __name__ == "__main__":
    main()
