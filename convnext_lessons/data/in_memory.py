"""Images that fit into memory: decoded once, kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from convnext_lessons.data.augmentation import FAST_IMAGE_SIZE, Batch, standardize, training_batches
from convnext_lessons.data.datasets import IMAGENETTE, ImagesError, NotDownloaded, locate
from convnext_lessons.data.folders import (
    central_square,
    class_names,
    common_square,
    describe_images,
    open_splits,
    printable,
    read_image,
)
from convnext_lessons.data.stand_in import SHAPES, render
from convnext_lessons.system.settings import data_folder, fast_mode, images_asked_for
from convnext_lessons.system.storage import locked, save_tensors, sweep_parts

if TYPE_CHECKING:
    from convnext_lessons.runs.recipe import Recipe

CACHE_VERSION = 4

MARGIN = 1.25  # training pictures are kept a quarter larger than they are used, so that crops keep their detail


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Attributes:
        source: the data set's name, ``"stand-in"`` or the folder.
        note: what has to be said beside every number measured on these pictures.
        classes: names, in the order of the labels.
        size: side of the validation pictures, in pixels; training pictures are ``MARGIN`` times as large.
        train, val: uint8 [N, 3, side, side].
        train_labels, val_labels: int64 [N].
    """

    source: str
    note: str
    classes: tuple[str, ...]
    size: int
    train: torch.Tensor
    train_labels: torch.Tensor
    val: torch.Tensor
    val_labels: torch.Tensor

    def to(self, device: str | torch.device) -> Images:
        """The same pictures on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})

    def resized(self, size: int) -> Images:
        """The same data set with validation pictures of ``size`` pixels, as ``load_images`` gives it."""
        return load_images(self.source, size)

    def batches(self, recipe: Recipe, seed: int = 0, epoch: int = 0) -> Iterator[Batch]:
        """Yield (pictures, labels) of one epoch of training; see ``augmentation.training_batches``."""
        return training_batches(self, recipe, seed, epoch)

    @staticmethod
    def standardize(pictures: torch.Tensor) -> torch.Tensor:
        """Pictures as a network takes them; see ``augmentation.standardize``."""
        return standardize(pictures)


_TENSORS = ("train", "train_labels", "val", "val_labels")


def load_images(source: str | Path | None = None, size: int = 128, progress: Callable[[str], object] = print) -> Images:
    """Pictures of a side of ``size`` pixels, ready to train on.

    Args:
        source: a name in ``DATASETS`` (downloaded where it is missing), ``"stand-in"``, or a folder that holds
            ``train/`` and ``val/``, each with a folder for each class. None takes what ``CONVNEXT_LESSONS_IMAGES``
            says, else Imagenette, and the stand-in where that cannot be had. Fast mode takes the stand-in, whatever is
            asked for.
        progress: called with a line of text whenever something takes long.

    Raises:
        ImagesError: the pictures are missing, broken or in other folders than expected.
        StorageError: there is no room for them.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ImagesError(f"The size of the pictures is {size!r}; say a whole number of pixels of at least 1.")
    if fast_mode():
        return stand_in(FAST_IMAGE_SIZE, train_count=64, val_count=40)
    asked = source or images_asked_for()
    if asked == "stand-in":
        return stand_in(size)
    try:
        folder, dataset = locate(asked or IMAGENETTE.name, progress)
    except NotDownloaded as error:
        if asked:
            raise
        progress(
            f"{error} Until then the stand-in takes its place: ten rendered shapes, NOT Imagenette; its accuracies "
            "mean nothing beside others."
        )
        return stand_in(size)
    return _from_folder(folder, dataset, str(asked or IMAGENETTE.name), size, progress)


def stand_in(size: int = 128, train_count: int = 4000, val_count: int = 1000, seed: int = 0) -> Images:
    """Pictures of rendered shapes, ten classes, the same for the same seed; not Imagenette, and labelled so."""
    train, train_labels = render(train_count, round(size * MARGIN), np.random.default_rng([seed, 0]))
    val, val_labels = render(val_count, size, np.random.default_rng([seed, 1]))
    tensors = map(torch.from_numpy, (train, train_labels, val, val_labels))
    return Images("stand-in", "stand-in: ten rendered shapes, NOT Imagenette", SHAPES, size, *tensors)


def _from_folder(folder, dataset, source, size, progress):
    """Pictures of a folder out of the cache, decoded first where the cache does not hold them."""
    splits = open_splits(folder)
    _check_room(folder, splits, size)
    squash = dataset.squash if dataset else 0
    fingerprint = _fingerprint(folder, splits, size, squash)
    path_hash = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    cache = data_folder() / "cache" / f"{printable(folder.name)}-{path_hash}-{size}.pt"
    content = _read_cache(cache, fingerprint)
    if content is None:
        with locked(cache, lambda: progress(f"another process decodes {printable(folder.name)}; waiting for it …")):
            content = _read_cache(cache, fingerprint)
            if content is None:
                sweep_parts(cache)
                content = _decode_folder(folder, splits, size, squash, fingerprint, cache, progress)
    note = describe_images(folder, dataset, squash or content["squares"])
    names = class_names(splits["train"].classes)
    return Images(source, note, names, size, **{key: content[key] for key in _TENSORS})


def _decode_folder(folder, splits, size, squash, fingerprint, cache, progress):
    """The content of a cache file, decoded, and read again from the disk, where its memory is shared."""
    content, sizes = {"fingerprint": fingerprint}, set()
    for name, split in splits.items():
        side = round(size * MARGIN) if name == "train" else size
        progress(f"decoding {len(split.samples)} pictures of {printable(folder.name)}/{name}, once …")
        content[name] = _decode([path for path, _ in split.samples], side, squash, sizes)
        content[f"{name}_labels"] = torch.tensor([label for _, label in split.samples])
    content["squares"] = common_square(sizes)
    if squash and not content["squares"]:
        progress(
            f"They lose their proportions, squashed to {squash}×{squash}, as those of the stored runs did; these were "
            "encoded once more, a small difference that is left."
        )
    content["checksum"] = _checksum(content)
    save_tensors(content, cache)
    return _read_cache(cache, fingerprint)


def _fingerprint(folder, splits, size, squash):
    """A hash of the names, sizes and times of all files, and of how they are decoded."""
    found = hashlib.sha256(f"{CACHE_VERSION} {size} {MARGIN} {squash}".encode())
    for name, split in splits.items():
        for path, _ in split.samples:
            try:
                status = os.stat(path)
            except OSError as error:  # such as a link that leads nowhere
                raise ImagesError(
                    f"{printable(path)} cannot be read ({error.strerror}); replace or delete it."
                ) from error
            found.update(f"{name} {status.st_size} {status.st_mtime_ns} ".encode())
            found.update(os.fsencode(os.path.relpath(path, folder)) + b"\n")
    return found.hexdigest()


def _check_room(folder, splits, size):
    need = 3 * (len(splits["train"].samples) * round(size * MARGIN) ** 2 + len(splits["val"].samples) * size**2)
    with contextlib.suppress(AttributeError, ValueError):  # where the system does not tell its memory
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if need > have / 2:
            raise ImagesError(
                f"{folder} decoded at {size} px takes {need / 1e9:.0f} GB, and this machine has {have / 1e9:.0f} GB "
                "of memory; choose a smaller image size."
            )


def _decode(paths, side, squash, sizes):
    """uint8 [N, 3, side, side]: the central square of each picture, squashed to a square of ``squash`` pixels first
    unless that is 0."""
    out = torch.empty(len(paths), 3, side, side, dtype=torch.uint8)

    def one(index):
        picture = read_image(paths[index])
        square = picture if picture.size == (squash, squash) or not squash else picture.resize((squash, squash))
        out[index] = central_square(square, side)
        return picture.size

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        sizes.update(pool.map(one, range(len(paths))))
    return out


def _checksum(content):
    total = zlib.crc32(f"{content['fingerprint']} {content['squares']}".encode())
    for name in _TENSORS:
        total = zlib.crc32(content[name].numpy().reshape(-1).view(np.uint8), total)
    return total


def _read_cache(path, fingerprint):
    """What a cache file holds, or None where it is missing, damaged, or made of other pictures or by another
    version."""
    if not path.exists():
        return None
    try:
        content = torch.load(path, weights_only=True, mmap=True)
        if content["fingerprint"] == fingerprint and content["checksum"] == _checksum(content):
            return content
    except Exception as error:  # a damaged zip file can raise nearly anything; every such file is made anew
        warnings.warn(f"The cache {path} is damaged ({error}) and is made again.", stacklevel=2)
    return None
