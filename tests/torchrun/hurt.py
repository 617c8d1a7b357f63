"""The course's command line, hurt once: ``hurt.py SIGNAL RANK STEP MARKER train …`` sends a signal to the process of a
rank in the middle of a step, unless the marker file says that this has happened."""

import os
import signal
import sys
from pathlib import Path

import torch

from convnext_lessons.cli import main

name, rank, when, marker = sys.argv[1:5]
steps, step = 0, torch.optim.AdamW.step


def hurt(self, *args, **kwargs):
    global steps
    steps += 1
    if steps == int(when) and os.environ.get("RANK", "0") == rank and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), getattr(signal, name))
    return step(self, *args, **kwargs)


torch.optim.AdamW.step = hurt
sys.exit(main(sys.argv[5:]))
