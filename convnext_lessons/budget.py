"""What a recipe costs in time: rates measured here, the price of each technique, and then days, GPU-hours and money."""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from convnext_lessons.checkpoints import Journal, read_log
from convnext_lessons.files import FileImages, images_for
from convnext_lessons.images import imagenette_folder
from convnext_lessons.loading import training_stream
from convnext_lessons.machine import CourseError, atomic, device_name, reference_folder, wait_for
from convnext_lessons.machine import device as choose_device
from convnext_lessons.recipe import PAPER, REHEARSAL
from convnext_lessons.records import SCHEMA, experiment, versions
from convnext_lessons.training import Engine, Trainer, where_they_are_needed

IMAGENET_PICTURES = 1_281_167
STEPS_UNSEEN = 4  # between two looks at the clock, for which a GPU has to be waited for
# A recipe without one of its techniques. Those of the first kind work in the loader, the others in the step.
IN_THE_LOADER = {
    "RandAugment": {"augmentation": "crops"},
    "random erasing": {"erasing": 0.0},
}
IN_THE_STEP = {
    "mixup and CutMix": {"mixup": 0.0, "cutmix": 0.0},
    "label smoothing": {"label_smoothing": 0.0},
    "stochastic depth": {"stochastic_depth": 0.0},
    "moving average": {"ema": 0.0},
}


class BudgetError(CourseError, ValueError):
    """Numbers that no budget can be made of."""


@dataclass(frozen=True)
class Budget:
    """What training takes.

    Attributes:
        recipe: a ``Recipe``.
        devices: how many GPUs share the work.
        rate: training pictures a second of one of them.
        price: of one of them for an hour, in any currency.
        pictures: of an epoch.

    Raises:
        BudgetError: a number is not above 0.
    """

    recipe: object
    devices: int
    rate: float
    price: float = 0.0
    pictures: int = IMAGENET_PICTURES

    def __post_init__(self):
        for name in ("devices", "rate", "pictures"):
            if not getattr(self, name) > 0:
                raise BudgetError(f"{name} is {getattr(self, name)!r}; it must be above 0.")
        if self.price < 0:
            raise BudgetError(f"price is {self.price!r}; it must be at least 0.")

    @property
    def hours(self):
        """From beginning to end, if the devices share the work without loss and evaluations cost nothing."""
        return self.device_hours / self.devices

    @property
    def device_hours(self):
        """Of all devices together."""
        return self.pictures * self.recipe.epochs / self.rate / 3600

    @property
    def cost(self):
        """In the currency of the price."""
        return self.device_hours * self.price

    def __str__(self):
        long = f"{self.hours / 24:.1f} days" if self.hours >= 48 else f"{self.hours:.1f} hours"
        money = f", {self.cost:,.0f} at {self.price:g} an hour" if self.price else ""
        work = f"{self.recipe.epochs} epochs on {self.devices} × {self.rate:,.0f} images/s"
        return f"{work}: {long}, {self.device_hours:,.0f} device-hours{money}"


def loader_rate(images, recipe, workers=0, seconds=3.0):
    """Pictures a second that a loader brings, altered and ready, if nobody trains on them."""
    stream = training_stream(images, recipe, 0, 0, torch.device("cpu"), workers=workers)
    for _ in range(1 + 2 * workers):  # until each process has begun and what waited meanwhile is used up
        next(stream)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(next(stream)[0])
    return count / (time.perf_counter() - start)


def step_rate(what, device=None, batch=None, seconds=3.0, compiled=False, images=None):
    """Pictures a second that an experiment's network trains on.

    Args:
        what: an ``Experiment``.
        batch: pictures in a step; the recipe's batch unless given.
        compiled: see ``training.Engine``.
        images: where training takes its pictures from; without them one made-up batch is there already, again and
            again, and the rate is that of a machine that never waits.
    """
    device = choose_device(device)
    batch = batch or what.recipe.batch_size
    trainer = _trainer(what, device, compiled)
    side = what.recipe.image_size
    pictures = torch.randn(batch, 3, side, side, device=device).to(memory_format=torch.channels_last)
    stream = itertools.repeat((pictures, torch.arange(batch, device=device) % trainer.classes))
    if images:
        endless = what.recipe.change(batch_size=batch, epochs=10**9)
        stream = training_stream(where_they_are_needed(images, endless, device), endless, what.seed, 0, device)
    start, count = None, 0
    while start is None or time.perf_counter() - start < seconds:
        for piece in itertools.islice(stream, STEPS_UNSEEN):
            trainer.step([piece], 1.0)
        wait_for(device)
        if start is None:
            start = time.perf_counter()  # the first ones warm up
        else:
            count += STEPS_UNSEEN * batch
    return count / (time.perf_counter() - start)


def technique_prices(what, images, device=None, rounds=5, seconds=2.0):
    """How much longer each technique of a recipe makes the work that it is part of.

    Returns:
        ``{technique: ratios}``: the time for a picture, in the loader or in the step, with everything on, relative to
        the time without that technique; one for each round, in which both are measured one after the other.
    """
    ratios = {}
    for _, (name, changes) in itertools.product(range(rounds), {**IN_THE_LOADER, **IN_THE_STEP}.items()):
        without = type(what)(what.architecture, what.recipe.change(**changes), what.seed)
        if name in IN_THE_LOADER:
            rates = [loader_rate(images, each.recipe, seconds=seconds) for each in (without, what)]
        else:
            rates = [step_rate(each, device, seconds=seconds) for each in (without, what)]
        ratios.setdefault(name, []).append(rates[0] / rates[1])
    return ratios


def checkpoint_price(what, device=None, rounds=3):
    """(seconds, bytes) of one checkpoint of an experiment's network, its average and its optimizer's state."""
    device = choose_device(device)
    trainer = _trainer(what, device)
    side = max(32, what.recipe.image_size // 4)  # the state does not hang on it
    trainer.step([(torch.randn(2, 3, side, side, device=device), torch.tensor([0, 1], device=device))], 1.0)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(folder, what.settings())
        spent = []
        for _ in range(rounds):
            start = time.perf_counter()
            journal.save(trainer.state([]))
            spent.append(time.perf_counter() - start)
        return statistics.median(spent), (Path(folder) / "last.pt").stat().st_size


def make_engine(progress=print):
    """Measure what lesson 12 shows of the machinery, on the CPU, and keep it in data/reference/engine.json."""
    content = {
        "schema": SCHEMA,
        "device": {"name": device_name(torch.device("cpu")), "threads": torch.get_num_threads()},
        "versions": versions(),
        "images": images_for(REHEARSAL, "imagenette").note,
    }
    with tempfile.TemporaryDirectory() as folder:
        _photographs(Path(folder))
        large = images_for(PAPER, folder)
        rate = loader_rate(large, PAPER.change(batch_size=64), seconds=20)
        content["loader"] = {"recipe": "paper", "file_size": PHOTOGRAPH, "images_per_second": rate}
        progress(f"loader: {content['loader']}")
    what = experiment(11, REHEARSAL)
    content["techniques"] = technique_prices(what, images_for(REHEARSAL, "imagenette"), "cpu")
    progress(f"techniques: {content['techniques']}")
    seconds, size = checkpoint_price(experiment(11, PAPER), "cpu")
    content["checkpoint"] = {"seconds": seconds, "bytes": size}
    progress(f"checkpoint: {content['checkpoint']}")
    content["processes"] = _processes(progress)
    with atomic(reference_folder() / "engine.json") as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def engine():
    """What ``make_engine`` kept."""
    return json.loads((reference_folder() / "engine.json").read_text(encoding="utf-8"))


PHOTOGRAPH = (500, 375)  # a usual size in ImageNet


def _photographs(folder, count=200):
    """Pictures of Imagenette blown up to the size of ImageNet's, so that decoding them takes as long."""
    sources = sorted((imagenette_folder() / "train").glob("*/*.JPEG"))
    for split in ("train", "val"):
        (folder / split / "a").mkdir(parents=True)
    for number in range(count):
        with Image.open(sources[number * len(sources) // count]) as opened:
            large = opened.convert("RGB").resize(PHOTOGRAPH, Image.Resampling.BICUBIC)
        large.save(folder / ("train" if number < count - 1 else "val") / "a" / f"{number}.jpg", quality=90)


def _processes(progress, rounds=2):
    """Pictures a second of two epochs of the rehearsal: one process with one thread, one with two, and two with one."""
    spent = {}
    for _ in range(rounds):
        for processes, threads in ((1, 1), (1, 2), (2, 1)):
            with tempfile.TemporaryDirectory() as folder:
                launch = [sys.executable, "-m", "torch.distributed.run"]
                launch += ["--standalone", f"--nproc-per-node={processes}"]
                command = ["-m", "convnext_lessons", "train", "--recipe", "rehearsal", "--images", "imagenette"]
                command += ["--epochs", "2", "--workers", "0", "--device", "cpu", "--out", folder]
                environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
                subprocess.run([*launch, *command], check=True, capture_output=True, env=environment)
                last = read_log(folder)[-1]
            spent.setdefault(f"{processes} × {threads} threads", []).append(last["pictures"] / last["seconds"])
    rates = {name: statistics.median(values) for name, values in spent.items()}
    progress(f"processes: {rates}")
    return rates


def _trainer(what, device, compiled=False):
    nothing = FileImages("nothing", "no pictures", tuple(range(1000)), (), ())
    return Trainer(what, nothing, device, Engine(workers=0, compiled=compiled))
