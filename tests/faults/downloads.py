"""Servers that go wrong: a download is refused in a sentence, goes on where it broke off, and leaves nothing half."""

import hashlib
import random
from dataclasses import replace
from pathlib import Path

from children import check, live
from server import FAULTS, hurry
from small import Runs
from tars import NAME, SMALL, whole_set, write_archive

from convnext_lessons.data.datasets import dataset_folder

WHOLE = {f".{NAME}.lock", NAME}
ODD_BUT_RIGHT = ("no_range", "no_length")


def download(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Fetch a data set from a server that goes wrong once or twice, then well; ``number`` chooses the first fault."""
    archive, root = write_archive(place / "a.tgz", whole_set()), place / "root"
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()

    def fetch(fault):
        dataset = replace(SMALL, md5=md5, address=f"{runs.server}/{fault}{archive}")
        dataset_folder(dataset, root, lambda line: None)

    def fetch_in_a_hurry(fault):
        hurry()
        fetch(fault)

    later = draw.choices((*FAULTS, *ODD_BUT_RIGHT), k=draw.randint(0, 1))
    for fault in (FAULTS[number % len(FAULTS)], *later):
        end = live(lambda fault=fault: fetch_in_a_hurry(fault), place)
        end.check_fine_or_refused()
        left = names_in(root)
        check(left <= {*WHOLE, f".{NAME}.tgz.download"}, f"{fault} leaves {left}")
        check((end.status == 0) == (NAME in left), f"{fault} leaves half a data set")
    live(lambda: fetch("fine"), place).check_fine()
    check(names_in(root) == WHOLE, f"the download leaves {names_in(root)}")
    return 1


def names_in(folder):
    return {path.name for path in folder.iterdir()}
