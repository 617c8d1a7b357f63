"""What a picture costs on its way into the network, part by part, and in the network: milliseconds, side by side."""

import itertools
import time
from collections.abc import Callable

import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from convnext_lessons.data.alterations import PictureTransform, finish
from convnext_lessons.data.on_disk import ImagesOnDisk
from convnext_lessons.runs.records import Experiment
from convnext_lessons.system.devices import choose_device, synchronize
from convnext_lessons.training.budget import measure_step_rate

BATCHES_BEFORE = 4  # which a loader process has waiting when the clock starts


def measure_parts(
    images: ImagesOnDisk,
    experiment: Experiment,
    device: str | torch.device | None = None,
    pictures: int = 64,
    rounds: int = 5,
    step_size: int = 8,
    seconds: float = 3.0,
) -> dict[str, list[float]]:
    """Milliseconds a picture of a recipe's training, one after the other in this process, in rounds.

    Args:
        pictures: of the set that each part works on, and in a batch.
        step_size: pictures in a training step.
        seconds: that training steps are measured for.

    Returns:
        ``{part: milliseconds}``, one for each round. Reading a file is part of decoding; sending is what a loader
        process of its own needs to make a batch of ready pictures and bring it here.
    """
    device = choose_device(device)
    found = {}
    for _ in range(rounds):
        for name, milliseconds in _measure_once(images, experiment, device, pictures, step_size, seconds).items():
            found.setdefault(name, []).append(milliseconds)
    return found


def _measure_once(images, experiment, device, pictures, step_size, seconds):
    recipe, indices = experiment.recipe, range(pictures)
    cut, alter = _split(recipe.training_transform())
    transform, found = PictureTransform(alter, recipe.erasing), {}

    def measure(name, work: Callable, count=pictures):
        synchronize(device)
        start = time.perf_counter()
        result = work()
        synchronize(device)
        found[name] = 1000 * (time.perf_counter() - start) / count
        return result

    whole = measure("decode", lambda: [images.train[index % len(images.train)][0] for index in indices])
    small = measure("crop and flip", lambda: [cut(picture) for picture in whole])
    altered = measure("alter", lambda: [transform(picture, seed) for seed, picture in enumerate(small)])
    batches = _endless([(pixels, 0, rectangle) for pixels, rectangle in altered], device)
    for batch in itertools.islice(batches, BATCHES_BEFORE):
        finish(batch, device)  # the first ones warm up
    sent = 2 * BATCHES_BEFORE
    measure("collate and send", lambda: list(itertools.islice(batches, sent)), sent * pictures)
    measure("standardize and erase", lambda: finish(batch, device))
    found["train"] = 1000 / measure_step_rate(experiment, device, step_size, seconds)
    return found


def _split(transform):
    """A recipe's transform as two: crop and flip, and what alters the picture."""
    steps = transform.transforms
    end = 1 + next(place for place, step in enumerate(steps) if isinstance(step, v2.RandomHorizontalFlip))
    return v2.Compose(steps[:end]), v2.Compose(steps[end:] or [v2.Identity()])


def _endless(ready, device):
    """Yield the same batch of ready pictures, for ever made anew by a loader process."""
    batches = itertools.repeat(list(range(len(ready))))
    settings = {"num_workers": 1, "multiprocessing_context": "forkserver", "pin_memory": device.type == "cuda"}
    return iter(DataLoader(ready, batch_sampler=batches, **settings))
