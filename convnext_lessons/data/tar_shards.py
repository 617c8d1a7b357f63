"""Data sets that fit no disk: pictures in tar files, read one after the other from a disk or over the network.

The reader is ``webdataset``, which is installed by ``pip install 'convnext-lessons[shards]'``; ImageNet is published in
this form too. A set is described by one file of JSON, whose names of tar files are relative to it or whole addresses::

    {"note": "…", "classes": ["…"], "train": {"count": 9469, "shards": ["train-000000.tar"]}, "val": …}

Every loader process reads tar files of its own. So the order depends on their number, other than with ``ImageFiles``:
a run that is resumed with the same number sees the same pictures, one with another number follows the same schedule and
finds other pictures in what is left of the epoch.
"""

from __future__ import annotations

import io
import json
import random
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.data import IterableDataset, default_collate, get_worker_info

from convnext_lessons.data.augmentation import seed_of
from convnext_lessons.data.datasets import ImagesError
from convnext_lessons.data.folders import open_splits, read_image
from convnext_lessons.system.distributed import Process
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.storage import atomic_folder, write_json

if TYPE_CHECKING:
    from convnext_lessons.runs.recipe import Recipe

SHUFFLED = 2000  # pictures in the buffer that each loader process draws from
PER_SHARD = 1000
PICTURE_NAMES = ("jpg", "jpeg", "png")


@dataclass(frozen=True)
class Shards:
    """One split of a set: the addresses of its tar files and how many pictures they hold."""

    addresses: tuple[str, ...]
    count: int

    def __len__(self):
        return self.count


@dataclass(frozen=True)
class ShardImages:
    """A data set in tar files; the fields are those of ``ImagesOnDisk``."""

    source: str
    note: str
    classes: tuple[str, ...]
    train: Shards
    val: Shards


def open_shards(address: str) -> ShardImages:
    """The set that a file of JSON describes.

    Raises:
        ImagesError: it cannot be read or describes no set.
    """
    remote = "://" in address
    base = address if remote else Path(address).resolve().as_uri()
    try:
        with urllib.request.urlopen(base, timeout=20) as answer:
            index = json.load(answer)
        splits = [
            Shards(tuple(urllib.parse.urljoin(base, name) for name in index[split]["shards"]), index[split]["count"])
            for split in ("train", "val")
        ]
        return ShardImages(address, str(index["note"]), tuple(index["classes"]), *splits)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImagesError(
            f"{address} does not describe a set of tar files ({error}); `convnext-lessons shards` writes such a file."
        ) from error


def write_shards(source: str | Path, folder: str | Path, per_shard: int = PER_SHARD, seed: int = 0) -> Path:
    """Pack a folder with ``train/`` and ``val/`` into tar files, shuffled once, and describe them in ``shards.json``.

    Raises:
        ImagesError: the pictures are not there, or webdataset is not.
        StorageError: there is no room for them.
    """
    reader = _webdataset()
    source, folder = Path(source).resolve(), Path(folder)
    if folder.exists():
        raise ImagesError(f"{folder} is already there; name a new folder for the tar files.")
    splits = open_splits(source)
    index = {"note": source.name, "classes": splits["train"].classes}
    with atomic_folder(folder) as part:
        for split, pictures in splits.items():
            samples = list(pictures.samples)
            random.Random(seed).shuffle(samples)
            with reader.ShardWriter(str(part / f"{split}-%06d.tar"), maxcount=per_shard, verbose=0) as writer:
                for number, (path, label) in enumerate(samples):
                    content = Path(path).read_bytes()
                    writer.write({"__key__": f"{number:08d}", "jpg": content, "cls": str(label)})
            names = sorted(path.name for path in part.glob(f"{split}-*.tar"))
            index[split] = {"count": len(samples), "shards": names}
        write_json(part / "shards.json", index)
    return folder / "shards.json"


class TrainingShards(IterableDataset):
    """Micro-batches, (pictures, labels), for one rank from a step of the run to its end; see
    ``loader.training_stream``."""

    def __init__(
        self, shards: Shards, recipe: Recipe, seed: int, first: int, process: Process, micro_batch_size: int | None
    ):
        self.shards, self.recipe, self.seed, self.first = shards, recipe, seed, first
        self.process, self.micro_batch_size = process, micro_batch_size
        self.transform = recipe.training_transform()

    def __iter__(self):
        worker, workers = _worker()
        per_epoch = self.shards.count // self.recipe.batch_size
        share = len(range(self.process.rank, self.recipe.batch_size, self.process.world_size))
        micro_batch_size = self.micro_batch_size or share
        sizes = [
            min(micro_batch_size, share - start) for start in range(0, share, micro_batch_size)
        ]  # of the pieces of a batch
        # A loader takes from its processes in turn, and the first one brings the first micro-batch.
        worker = (worker + self.first * len(sizes)) % workers
        for epoch in range(self.first // per_epoch, self.recipe.epochs):
            samples, number = self._samples(epoch, worker, workers), 0
            start, end = (edge * per_epoch * len(sizes) for edge in (epoch, epoch + 1))
            for piece in range(start + (worker - start) % workers, end, workers):
                size, done = sizes[piece % len(sizes)], piece < self.first * len(sizes)
                yield from self._micro_batch(samples, size, epoch, (worker, workers), number, done)
                number += size

    def _samples(self, epoch, worker, workers):
        order = torch.Generator().manual_seed(seed_of(self.seed, epoch))
        shuffled = [
            self.shards.addresses[index] for index in torch.randperm(len(self.shards.addresses), generator=order)
        ]
        mine = shuffled[self.process.rank * workers + worker :: self.process.world_size * workers]
        if not mine:
            needed = self.process.world_size * workers
            yield ImagesError(
                f"{len(shuffled)} tar files cannot feed {needed} loader processes; start fewer with --workers."
            )
        while True:  # some have a few pictures less than their share, and begin anew
            yield from _read(mine, seed_of(self.seed, epoch, self.process.rank, worker))

    def _micro_batch(self, samples, size, epoch, worker, number, done):
        pictures = []
        for offset in range(size):
            sample = next(samples)
            if isinstance(sample, CourseError):
                yield sample
                return
            if not done:  # what was trained on before the resumption is read, but not decoded
                torch.manual_seed(seed_of(self.seed, epoch, self.process.rank, *worker, number + offset))
                pictures.append(_decoded(sample, self.transform))
        if pictures:
            errors = [picture for picture in pictures if isinstance(picture, CourseError)]
            yield errors[0] if errors else default_collate(pictures)


class ValidationShards(IterableDataset):
    """Batches of all pictures of a split, each in one batch of one process."""

    def __init__(self, shards: Shards, recipe: Recipe, process: Process, size: int):
        self.shards, self.process, self.size = shards, process, size
        self.transform = recipe.evaluation_transform()

    def __iter__(self):
        worker, workers = _worker()
        mine = self.shards.addresses[self.process.rank * workers + worker :: self.process.world_size * workers]
        batch = []
        for sample in _read(mine, None) if mine else ():
            picture = sample if isinstance(sample, CourseError) else _decoded(sample, self.transform)
            if isinstance(picture, CourseError):
                yield picture
                return
            batch.append(picture)
            if len(batch) == self.size:
                yield default_collate(batch)
                batch = []
        if batch:
            yield default_collate(batch)


def _read(addresses, seed):
    """The raw samples of some tar files, shuffled unless the seed is None; an error ends them."""
    reader = _webdataset()
    stages = [reader.SimpleShardList(list(addresses)), reader.tarfile_to_samples()]
    if seed is not None:
        stages.append(reader.shuffle(SHUFFLED, initial=SHUFFLED, rng=random.Random(seed)))
    try:
        yield from reader.DataPipeline(*stages)
    except Exception as error:  # networks, disks and tar files each break in a way of their own
        yield ImagesError(f"A tar file cannot be read ({str(error).splitlines()[0]}); fetch it again.")


def _decoded(sample, transform):
    name = next((name for name in PICTURE_NAMES if name in sample), None)
    if name is None or "cls" not in sample:
        return ImagesError(f"Sample {sample['__key__']} of {sample['__url__']} has no picture or no label.")
    try:
        picture = read_image(io.BytesIO(sample[name]), f"{sample['__key__']} of {sample['__url__']}")
    except ImagesError as error:
        return error
    return transform(picture), int(sample["cls"])


def _worker():
    """Index of this loader process, and how many there are."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info else (0, 1)


def _webdataset():
    try:
        import webdataset
    except ImportError:
        raise ImagesError(
            "Tar files are read by webdataset, which is not installed: pip install 'convnext-lessons[shards]'."
        ) from None
    return webdataset
