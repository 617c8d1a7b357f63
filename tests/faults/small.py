"""Runs so small that one takes less than a second, and what it means that a run ended as if nothing had been."""

import functools
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from children import check, live
from PIL import Image
from slips import slips

from convnext_lessons.data import load_images, open_images, stand_in
from convnext_lessons.data.tar_shards import write_shards
from convnext_lessons.model import LAST_STEP, architecture_after
from convnext_lessons.runs import PAPER, Experiment, RunStore
from convnext_lessons.system.settings import data_folder
from convnext_lessons.training import TrainOptions, train
from convnext_lessons.training.checkpoints import NAMES

# Everything random that the paper's recipe has: eight steps, each with a checkpoint.
AVERAGED = PAPER.change(
    name="small", image_size=32, width_factor=1 / 16, epochs=2, batch_size=4, warmup_epochs=0.5, ema=0.9
)
IN_MEMORY = AVERAGED.change(augmentation="batches")
PICTURES = {"train": 8, "val": 4}  # in each of two classes

BATCH_NORM, LAYER_NORM, ON_DISK, IN_TARS, WITH_LOADERS = SETTINGS = (
    "BatchNorm, in memory",
    "LayerNorm, average, in memory",
    "LayerNorm, average, on disk",
    "LayerNorm, average, in tar files",
    "LayerNorm, average, on disk, a loader process",
)

NO_TEXT = bytes(range(128, 256)) * 2  # noise must not happen to be another number
TIMES = ("seconds", "images_per_second", "waiting")  # of a curve's points, which no two runs share


def write_pictures(folder: Path) -> Path:
    """A data set of noise in two classes."""
    noise = np.random.default_rng(0)
    for split, count in PICTURES.items():
        for name in "ab":
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 256, (40, 48, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.jpg")
    return folder


class Runs:
    """The small runs, each made once without a fault.

    Args:
        place: a folder for the pictures and the unbroken runs.
        server: the address of a server that goes wrong.
    """

    def __init__(self, place: Path, server: str):
        self.place, self.server = place, server
        self.pictures = write_pictures(place / "pictures")
        self.description = write_shards(self.pictures, place / "tars", per_shard=4)
        self.stand_in = stand_in(32, train_count=16, val_count=8)
        decoded = vars(load_images(self.pictures, 32, lambda line: None))
        self.decoded = {name: deepcopy(value) for name, value in decoded.items()}  # not the file's memory
        (self.cache,) = (data_folder() / "cache").glob("*.pt")

    def images(self, setting: str):
        if setting in (ON_DISK, WITH_LOADERS):
            return open_images(AVERAGED, str(self.pictures))
        if setting == IN_TARS:
            return open_images(AVERAGED, str(self.description))
        return self.stand_in

    def check_pictures(self) -> None:
        """The pictures in memory, out of the cache where that is whole, are what they were at first."""
        found = vars(load_images(self.pictures, 32, lambda line: None))
        check(equal(found, self.decoded), "other pictures come out of the cache")

    def train(self, setting: str, place: Path, report: Callable[[dict], object] = lambda point: None) -> None:
        """Train, or go on, in a folder."""
        step = 0 if setting == BATCH_NORM else LAST_STEP
        recipe = IN_MEMORY if setting in (BATCH_NORM, LAYER_NORM) else AVERAGED
        experiment = Experiment(architecture_after(step).change(depths=(1, 1, 1, 1)), recipe)
        options = TrainOptions(save_steps=1, workers=int(setting == WITH_LOADERS))
        store = RunStore(place / "runs.jsonl")
        train(experiment, self.images(setting), "cpu", report, store, place / "run", options)

    @functools.cache  # noqa: B019 – there is one, as long as the process
    def unbroken(self, setting: str) -> "Unbroken":
        """The run without a fault."""
        place = self.place / setting
        place.mkdir()
        start = time.monotonic()
        live(lambda: self.train(setting, place), place).check_fine()
        return Unbroken(place, time.monotonic() - start)

    @functools.cache  # noqa: B019
    def operations(self, setting: str) -> int:
        """How many operations on files the run without a fault needs."""
        place = self.place / f"{setting}, counted"
        place.mkdir()

        def counted():
            with slips(first=0) as count:
                self.train(setting, place)
            (place / "count").write_text(str(count()))

        live(counted, place).check_fine()
        return int((place / "count").read_text())

    @functools.cache  # noqa: B019
    def interrupted(self, setting: str) -> Path:
        """The same run, ended in the sixth of its eight steps, with two good checkpoints."""
        place = self.place / f"{setting}, interrupted"
        place.mkdir()
        live(lambda: self.train(setting, place, end_at_the_sixth_step), place)
        return place

    def check_ended_alike(self, setting: str, place: Path) -> None:
        """A run left what the unbroken one left, to the last bit, and nothing else."""
        whole = self.unbroken(setting).place
        check(names_in(place) == names_in(whole), f"it leaves {names_in(place)}, not {names_in(whole)}")
        one, other = (without_times(torch.load(at / "run" / "last.pt", weights_only=True)) for at in (place, whole))
        different = [key for key in other if not equal(one.get(key), other[key])]
        check(not different, f"other {', '.join(different)} than without a fault")
        check(log_of(place) == log_of(whole), "the log has other lines than without a fault")
        records = RunStore(place / "runs.jsonl").runs()
        check(len(records) == 1, f"it is recorded {len(records)} times")
        same = without_times(records[0]["curve"]) == log_of(place) and records[0]["status"] == "complete"
        check(same, "its record is another than its log")


class Unbroken:
    """Where a run without a fault is, and how long it took."""

    def __init__(self, place: Path, seconds: float):
        self.place, self.seconds = place, seconds


def end_at_the_sixth_step(point: dict[str, Any]) -> None:
    """A report that ends its process."""
    if point["pictures"] == 6 * AVERAGED.batch_size:
        os._exit(9)


def names_in(place: Path) -> list[str]:
    """The names that a run leaves; curves for TensorBoard, and the log of an attempt without a checkpoint, may be
    several."""
    found = (path.name for folder in (place, place / "run") for path in folder.iterdir())
    return sorted(name for name in found if name != "tensorboard" and not name.startswith("log.old"))


def log_of(place: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without times."""
    return without_times([json.loads(line) for line in (place / "run" / "log.jsonl").read_text().splitlines()])


def without_times(value: Any) -> Any:
    """Values of a checkpoint or a log without what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in (*TIMES, "run_id", "checksum")}
    if isinstance(value, list):
        return [without_times(inner) for inner in value]
    return value


def equal(one: Any, other: Any) -> bool:
    """Whether values of a checkpoint are the same to the last bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


def is_saved(place: Path) -> bool:
    """Whether a run has a checkpoint; with one it never begins anew, whatever that holds."""
    return any((place / "run" / name).exists() for name in NAMES)


def copy(folder: Path, place: Path) -> None:
    """The content of a folder, in another that is there."""
    shutil.copytree(folder, place, dirs_exist_ok=True)


def damage(path: Path, draw: random.Random) -> None:
    """Tear or garble a file."""
    content = bytearray(path.read_bytes())
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    kinds = {
        "cut off": content[:start],
        "empty": b"",
        "zeros": content[:start] + bytes(end - start) + content[end:],
        "noise": content[:start] + draw.randbytes(end - start).translate(NO_TEXT) + content[end:],
        "zeros behind": content + bytes(4096),
    }
    path.write_bytes(kinds[draw.choice(list(kinds))])


def flip_a_bit(path: Path, draw: random.Random) -> None:
    """Flip one bit of a file; every other time at its beginning, where names and numbers stand before the tensors."""
    content = bytearray(path.read_bytes())
    bit = draw.randrange(8 * len(content) // draw.choice((1, 20)))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
