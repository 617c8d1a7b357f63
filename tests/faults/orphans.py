"""Processes that nobody looks after any more: those of a run, or of torchrun, that was killed."""

import os
import random
import secrets
import subprocess
import sys
from pathlib import Path

from children import check, check_gone, live
from small import WITH_LOADERS, Runs

SECONDS = 10  # in which all of them have to end
STARTING = 30  # the same before the first checkpoint: who still imports torch looks around only then
HURT = Path(__file__).parents[1] / "torchrun" / "hurt.py"


def orphan(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Kill a run with a loader process, or a torchrun, at any moment."""
    mark = secrets.token_hex(8)
    (orphan_trainers if number % 2 else orphan_loaders)(runs, place, draw, mark)
    check_gone(mark, SECONDS if (place / "run" / "last.pt").exists() else STARTING)
    return 1


def orphan_loaders(runs, place, draw, mark):
    seconds = runs.unbroken(WITH_LOADERS).seconds

    def marked():
        os.environ["FAULT"] = mark  # what this process starts inherits it
        runs.train(WITH_LOADERS, place)

    live(marked, place, kill_after=draw.uniform(0.3, 1) * seconds)


def orphan_trainers(runs, place, draw, mark):
    """torchrun is killed while its processes start, or in a step, after which they are slow."""
    step = draw.choice((0, draw.randint(1, 12)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(HURT)]
    command += ["SIGKILL", "torchrun", str(step), str(place / "hurt"), "train", "--recipe", "pocket", "--device", "cpu"]
    command += ["--workers", "0", "--save-steps", "1", "--out", str(place / "run")]
    with open(place / "errors.txt", "w") as errors:
        environment = {**os.environ, "FAULT": mark, "CONVNEXT_LESSONS_FAST": "1"}
        torchrun = subprocess.Popen(command, env=environment, stdout=errors, stderr=errors)
    try:
        torchrun.wait(60 if step else draw.uniform(0.5, 1) * 12)
    except subprocess.TimeoutExpired:
        check(not step, "torchrun is not killed in a step")
        torchrun.kill()
        torchrun.wait()
