"""Descriptions of tar files by strangers: training ends soon, in a sentence at worst, and no command runs."""

import gzip
import json
import random
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from children import check, live
from server import FAULTS, hurry
from small import AVERAGED, Runs
from tars import member, names_below, picture, tar_of

from convnext_lessons.data import open_images
from convnext_lessons.model import LAST_STEP, architecture_after
from convnext_lessons.runs import Experiment, RunStore
from convnext_lessons.training import TrainOptions, train

SECONDS = 15  # for a description that promises more pictures than anybody has
MEMORY = 16 * 10**9  # bytes

NAMES = (
    "pipe:touch {canary}; cat x.tar",
    "gs://bucket/$(touch {canary}).tar",
    "file://{canary}",
    "ftp://127.0.0.1:1/x.tar",
    "scp:host:`touch {canary}`",
    "../victim.tar",
    "/etc/hostname",
    "x|touch {canary}",
    "{{000000..999999999}}.tar",
    "http://[x/y.tar",
    "http://127.0.0.1:1/x.tar",
    "",
    ".",
    "\0",
    "\n",
    "\udcff.tar",
)
COUNT = ("many", None, 3.5, -1, True, 0, 1, 10**9, 10**10, 10**11, 10**400, [], {}, 1e999)
COUNTS = ([1], [-4] * 4, "many", [None], 7, True)
SETS = (
    {"train": []},
    {"val": {"count": 0, "shards": []}},
    {"val": {"count": 4, "shards": []}},
    {"classes": []},
    {"classes": ["a", "b", 7]},
    {"classes": "ab"},
    {"classes": ["<script>", "\x1b[31m"]},
    {"note": 7},
    {"note": "\x1b]0;title\x07\n\n"},
)


def labelled(label: bytes, name: str = "a") -> bytes:
    """A tar file of one picture with a label."""
    return tar_of((f"{name}.jpg", picture()), (f"{name}.cls", label))


def claiming(size: int) -> bytes:
    """A tar file whose only file says that it is that large."""
    return member("a.jpg", size=size)[0].tobuf() + bytes(10240)


LABELS = (b"2", b"-1", b"99", b"cat", b"", b"1.0", b"9" * 5000, b"\xc2\xb2", b"\xff", b"\n0\n", b"1_0")
TARS = (
    b"",
    bytes(10240),
    b"no tar file",
    tar_of(),
    *map(labelled, LABELS),
    labelled(b"0", "a\nb"),
    labelled(b"7", "a\nb"),
    labelled(b"7", "a\udcff\x1b[31m"),
    labelled(b"7", "../../a"),
    tar_of(("a.jpg", b"no picture"), ("a.cls", b"0")),
    tar_of(("a.cls", b"0")),
    tar_of(("nothing", b"x")),
    tar_of(("a.jpg", picture()), ("a.jpg", picture()), ("a.cls", b"0")),
    tar_of(*((f"{number}", b"") for number in range(2000))),
    claiming(10**12),
    claiming(4 * 10**8),
    gzip.compress(bytes(30_000_000)),
    gzip.compress(tar_of(*((f"{number}", bytes(10**6)) for number in range(30)))),
)

Change = Callable[[dict[str, Any], str, Path, str, random.Random], None]


def other_names(content, split, folder, server, draw):
    canary = folder.parent / "canary"
    content[split] |= {"shards": [draw.choice(NAMES).format(canary=canary)], "counts": []}


def another_count(content, split, folder, server, draw):
    content[split] |= {"count": draw.choice(COUNT), "counts": []}


def other_counts(content, split, folder, server, draw):
    content[split]["counts"] = draw.choice(COUNTS)


def another_set(content, split, folder, server, draw):
    content |= draw.choice(SETS)


def another_tar_file(content, split, folder, server, draw):
    (folder / "odd.tar").write_bytes(draw.choice(TARS))
    content[split] |= {"shards": ["odd.tar"], "counts": []}


def another_server(content, split, folder, server, draw):
    content[split]["shards"] = [f"{server}/{draw.choice(FAULTS)}{folder}/{name}" for name in content[split]["shards"]]


CHANGES: tuple[Change, ...] = (
    other_names,
    another_count,
    other_counts,
    another_set,
    another_tar_file,
    another_server,
)


def follow_index(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Train on what a hostile description says; ``number`` chooses what is wrong with it."""
    folder = place / "tars"
    shutil.copytree(runs.description.parent, folder)
    path = folder / "shards.json"
    content = json.loads(path.read_text())
    CHANGES[number % len(CHANGES)](content, draw.choice(("train", "val")), folder, runs.server, draw)
    path.write_text(json.dumps(content))
    before, start = names_below(place), time.monotonic()
    address = draw.choice((str(path), f"{runs.server}/fine{path}"))
    live(lambda: train_on(address, place), place).check_fine_or_refused()
    check(time.monotonic() - start < 3 * SECONDS, "it goes on and on")
    new = {name for name in names_below(place) - before if not name.startswith(("run", ".runs"))}
    check(not new, f"it makes {new}")
    return 1


def train_on(address: str, place: Path) -> None:
    """Train for an epoch, without patience or much memory."""
    hurry()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    experiment = Experiment(architecture_after(LAST_STEP).change(depths=(1, 1, 1, 1)), AVERAGED.change(epochs=1))
    options = TrainOptions(workers=0, seconds=SECONDS)
    store, images = RunStore(place / "runs.jsonl"), open_images(AVERAGED, address)
    train(experiment, images, "cpu", store=store, folder=place / "run", options=options)
