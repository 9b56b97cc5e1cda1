"""One of the processes of torchrun: a few updates in fp32, a line of metrics an update, for `benchmarks.resume`."""

from __future__ import annotations

import sys

from benchmarks.resume import TOGETHER
from unmask.jobs.pretrain import pretrain
from unmask.recipes.bert import Bert
from unmask.training import Training

if __name__ == "__main__":
    corpus, out = sys.argv[1:]
    training = Training(steps=TOGETHER, batch=8, length=32, precision="fp32", snapshots=0)
    pretrain(Bert(), corpus, out=out, size="tiny", training=training, line=0.0)
