"""Pictures: Imagenette, any folder with train/ and val/, or the stand-in; decoded once, then batches out of memory."""

import contextlib
import errno
import hashlib
import http.client
import math
import os
import tarfile
import urllib.error
import urllib.request
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torchvision.datasets import ImageFolder
from torchvision.datasets.utils import check_integrity

from convnext_lessons.machine import (
    CourseError,
    atomic,
    atomic_folder,
    data_folder,
    fast_mode,
    made,
    save_tensors,
    storage_error,
)
from convnext_lessons.recipe import FAST_IMAGE_SIZE, MEAN, STD
from convnext_lessons.shapes import SHAPES, render

ARCHIVE = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz"
ARCHIVE_MD5 = "e793b78cc4c9e9a4ccc0c1155377a412"  # as in torchvision.datasets.Imagenette
COUNTS = {"train": 9469, "val": 3925}
CLASSES = {
    "n01440764": "tench",
    "n02102040": "springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
CACHE_VERSION = 1
MARGIN = 1.25  # training pictures are kept a quarter larger than they are used, so that crops keep their detail


class ImagesError(CourseError):
    """Pictures that are missing, broken or not in the expected folders."""


class NotDownloaded(ImagesError):
    """Imagenette is not here and could not be fetched."""


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Attributes:
        source: ``"imagenette"``, ``"stand-in"`` or the folder.
        note: what has to be said beside every number measured on these pictures.
        classes: names, in the order of the labels.
        size: side of the validation pictures, in pixels; training pictures are ``MARGIN`` times as large.
        train, val: uint8 [N, 3, side, side].
        train_labels, val_labels: int64 [N].
    """

    source: str
    note: str
    classes: tuple
    size: int
    train: torch.Tensor
    train_labels: torch.Tensor
    val: torch.Tensor
    val_labels: torch.Tensor

    def to(self, device):
        """The same pictures on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("train", "train_labels", "val", "val_labels")}
        return Images(self.source, self.note, self.classes, self.size, **moved)


def load_images(source=None, size=128, progress=print):
    """Pictures of a side of ``size`` pixels, ready to train on.

    Args:
        source: ``"imagenette"`` (fetched where it is missing), ``"stand-in"``, or a folder that holds ``train/`` and
            ``val/``, each with a folder for each class. None takes Imagenette, and the stand-in where it cannot be had.
            Fast mode takes the stand-in, whatever is asked for.
        progress: is told what takes long, a line at a time.

    Raises:
        ImagesError: the pictures are missing, broken or in other folders than expected.
        StorageError: there is no room for them.
    """
    if fast_mode():
        return stand_in(FAST_IMAGE_SIZE, train_count=64, val_count=40)
    if source == "stand-in":
        return stand_in(size)
    if source in (None, "imagenette"):
        try:
            folder = imagenette_folder(progress=progress)
        except NotDownloaded as error:
            if source:
                raise
            progress(
                f"{error} Until then the stand-in takes its place: ten rendered shapes, NOT Imagenette; its "
                "accuracies mean nothing beside others."
            )
            return stand_in(size)
        return _from_folder(folder, "imagenette", size, progress)
    return _from_folder(Path(source).resolve(), str(source), size, progress)


def standardize(pictures):
    """[N, 3, H, W] with values from 0 to 255 → float with ImageNet's mean at 0 and its standard deviation at 1."""
    mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) * 255 for values in (MEAN, STD))
    return (pictures.float().contiguous(memory_format=torch.channels_last) - mean).div_(std)


class Augmentation:
    """Random resized crops and flips for one epoch, drawn for every picture from seed, epoch and its place in the set.

    So neither the order of the batches nor an interruption changes what a picture looks like in its epoch.
    """

    def __init__(self, count, seed, epoch, crop_scale):
        draw = torch.rand(count, 5, generator=torch.Generator().manual_seed(2 * _mix(seed, epoch)))
        area = crop_scale + (1 - crop_scale) * draw[:, 0]
        stretch = ((2 * draw[:, 1] - 1) * math.log(4 / 3)).exp().sqrt()
        width, height = (area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)
        flip = 1 - 2 * (draw[:, 4] < 0.5).float()
        # One affine map a picture, from the crop's coordinates to the whole picture's, both from -1 to 1.
        self.maps = torch.zeros(count, 2, 3)
        self.maps[:, 0, 0], self.maps[:, 1, 1] = width * flip, height
        self.maps[:, 0, 2], self.maps[:, 1, 2] = (2 * draw[:, 2] - 1) * (1 - width), (2 * draw[:, 3] - 1) * (1 - height)

    def __call__(self, pictures, which, size):
        """uint8 pictures [B, 3, S, S] with their places ``which`` [B] → standardized [B, 3, size, size]."""
        grid = functional.affine_grid(
            self.maps[which].to(pictures.device), (len(which), 3, size, size), align_corners=False
        )
        return standardize(
            functional.grid_sample(pictures.float(), grid, padding_mode="reflection", align_corners=False)
        )


def epoch_order(count, recipe, seed, epoch):
    """The places of an epoch's pictures, shuffled as a function of seed and epoch; a rest smaller than a batch is left
    out, and what is repeated comes one after the other."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(2 * _mix(seed, epoch) + 1))
    if recipe.repeats > 1:
        order = order[: math.ceil(count / recipe.repeats)].repeat_interleave(recipe.repeats)
    return order[: count - count % recipe.batch_size]


def training_batches(images, recipe, seed, epoch, first=0, rank=0, count=1, at_once=None):
    """Yield (pictures, labels) of one epoch, shuffled and augmented as functions of seed and epoch.

    Args:
        first: the batch to begin with.
        rank, count: of ``count`` processes this one gets every picture whose place in the batch is ``rank`` or so many
            further on.
        at_once: most pictures in a piece; a batch comes in several pieces where it is larger.
    """
    augment = Augmentation(len(images.train), seed, epoch, recipe.crop_scale)
    order = epoch_order(len(images.train), recipe, seed, epoch).view(-1, recipe.batch_size)
    for batch in order[first:, rank::count]:
        for which in batch.split(at_once or recipe.batch_size):
            here = which.to(images.train.device)
            yield augment(images.train[here], which, recipe.size_in(epoch)), images.train_labels[here]


def validation_batches(images, batch_size=256, rank=0, count=1):
    """Yield (pictures, labels) of the validation set, in order; of several processes each gets its share, and none of
    the pictures comes twice."""
    shares = (tensor[rank::count].split(batch_size) for tensor in (images.val, images.val_labels))
    for pictures, labels in zip(*shares, strict=True):
        yield standardize(pictures), labels


def seed_of(*numbers):
    """A seed for torch from any numbers: the same for the same ones, unrelated for others."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=4).digest())


def _mix(seed, epoch):
    return seed * 100_003 + epoch


# Imagenette -----------------------------------------------------------------------------------------------------------


def imagenette_folder(root=None, progress=print):
    """The folder of Imagenette at 160 px: the one that is there if it is whole, else fetched from its authors.

    Raises:
        NotDownloaded: it is not here and cannot be fetched.
        ImagesError: a folder is there but not whole, or what came is not what its authors publish.
    """
    root = Path(root) if root else data_folder() / "downloads"
    folder = root / "imagenette2-160"
    if folder.exists():
        _check_whole(folder)
        return folder
    archive = made(root) / "imagenette2-160.tgz"
    if not check_integrity(str(archive), ARCHIVE_MD5):
        _fetch(archive, progress)
    progress(f"unpacking {archive.name} …")
    with atomic_folder(folder) as part:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(part, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ImagesError(f"{archive} cannot be unpacked ({error}); delete it, and it is fetched again.") from error
        inner = part / "imagenette2-160"
        _check_whole(inner, named=archive)
        for child in inner.iterdir():
            child.rename(part / child.name)
        inner.rmdir()
    archive.unlink()
    return folder


def _check_whole(folder, named=None):
    named = named or folder
    for split, expected in COUNTS.items():
        found = sum(1 for _ in (folder / split).glob("*/*.JPEG"))
        if found != expected:
            raise ImagesError(
                f"{named}/{split} holds {found} pictures where Imagenette has {expected}; "
                f"delete {named}, and it is fetched again."
            )


def _fetch(archive, progress):
    with atomic(archive) as part:
        try:
            with urllib.request.urlopen(ARCHIVE, timeout=20) as answer, open(part, "wb") as file:
                whole, got, told = int(answer.headers.get("Content-Length") or 0), 0, -1
                while chunk := answer.read(1 << 20):
                    file.write(chunk)
                    got += len(chunk)
                    if whole and got * 10 // whole > told:
                        told = got * 10 // whole
                        progress(f"fetching Imagenette: {got / 1e6:.0f} of {whole / 1e6:.0f} MB")
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise storage_error(archive.parent, error) from error
            raise NotDownloaded(
                f"Imagenette cannot be fetched ({getattr(error, 'reason', error)}): connect to the internet once, "
                f"or unpack imagenette2-160.tgz into {archive.parent}."
            ) from error
        if not check_integrity(str(part), ARCHIVE_MD5):
            raise ImagesError(
                f"What came from {ARCHIVE} is cut off or altered: its checksum is not its authors'; try again."
            )


# Decoding once --------------------------------------------------------------------------------------------------------


def class_folders(folder):
    """torchvision's ``ImageFolder`` of ``train/`` and ``val/``, as a dictionary.

    Raises:
        ImagesError: one is missing, or they have other classes.
    """
    splits = {name: _files(folder / name) for name in ("train", "val")}
    if splits["train"].classes != splits["val"].classes:
        raise ImagesError(
            f"{folder}/train and {folder}/val have different classes; both need the same folders, one for each class."
        )
    return splits


def decoded(file, name=None):
    """A picture in RGB, from a path or an open file; ``name`` is what an error calls it.

    Raises:
        ImagesError: it is no readable picture.
    """
    try:
        with Image.open(file) as opened:
            return opened.convert("RGB")
    except Exception as error:  # Pillow's formats each break in a way of their own
        raise ImagesError(f"{name or file} is not a readable picture ({error}); replace or delete it.") from error


def common_square(sizes):
    """The side that pictures of these (width, height) share, 0 where they do not: photographs have many shapes, so that
    a folder of equal squares has been squashed or cropped by somebody."""
    sizes = set(sizes)
    return next(iter(sizes))[0] if len(sizes) == 1 and len(set(*sizes)) == 1 else 0


def note_of(source, folder, square):
    """What is said beside every number measured on a folder of pictures."""
    squashed = f", squashed to {square}×{square}" if square else ""
    return f"Imagenette v2{squashed}" if source == "imagenette" else f"{folder.name}{squashed}"


def _from_folder(folder, source, size, progress):
    """Pictures of a folder out of the cache, decoded first where the cache does not hold them."""
    splits = class_folders(folder)
    classes = splits["train"].classes
    _check_room(folder, splits, size)

    fingerprint = hashlib.sha256(f"{CACHE_VERSION} {size} {MARGIN}".encode())
    for name, split in splits.items():
        for path, _ in split.samples:
            found = os.stat(path)
            line = f"{name} {os.path.relpath(path, folder)} {found.st_size} {found.st_mtime_ns}\n"
            fingerprint.update(line.encode())
    fingerprint = fingerprint.hexdigest()
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    cache = data_folder() / "cache" / f"{folder.name}-{place}-{size}.pt"
    content = _read_cache(cache, fingerprint)
    if content is None:
        content = {"fingerprint": fingerprint}
        sides = set()
        for name, split in splits.items():
            side = round(size * MARGIN) if name == "train" else size
            progress(f"decoding {len(split.samples)} pictures of {folder.name}/{name}, once …")
            content[name] = _decode([path for path, _ in split.samples], side, sides)
            content[f"{name}_labels"] = torch.tensor([label for _, label in split.samples])
        content["squares"] = common_square(sides)
        content["checksum"] = _checksum(content)
        save_tensors(content, cache)
        content = _read_cache(cache, fingerprint)
    note = note_of(source, folder, content["squares"])
    names = tuple(CLASSES.get(name, name) for name in classes)
    return Images(
        source, note, names, size, **{key: content[key] for key in ("train", "train_labels", "val", "val_labels")}
    )


def _files(folder):
    try:
        return ImageFolder(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImagesError(
            f"{folder} is missing or holds no folder of pictures for some class ({str(error).splitlines()[0]}); "
            "a data set is a folder with train/ and val/, each with one folder of pictures for each class."
        ) from error


def _check_room(folder, splits, size):
    need = 3 * (len(splits["train"].samples) * round(size * MARGIN) ** 2 + len(splits["val"].samples) * size**2)
    with contextlib.suppress(AttributeError, ValueError):  # where the system does not tell its memory
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if need > have / 2:
            raise ImagesError(
                f"{folder} decoded at {size} px takes {need / 1e9:.0f} GB, and this machine has {have / 1e9:.0f} GB "
                "of memory; choose a smaller image size."
            )


def _decode(paths, side, sides):
    """uint8 [N, 3, side, side]: each picture scaled until its shorter side fits, then cut to its central square."""
    out = torch.empty(len(paths), 3, side, side, dtype=torch.uint8)

    def one(index):
        picture = decoded(paths[index])
        width, height = picture.size
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        square = picture.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + short, top + short))
        out[index] = torch.from_numpy(np.array(square)).permute(2, 0, 1)
        return picture.size

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        sides.update(pool.map(one, range(len(paths))))
    return out


def _checksum(content):
    total = 0
    for name in ("train", "train_labels", "val", "val_labels"):
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


# The stand-in ---------------------------------------------------------------------------------------------------------


def stand_in(size=128, train_count=4000, val_count=1000, seed=0):
    """Pictures of rendered shapes, ten classes, the same for the same seed; not Imagenette, and labelled so."""
    train, train_labels = render(train_count, round(size * MARGIN), np.random.default_rng([seed, 0]))
    val, val_labels = render(val_count, size, np.random.default_rng([seed, 1]))
    tensors = map(torch.from_numpy, (train, train_labels, val, val_labels))
    return Images("stand-in", "stand-in: ten rendered shapes, NOT Imagenette", SHAPES, size, *tensors)
