"""The course's command line, hurt once: ``hurt.py SIGNAL RANK STEP MARKER train …`` sends a signal to the process of a
rank in the middle of a step, unless the marker file says that this has happened. With ``torchrun`` for the rank it goes
to torchrun, and every later step takes a second, so that the run does not just come to its end."""

import os
import signal
import sys
import time
from pathlib import Path

import torch

from convnext_lessons.cli import main

name, rank, when, marker = sys.argv[1:5]
steps, step = 0, torch.optim.AdamW.step


def hurt(self, *args, **kwargs):
    global steps
    steps += 1
    hurts_torchrun = rank == "torchrun"
    if hurts_torchrun and Path(marker).exists():
        time.sleep(1)
    is_the_one = os.environ.get("RANK", "0") == ("0" if hurts_torchrun else rank)
    if steps == int(when) and is_the_one and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getppid() if hurts_torchrun else os.getpid(), getattr(signal, name))
    return step(self, *args, **kwargs)


torch.optim.AdamW.step = hurt
sys.exit(main(sys.argv[5:]))
