"""A run in processes of its own, followed from here by its log."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from convnext_lessons.system.errors import in_a_line
from convnext_lessons.training.checkpoints import read_log
from convnext_lessons.training.trainer import Point, TrainingError

WORDS = "words.txt"  # in the run's folder: what its processes print


def follow(command: Sequence[str], folder: str | Path, report: Callable[[Point], object], pause: float = 1.0) -> None:
    """Start a training and report each point of its log until it ends; those of a resumed run from the first.

    An interruption asks the run to save and end, and waits for that.

    Args:
        command: which trains in the folder, such as one that begins with ``torchrun``.
        folder: which exists already.
        pause: seconds between two looks at the log.

    Raises:
        TrainingError: the command failed; with its last line.
    """
    folder, told = Path(folder), 0
    with open(folder / WORDS, "a", encoding="utf-8") as words:
        run = subprocess.Popen(command, stdout=words, stderr=words, start_new_session=True)
        try:
            ended = False
            while not ended:
                ended = run.poll() is not None  # looked at first, so that the last points are not missed
                points = read_log(folder) if (folder / "log.jsonl").exists() else []
                for point in points[told:]:
                    report(point)
                told = len(points)
                if not ended:
                    time.sleep(pause)
        finally:
            run.terminate()
            run.wait()
    if run.returncode:
        last = (folder / WORDS).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise TrainingError(
            f"The training ended with status {run.returncode} ({in_a_line(*last or ['without a word'])}); "
            f"{folder / WORDS} has all that it said."
        )
