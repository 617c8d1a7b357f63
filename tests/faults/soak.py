"""Break things for some minutes: each round is one kind of fault, drawn from a seed; then one line of counts.

``python soak.py --minutes 5``; ``--only KIND --seed SEED --count 1`` repeats the round of a fault that was found.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from archives import unpack
from children import Fault
from downloads import download
from indexes import follow_index
from orphans import orphan
from runs import crash, fill_the_disk, flip, kill, tear
from server import serving
from small import Runs


@dataclass
class Kind:
    """A kind of fault.

    Attributes:
        name: in the line of counts.
        share: of the time.
        one: makes the fault once, or a few times, and says how often.
        bad: what those are called that the course did not stand.
    """

    name: str
    share: float
    one: Callable[..., int]
    bad: str
    count: int = 0
    rounds: int = 0
    lost: list[int] = field(default_factory=list)  # the seeds of these
    seconds: float = 0.0

    def round(self, runs: Runs, seed: int) -> None:
        """Make the next fault, which belongs to a seed."""
        start, seed = time.monotonic(), seed + self.rounds
        with tempfile.TemporaryDirectory(dir=runs.place) as folder:
            try:
                self.count += self.one(runs, Path(folder), random.Random(f"{self.name} {seed}"), seed)
            except Exception as error:
                self.count += 1
                self.lost.append(seed)
                words = str(error) if isinstance(error, Fault) else traceback.format_exc()
                print(f"{self.bad}: --only {self.name!r} --seed {seed} --count 1: {words}", flush=True)
        self.rounds += 1
        self.seconds += time.monotonic() - start

    def __str__(self):
        return f"{self.name} {self.count} {self.bad} {len(self.lost)}"


KINDS = (
    Kind("kills", 0.28, kill, "lost"),
    Kind("crash points", 0.2, crash, "lost"),
    Kind("full disks", 0.1, fill_the_disk, "lost"),
    Kind("torn files", 0.08, tear, "lost"),
    Kind("bit flips", 0.12, flip, "silent"),
    Kind("archives", 0.02, unpack, "escaped"),
    Kind("indexes", 0.05, follow_index, "wrong"),
    Kind("downloads", 0.05, download, "wrong"),
    Kind("orphans", 0.1, orphan, "left"),
)


def soak(runs: Runs, kinds: tuple[Kind, ...], seed: int, minutes: float, count: int) -> None:
    """Go round the kinds, each with its share of the time, until the minutes are over or there were so many faults."""
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end and sum(kind.count for kind in kinds) < count:
        min(kinds, key=lambda kind: kind.seconds / kind.share).round(runs, seed)


def in_memory() -> str | None:
    """A folder in memory, where there is one with room: a process that dies loses no more there than on a disk."""
    folder = "/dev/shm"
    return folder if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 1e9 else None


def set_environment(folder: Path) -> None:
    """For everything that is started here: one thread, a data folder of its own, and nothing that cuts runs down."""
    os.environ |= {"OMP_NUM_THREADS": "1", "CONVNEXT_LESSONS_DATA": str(folder / "data")}
    for name in ("CONVNEXT_LESSONS_FAST", "CONVNEXT_LESSONS_IMAGES"):
        os.environ.pop(name, None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--count", type=int, default=sys.maxsize, help="end after so many faults")
    parser.add_argument("--only", choices=[kind.name for kind in KINDS], help="one kind of fault")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first round")
    options = parser.parse_args()
    kinds = tuple(kind for kind in KINDS if options.only in (None, kind.name))
    print(f"seed {options.seed}", flush=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of damage, which is what this is for
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder, serving() as address:
        set_environment(Path(folder))
        soak(Runs(Path(folder), address), kinds, options.seed, options.minutes, options.count)
    print(f"faults {sum(kind.count for kind in kinds)}: {' · '.join(map(str, kinds))}")
    return int(any(kind.lost for kind in kinds))


if __name__ == "__main__":
    sys.exit(main())
