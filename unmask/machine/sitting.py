"""One sitting of a run that is verified: a job as JSON in a file, one line on standard output when training begins.

Run as a module this file is a process that can be killed; torchrun starts it as several. It calls `pretrain`, and
replaces nothing of it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from unmask.errors import UnmaskError
from unmask.jobs.pretrain import pretrain
from unmask.recipes import RECIPES
from unmask.settings import from_json
from unmask.training import Training

READY = "ready"


def main(job: Path) -> int:
    """Do what the job says; 2 and a sentence on standard error for a user's error."""
    given = json.loads(job.read_text(encoding="utf-8"))
    if os.environ.get("RANK", "0") == "0":
        print(READY, flush=True)
    try:
        pretrain(
            from_json(RECIPES[given["recipe"]], given["settings"], "the recipe"),
            given["corpus"],
            out=given["out"],
            size=given["size"],
            training=from_json(Training, given["training"], "the training"),
            source=Path(given["source"]) if given["source"] else None,
            line=0.0,
        )
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
