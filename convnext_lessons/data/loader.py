"""Batches for one rank: which pictures, in which order, transformed how, as functions of seed, epoch and index.

So neither an interruption nor another number of loader processes changes what a network sees.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from convnext_lessons.data.alterations import PictureTransform, RawBatch
from convnext_lessons.data.augmentation import Batch, epoch_order, seed_of, training_batches, validation_batches
from convnext_lessons.data.device_stream import to_device
from convnext_lessons.data.in_memory import Images
from convnext_lessons.data.on_disk import ImageFiles, ImagesOnDisk
from convnext_lessons.data.tar_shards import ShardImages, TrainingShards, ValidationShards
from convnext_lessons.system.distributed import SINGLE_PROCESS, Process
from convnext_lessons.system.errors import CourseError

if TYPE_CHECKING:
    from convnext_lessons.runs.recipe import Recipe

VALIDATION_BATCH = 256
VALIDATION_WORKERS = 4


class LoaderError(CourseError):
    """A loader process ended before its time."""


AnyImages = Images | ImagesOnDisk | ShardImages


def training_stream(
    images: AnyImages,
    recipe: Recipe,
    seed: int,
    first: int,
    device: torch.device,
    process: Process = SINGLE_PROCESS,
    workers: int = 0,
) -> Iterator[Batch]:
    """Yield local batches, (pictures, labels) on the device, from one step of a run to its end, over all its epochs.

    Args:
        first: the step to begin with, counted from the beginning of the run.
        process: whose local batches they are, see ``Recipe.local_batches``.
        workers: loader processes beside this one.

    Raises:
        ImagesError: a picture cannot be read.
    """
    if recipe.augmentation == "batches":
        per_epoch = len(images.train) // recipe.batch_size
        for epoch in range(first // per_epoch, recipe.epochs):
            skip = max(0, first - epoch * per_epoch)
            yield from training_batches(images, recipe, seed, epoch, skip, process.rank, process.world_size)
    else:
        yield from to_device(raw_stream(images, recipe, seed, first, device, process, workers), device)


def raw_stream(
    images: AnyImages,
    recipe: Recipe,
    seed: int,
    first: int,
    device: torch.device,
    process: Process = SINGLE_PROCESS,
    workers: int = 0,
) -> Iterator[RawBatch]:
    """The same as the loader's processes bring it, pinned for the device and not yet there, for recipes that alter
    pictures one by one."""
    if isinstance(images, ShardImages):
        shards = TrainingShards(images.train, recipe, seed, first, process)
        return _whole(_make_loader(shards, device, workers, batch_size=None))
    sampler = _BatchSampler(len(images.train), recipe, seed, first, process)
    transform = PictureTransform(recipe.training_transform(), recipe.erasing)
    dataset = _Transformed(_training_set(images), transform)
    return _whole(_make_loader(dataset, device, workers, batch_sampler=sampler, collate_fn=_collate))


class Validation:
    """The validation pictures, as often as one goes over them; every rank gets its share, and no picture comes
    twice. Some loader processes are enough: they wait while the network trains."""

    def __init__(
        self,
        images: AnyImages,
        recipe: Recipe,
        device: torch.device,
        process: Process = SINGLE_PROCESS,
        workers: int = 0,
    ):
        self.images, self.device, self.process = images, device, process
        self.loader = None
        workers = min(workers, VALIDATION_WORKERS)
        if isinstance(images, ShardImages):
            shards = ValidationShards(images.val, recipe, process, VALIDATION_BATCH)
            self.loader = _make_loader(shards, device, workers, batch_size=None)
        if isinstance(images, ImagesOnDisk):
            indices = range(process.rank, len(images.val), process.world_size)
            sampler = [[(index, 0) for index in part] for part in _split(indices, VALIDATION_BATCH)]
            dataset = _Transformed(images.val, PictureTransform(recipe.evaluation_transform()))
            self.loader = _make_loader(dataset, device, workers, batch_sampler=sampler, collate_fn=_collate)

    def __iter__(self) -> Iterator[Batch]:
        if self.loader is not None:
            return to_device(_whole(self.loader), self.device)
        share = validation_batches(self.images, VALIDATION_BATCH, self.process.rank, self.process.world_size)
        return ((pictures.to(self.device), labels.to(self.device)) for pictures, labels in share)


def images_digest(images: AnyImages) -> int:
    """A number of 32 bits over a data set's classes, counts, labels and file names, by which processes of several
    machines can tell whether they see the same one; wherever its folder is."""
    digest = zlib.crc32(repr((images.classes, len(images.train), len(images.val))).encode())
    for split in (images.train, images.val):
        if isinstance(split, ImageFiles):
            for index, label in enumerate(split.labels.tolist()):
                digest = zlib.crc32(f"{label} {os.path.basename(split.path(index))}".encode(errors="replace"), digest)
        elif not isinstance(split, torch.Tensor):
            digest = zlib.crc32(repr([os.path.basename(address) for address in split.addresses]).encode(), digest)
    if isinstance(images, Images):
        for labels in (images.train_labels, images.val_labels):
            digest = zlib.crc32(labels.cpu().numpy().tobytes(), digest)
    return digest


def default_workers(process: Process = SINGLE_PROCESS) -> int:
    """Loader processes for each training process of this machine, so that every core has something to do."""
    return max(0, min(16, usable_cores() // process.local_world_size - 1))


def usable_cores() -> int:
    """Cores that this process may use: in a container or a job fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Transformed(Dataset):
    """Pictures under a ``PictureTransform``, with label and rectangle; a key is (index, seed). A picture that cannot be
    read becomes the error, since an exception would leave a worker as a page of text."""

    def __init__(self, pictures, transform):
        self.pictures, self.transform = pictures, transform

    def __getitem__(self, key):
        index, seed = key
        try:
            picture, label = self.pictures[index]
        except CourseError as error:
            return error
        pixels, rectangle = self.transform(picture, seed)
        return pixels, label, rectangle


class _BatchSampler:
    """The keys of every local batch of one rank, from the first step to the end of the run."""

    def __init__(self, count, recipe, seed, first, process):
        self.count, self.recipe, self.seed, self.first = count, recipe, seed, first
        self.local_batches = recipe.local_batches(process.rank, process.world_size)

    def __iter__(self):
        size = self.recipe.batch_size
        per_epoch = self.count // size
        for epoch in range(self.first // per_epoch, self.recipe.epochs):
            order = epoch_order(self.count, self.recipe, self.seed, epoch)
            for start in range(max(0, self.first - epoch * per_epoch) * size, len(order), size):
                for positions in self.local_batches:
                    # Drawn for the position in the epoch, so that a repeated picture is transformed in several ways.
                    places = (start + position for position in positions)
                    yield [(order[place].item(), seed_of(self.seed, epoch, place)) for place in places]


def _split(indices, size):
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _training_set(images):
    return images.train if isinstance(images, ImagesOnDisk) else TensorDataset(images.train, images.train_labels)


def _collate(samples):
    errors = [sample for sample in samples if isinstance(sample, CourseError)]
    return errors[0] if errors else default_collate(samples)


def _make_loader(dataset, device, workers, **settings):
    if workers:
        # Never a fork: a notebook's kernel and a GPU's driver have threads, which a fork would cut off.
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        settings |= {"num_workers": workers, "multiprocessing_context": method, "persistent_workers": True}
        settings["worker_init_fn"] = _end_with_parent
        if method == "forkserver":
            # What the fork server has imported, its children share; else each would hold torch for itself.
            multiprocessing.set_forkserver_preload(["__main__", "convnext_lessons.data.loader"])
    # A generator of its own, since a loader that begins draws from one, and training's would move on.
    return DataLoader(dataset, pin_memory=device.type == "cuda", generator=torch.Generator(), **settings)


def _end_with_parent(_):
    """In a loader process: end when the process that trains does, also when that was killed. torch watches the fork
    server in its place, which lives for as long as its children."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _whole(batches):
    """The batches of a loader; what went wrong in its processes is raised here."""
    try:
        for batch in batches:
            if isinstance(batch, CourseError):
                raise batch
            yield batch
    except (RuntimeError, ConnectionError, EOFError) as error:
        if "worker" not in str(error) and isinstance(error, RuntimeError):
            raise
        raise LoaderError(
            "A loader process ended; did the machine run out of memory? Start again with fewer --workers: the run goes "
            "on from its last checkpoint."
        ) from error
