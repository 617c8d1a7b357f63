"""Data sets that fit no disk: pictures in tar files, read one after the other from a disk or over the network.

The reader is ``webdataset``, which is installed by ``pip install 'convnext-lessons[shards]'``; ImageNet is published in
this form too. A set is described by one file of JSON, whose names of tar files are relative to it or whole addresses::

    {"note": "…", "classes": ["…"],
     "train": {"count": 9469, "shards": ["train-000000.tar"], "counts": [9469]}, "val": …}

``counts``, the samples of each tar file, may be missing; with it a file that was cut off between two samples is
noticed. Where such a description comes from the network it is a stranger's: only http and https addresses are ever
opened for it, by this process itself. A description on the disk may also name files below its own folder.

Every loader process reads tar files of its own. So the order depends on their number, other than with ``ImageFiles``:
a run that is resumed with the same number sees the same pictures, one with another number follows the same schedule and
finds other pictures in what is left of the epoch.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import random
import tarfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, default_collate, get_worker_info

from convnext_lessons.data.alterations import PictureTransform
from convnext_lessons.data.augmentation import seed_of
from convnext_lessons.data.datasets import ImagesError
from convnext_lessons.data.folders import open_splits, printable, read_pixels
from convnext_lessons.data.remote import is_remote, open_address
from convnext_lessons.system.distributed import Process
from convnext_lessons.system.errors import CourseError, in_a_line
from convnext_lessons.system.storage import atomic_folder, write_json

if TYPE_CHECKING:
    from convnext_lessons.runs.recipe import Recipe

SHUFFLED = 2000  # pictures in the buffer that each loader process draws from
PER_SHARD = 1000
PICTURE_NAMES = ("jpg", "jpeg", "png")

# More than anybody's data set has; a description or a tar file beyond is broken or hostile.
LARGEST_DESCRIPTION = 100e6  # bytes
LARGEST_FILE = 500e6  # bytes of one picture in a tar file
MOST_SAMPLES = 10**10
LONGEST_LABEL = 10  # digits


@dataclass(frozen=True)
class Shards:
    """One split of a set.

    Attributes:
        addresses: of its tar files: http, https, or paths on the disk.
        count: how many pictures they hold together.
        classes: how many there are.
        counts: how many pictures each tar file holds; empty where the description does not say.
    """

    addresses: tuple[str, ...]
    count: int
    classes: int
    counts: tuple[int, ...] = ()

    def __len__(self):
        return self.count

    def files(self, indices: range | list[int]) -> list[tuple[str, int | None]]:
        """(address, pictures in it or None) of some of the tar files."""
        return [(self.addresses[index], self.counts[index] if self.counts else None) for index in indices]


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

    Args:
        address: http, https, or a path on the disk.

    Raises:
        ImagesError: it cannot be read, describes no set, or names a tar file that may not be opened.
    """
    try:
        with open_address(address) as file:
            content = file.read(int(LARGEST_DESCRIPTION) + 1)
        if len(content) > LARGEST_DESCRIPTION:
            raise ValueError(f"it is larger than {LARGEST_DESCRIPTION / 1e6:.0f} MB")
        return _parse(address, json.loads(content))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else in_a_line(getattr(error, "reason", error))
        raise ImagesError(
            f"{address} does not describe a set of tar files ({reason}); `convnext-lessons shards` writes such a file."
        ) from error


def _parse(address, content):
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    note, classes = content["note"], content["classes"]
    if not isinstance(note, str):
        raise ValueError("its note is no text")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise ValueError("its classes are no list of names")
    splits = [_parse_split(address, name, content[name], len(classes)) for name in ("train", "val")]
    return ShardImages(address, in_a_line(note), tuple(map(in_a_line, classes)), *splits)


def _parse_split(address, name, content, classes):
    shards, count, counts = content["shards"], content["count"], content.get("counts", [])
    if not _is_count(count):
        raise ValueError(f"the count of {name} is {count!r}")
    if not isinstance(shards, list) or not shards or not all(isinstance(shard, str) for shard in shards):
        raise ValueError(f"the shards of {name} are no list of names")
    if counts and not (all(map(_is_count, counts)) and len(counts) == len(shards) and sum(counts) == count):
        raise ValueError(f"the counts of {name} do not add up to its count")
    return Shards(tuple(_resolve(address, shard) for shard in shards), count, classes, tuple(counts))


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SAMPLES


def _resolve(description, name):
    """The address of a tar file that a description names; refused where it must not be opened."""
    if not name.isprintable():
        raise ValueError(f"it names {name!r}, which cannot be printed")
    if is_remote(description):
        resolved = urllib.parse.urljoin(description, name)
        if is_remote(resolved):
            return resolved
        raise ValueError(f"it names {name}, which is no http or https address")
    if is_remote(name):
        return name
    folder = Path(description).resolve().parent
    path = (folder / name).resolve()
    if "://" in name or not path.is_relative_to(folder):
        raise ValueError(f"it names {name}, which is neither below its own folder nor an http or https address")
    return str(path)


def _read_file(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:  # such as a link that leads nowhere
        raise ImagesError(f"{printable(path)} cannot be read ({error.strerror}); replace or delete it.") from error


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
    description = {"note": source.name, "classes": splits["train"].classes}
    with atomic_folder(folder) as part:
        for split, pictures in splits.items():
            samples = list(pictures.samples)
            random.Random(seed).shuffle(samples)
            with reader.ShardWriter(str(part / f"{split}-%06d.tar"), maxcount=per_shard, verbose=0) as writer:
                for number, (path, label) in enumerate(samples):
                    content = _read_file(path)
                    writer.write({"__key__": f"{number:08d}", "jpg": content, "cls": str(label)})
            names = sorted(path.name for path in part.glob(f"{split}-*.tar"))
            counts = [min(per_shard, len(samples) - per_shard * index) for index in range(len(names))]
            description[split] = {"count": len(samples), "shards": names, "counts": counts}
        write_json(part / "shards.json", description)
    return folder / "shards.json"


class TrainingShards(IterableDataset):
    """Local batches, raw, for one rank from a step of the run to its end; see ``loader.training_stream``."""

    def __init__(self, shards: Shards, recipe: Recipe, seed: int, first: int, process: Process):
        self.shards, self.recipe, self.seed, self.first, self.process = shards, recipe, seed, first, process
        self.transform = PictureTransform(recipe.training_transform(), recipe.erasing)

    def __iter__(self):
        worker, workers = _worker()
        per_epoch = self.shards.count // self.recipe.batch_size
        sizes = list(map(len, self.recipe.local_batches(self.process.rank, self.process.world_size)))
        # A loader takes from its processes in turn, and the first one brings the first local batch.
        worker = (worker + self.first * len(sizes)) % workers
        for epoch in range(self.first // per_epoch, self.recipe.epochs):
            samples, number = self._samples(epoch, worker, workers), 0
            start, end = (edge * per_epoch * len(sizes) for edge in (epoch, epoch + 1))
            for index in range(start + (worker - start) % workers, end, workers):
                size, done = sizes[index % len(sizes)], index < self.first * len(sizes)
                yield from self._local_batch(samples, size, epoch, (worker, workers), number, done)
                number += size

    def _samples(self, epoch, worker, workers):
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
        order = torch.randperm(len(self.shards.addresses), generator=generator).tolist()
        mine = order[self.process.rank * workers + worker :: self.process.world_size * workers]
        if not mine:
            needed = self.process.world_size * workers
            yield ImagesError(
                f"{len(order)} tar files cannot feed {needed} loader processes; start fewer with --workers."
            )
        while True:  # some have a few pictures less than their share, and begin anew
            yield from _read(self.shards.files(mine), seed_of(self.seed, epoch, self.process.rank, worker))

    def _local_batch(self, samples, size, epoch, worker, number, done):
        pictures = []
        for offset in range(size):
            sample = next(samples)
            if isinstance(sample, CourseError):
                yield sample
                return
            if not done:  # what was trained on before the resumption is read, but not decoded
                seed = seed_of(self.seed, epoch, self.process.rank, *worker, number + offset)
                pictures.append(_decode(sample, self.transform, seed, self.shards.classes))
        if pictures:
            errors = [picture for picture in pictures if isinstance(picture, CourseError)]
            yield errors[0] if errors else default_collate(pictures)


class ValidationShards(IterableDataset):
    """Batches, raw, of all pictures of a split, each in one batch of one process."""

    def __init__(self, shards: Shards, recipe: Recipe, process: Process, size: int):
        self.shards, self.process, self.size = shards, process, size
        self.transform = PictureTransform(recipe.evaluation_transform())

    def __iter__(self):
        worker, workers = _worker()
        every = range(len(self.shards.addresses))
        mine = self.shards.files(every[self.process.rank * workers + worker :: self.process.world_size * workers])
        batch = []
        for sample in _read(mine, None) if mine else ():
            whole = not isinstance(sample, CourseError)
            picture = _decode(sample, self.transform, 0, self.shards.classes) if whole else sample
            if isinstance(picture, CourseError):
                yield picture
                return
            batch.append(picture)
            if len(batch) == self.size:
                yield default_collate(batch)
                batch = []
        if batch:
            yield default_collate(batch)


def _read(files, seed) -> Iterator[dict[str, Any] | ImagesError]:
    """The raw samples of some tar files, shuffled unless the seed is None; an error ends them."""
    reader = _webdataset()
    samples = _samples_of(reader, files)
    if seed is not None:
        samples = reader.shuffle(SHUFFLED, initial=SHUFFLED, rng=random.Random(seed))(samples)
    try:
        yield from samples
    except ImagesError as error:
        yield error


def _samples_of(reader, files):
    for address, promised in files:
        found = 0
        try:
            for sample in reader.tariterators.group_by_keys(_members(address)):
                found += 1
                yield sample
        except Exception as error:  # networks, disks and tar files each break in a way of their own
            if isinstance(error, ImagesError):
                raise
            raise ImagesError(f"The tar file {address} cannot be read ({in_a_line(error)}); fetch it again.") from error
        if not found or promised not in (None, found):
            expected = f"{promised} were promised" if promised else "some were promised"
            raise ImagesError(f"The tar file {address} holds {found} samples where {expected}; fetch it again.")


def _members(address):
    """The files of a tar file, one after the other, in webdataset's form."""
    with contextlib.closing(open_address(address)) as file, tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            if member.isreg():
                if member.size > LARGEST_FILE:
                    raise ImagesError(
                        f"{in_a_line(member.name)} in {address} claims {member.size:,} bytes; leave it out."
                    )
                yield {"fname": member.name, "data": tar.extractfile(member).read(), "__url__": address}
            tar.members = []  # or they would be remembered for ever


def _decode(sample, transform, seed, classes):
    """(picture, label, rectangle), or the error that says what is wrong with the sample."""
    where = f"{in_a_line(sample['__key__'])} of {sample['__url__']}"
    name = next((name for name in PICTURE_NAMES if name in sample), None)
    if name is None or "cls" not in sample:
        return ImagesError(f"Sample {where} has no picture or no label.")
    label = sample["cls"].strip()
    if not label.isdigit() or len(label) > LONGEST_LABEL or int(label) >= classes:
        return ImagesError(f"Sample {where} has the label {label[:20]!r}; it must be 0 to {classes - 1}.")
    try:
        pixels, rectangle = transform(read_pixels(io.BytesIO(sample[name]), where), seed)
    except ImagesError as error:
        return error
    return pixels, int(label), rectangle


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
