"""Batches for one process of many: which pictures, in which order, altered how, as functions of seed, epoch and place.

So neither an interruption nor another number of loader processes changes what a network sees.
"""

import multiprocessing
import os

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from convnext_lessons.files import FileImages
from convnext_lessons.images import epoch_order, seed_of, training_batches, validation_batches
from convnext_lessons.machine import CourseError
from convnext_lessons.processes import Processes
from convnext_lessons.shards import ShardImages, TrainingShards, ValidationShards

EVALUATION_BATCH = 256
ALONE = Processes()


def training_stream(images, recipe, seed, first, device, processes=ALONE, at_once=None, workers=0):
    """Yield (pictures, labels) on the device from one step of a run to its end, over all its epochs.

    Args:
        images: ``Images`` or ``FileImages``.
        first: the step to begin with, counted from the beginning of the run.
        processes: those that share a batch; this one gets every so many-th picture of it.
        at_once: most pictures in a piece; a process's share of a batch comes in several pieces where it is larger.
        workers: loader processes beside this one.

    Raises:
        ImagesError: a picture cannot be read.
    """
    per_epoch = len(images.train) // recipe.batch_size
    if recipe.augmentation == "batches":
        for epoch in range(first // per_epoch, recipe.epochs):
            skip = max(0, first - epoch * per_epoch)
            share = {"rank": processes.rank, "count": processes.count, "at_once": at_once}
            yield from training_batches(images, recipe, seed, epoch, skip, **share)
        return
    if isinstance(images, ShardImages):
        pieces = TrainingShards(images.train, recipe, seed, first, processes, at_once)
        yield from _on(device, _loader(pieces, device, workers, batch_size=None))
        return
    keys = _Keys(len(images.train), recipe, seed, first, processes, at_once)
    pictures = _Altered(_samples(images, "train"), recipe.training_transform())
    yield from _on(device, _loader(pictures, device, workers, batch_sampler=keys, collate_fn=_together))


class Validation:
    """The validation pictures, as often as one goes over them; of several processes each gets its share, and none of
    the pictures comes twice."""

    def __init__(self, images, recipe, device, processes=ALONE, workers=0):
        self.images, self.device, self.processes = images, device, processes
        self.loader = None
        if isinstance(images, ShardImages):
            batches = ValidationShards(images.val, recipe, processes, EVALUATION_BATCH)
            self.loader = _loader(batches, device, workers, batch_size=None)
        if isinstance(images, FileImages):
            places = range(processes.rank, len(images.val), processes.count)
            keys = [[(place, 0) for place in piece] for piece in _pieces(places, EVALUATION_BATCH)]
            pictures = _Altered(images.val, recipe.evaluation_transform())
            self.loader = _loader(pictures, device, workers, batch_sampler=keys, collate_fn=_together)

    def __iter__(self):
        if self.loader is not None:
            return _on(self.device, self.loader)
        mine = validation_batches(self.images, EVALUATION_BATCH, self.processes.rank, self.processes.count)
        return _on(self.device, mine)


def usual_workers(processes=ALONE):
    """Loader processes for each training process of this machine, so that every core has something to do."""
    return max(0, min(16, (os.cpu_count() or 1) // processes.local_count - 1))


class _Altered(Dataset):
    """Pictures under a transform; a key is (place, seed of the alteration). A picture that cannot be read becomes the
    error, since an exception would leave a worker as a page of text."""

    def __init__(self, samples, transform):
        self.samples, self.transform = samples, transform

    def __getitem__(self, key):
        place, seed = key
        try:
            picture, label = self.samples[place]
        except CourseError as error:
            return error
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return self.transform(picture), label


class _Keys:
    """The keys of every piece of every batch, from the first step to the end of the run."""

    def __init__(self, *what):
        self.what = what

    def __iter__(self):
        count, recipe, seed, first, processes, at_once = self.what
        per_epoch = count // recipe.batch_size
        for epoch in range(first // per_epoch, recipe.epochs):
            order = epoch_order(count, recipe, seed, epoch)
            for start in range(max(0, first - epoch * per_epoch) * recipe.batch_size, len(order), recipe.batch_size):
                places = range(start + processes.rank, start + recipe.batch_size, processes.count)
                for piece in _pieces(places, at_once or recipe.batch_size):
                    # Drawn for the place in the epoch, so that a repeated picture is altered in several ways.
                    yield [(order[place].item(), seed_of(seed, epoch, place)) for place in piece]


def _pieces(places, size):
    return (places[start : start + size] for start in range(0, len(places), size))


def _samples(images, split):
    if isinstance(images, FileImages):
        return getattr(images, split)
    return TensorDataset(getattr(images, split), getattr(images, f"{split}_labels"))


def _together(samples):
    errors = [sample for sample in samples if isinstance(sample, CourseError)]
    return errors[0] if errors else default_collate(samples)


def _loader(pictures, device, workers, **settings):
    if workers:
        # Never a fork: a notebook's kernel and a GPU's driver have threads, which a fork would cut off.
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        settings |= {"num_workers": workers, "multiprocessing_context": method, "persistent_workers": True}
    # A generator of its own, since a loader that begins draws from one, and training's would move on.
    return DataLoader(pictures, pin_memory=device.type == "cuda", generator=torch.Generator(), **settings)


def _on(device, batches):
    for batch in batches:
        if isinstance(batch, CourseError):
            raise batch
        pictures, labels = batch
        yield (
            pictures.to(device, memory_format=torch.channels_last, non_blocking=True),
            labels.to(device, non_blocking=True),
        )
