"""What a recipe costs in time: rates measured here, and from them days, GPU-hours and money."""

import itertools
import time
from dataclasses import dataclass, replace

import torch

from convnext_lessons.data.loader import AnyImages, raw_stream, training_stream
from convnext_lessons.data.on_disk import ImagesOnDisk
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.records import Experiment
from convnext_lessons.system.devices import choose_device, synchronize
from convnext_lessons.system.distributed import SINGLE_PROCESS
from convnext_lessons.system.errors import CourseError
from convnext_lessons.training.trainer import Trainer, TrainOptions, move_images

IMAGENET_PICTURES = 1_281_167
STEPS_PER_LOOK = 4  # at the clock, for which a GPU has to be waited for


class BudgetError(CourseError, ValueError):
    """Numbers that no budget can be made of."""


@dataclass(frozen=True)
class Budget:
    """What training takes.

    Attributes:
        recipe: whose epochs are counted.
        devices: how many GPUs share the work.
        rate: training pictures a second of one of them.
        price: of one of them for an hour, in any currency.
        pictures: of an epoch.

    Raises:
        BudgetError: a number is not above 0.
    """

    recipe: Recipe
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
    def hours(self) -> float:
        """From beginning to end, if the devices share the work without loss and evaluations cost nothing."""
        return self.device_hours / self.devices

    @property
    def device_hours(self) -> float:
        """Of all devices together."""
        return self.pictures * self.recipe.epochs / self.rate / 3600

    @property
    def cost(self) -> float:
        """In the currency of the price."""
        return self.device_hours * self.price

    def __str__(self):
        long = f"{self.hours / 24:.1f} days" if self.hours >= 48 else f"{self.hours:.1f} hours"
        money = f", {_rounded(self.cost)} at {self.price:g} an hour" if self.price else ""
        work = f"{self.recipe.epochs} epochs on {self.devices} × {self.rate:,.0f} images/s"
        return f"{work}: {long}, {_rounded(self.device_hours)} device-hours{money}"


def _rounded(number):
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def measure_loader_rate(
    images: AnyImages,
    recipe: Recipe,
    workers: int = 0,
    seconds: float = 3.0,
    device: torch.device | None = None,
) -> float:
    """Pictures a second that a loader brings if nobody trains on them.

    Args:
        device: where batches are made ready for the network; unless given, pictures count as the loader's processes
            bring them.
    """
    if device or recipe.augmentation == "batches":
        stream = training_stream(images, recipe, 0, 0, device or torch.device("cpu"), workers=workers)
    else:
        stream = raw_stream(images, recipe, 0, 0, torch.device("cpu"), workers=workers)
    for _ in range(1 + 2 * workers):  # until every worker has begun and what waited meanwhile is used up
        next(stream)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(next(stream)[0])
    return count / (time.perf_counter() - start)


def measure_step_rate(
    experiment: Experiment,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    seconds: float = 3.0,
    options: TrainOptions | None = None,
    images: AnyImages | None = None,
) -> float:
    """Pictures a second that an experiment's network trains on.

    Args:
        batch_size: pictures in a step, all at a time; the recipe's unless given.
        options: how; as by default unless given. Its processes and checkpoints play no part.
        images: where training takes its pictures from; without them one made-up batch is there already, again and
            again, and the rate is that of a machine that never waits.
    """
    device = choose_device(device)
    batch_size = batch_size or experiment.recipe.batch_size
    trainer = make_trainer_without_images(experiment, device, options)
    side = experiment.recipe.image_size
    pictures = torch.randn(batch_size, 3, side, side, device=device).to(memory_format=torch.channels_last)
    stream = itertools.repeat((pictures, torch.arange(batch_size, device=device) % trainer.classes))
    if images:
        endless = experiment.recipe.change(batch_size=batch_size, local_batch_size=None, epochs=10**9)
        stream = training_stream(move_images(images, endless, device), endless, experiment.seed, 0, device)
    start, count = None, 0
    while start is None or time.perf_counter() - start < seconds:
        for batch in itertools.islice(stream, STEPS_PER_LOOK):
            trainer.step([batch], 1.0)
        synchronize(device)
        if start is None:
            start = time.perf_counter()  # the first ones warm up
        else:
            count += STEPS_PER_LOOK * batch_size
    return count / (time.perf_counter() - start)


def make_trainer_without_images(
    experiment: Experiment, device: torch.device, options: TrainOptions | None = None
) -> Trainer:
    """A ``Trainer`` of an experiment's network with ImageNet's thousand classes, to be given batches by hand."""
    nothing = ImagesOnDisk("nothing", "no pictures", tuple(range(1000)), (), ())
    options = replace(options or TrainOptions(), process=SINGLE_PROCESS, workers=0)
    return Trainer(experiment, nothing, device, options)
