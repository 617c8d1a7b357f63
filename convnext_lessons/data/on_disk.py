"""Data sets that stay on the disk: Imagenette, ImageNet or any folder of pictures, at any size."""

from __future__ import annotations

import contextlib
import os
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from convnext_lessons.data.datasets import IMAGENETTE, ImagesError, locate
from convnext_lessons.data.folders import class_names, common_square, describe_images, open_splits, read_pixels
from convnext_lessons.data.in_memory import Images, load_images
from convnext_lessons.data.listing import ListedImageNet
from convnext_lessons.data.tar_shards import ShardImages, open_shards
from convnext_lessons.system.errors import in_a_line
from convnext_lessons.system.settings import fast_mode, images_asked_for

if TYPE_CHECKING:
    from convnext_lessons.runs.recipe import Recipe

IMAGENET_COUNTS = {"train": 1_281_167, "val": 50_000}

IMAGENET_ARCHIVES = ("ILSVRC2012_devkit_t12.tar.gz", "meta.bin")  # one of them is in a folder that torchvision prepares


@dataclass(frozen=True)
class ImagesOnDisk:
    """A data set on the disk.

    Attributes:
        source: the data set's name or the folder.
        note: what has to be said beside every number measured on these pictures.
        classes: names, in the order of the labels.
        train, val: datasets of (picture, label), the picture uint8 [3, H, W].
    """

    source: str
    note: str
    classes: tuple[str, ...]
    train: Dataset
    val: Dataset


class ImageFiles(Dataset):
    """The pictures and labels of torchvision's ``ImageFolder``, in two tensors: a million Python strings would be
    copied into each process of a loader, and tensors are shared between them."""

    def __init__(self, split: ImageFolder):
        names = np.array([os.fsencode(path) for path, _ in split.samples])
        self.paths = torch.from_numpy(names.view(np.uint8).reshape(len(names), -1).copy())
        self.labels = torch.tensor([label for _, label in split.samples])

    def __len__(self):
        return len(self.labels)

    def path(self, index: int) -> str:
        """Where a picture is."""
        return os.fsdecode(self.paths[index].numpy().tobytes().rstrip(b"\0"))

    def __getitem__(self, index):
        return read_pixels(self.path(index)), self.labels[index]


def open_images(
    recipe: Recipe, source: str | None = None, progress: Callable[[str], object] = print
) -> Images | ImagesOnDisk | ShardImages:
    """The pictures that a recipe trains on, in memory or on the disk, as it needs them.

    Args:
        source: a name in ``DATASETS`` (downloaded where it is missing), ``"stand-in"``, or a folder that holds
            ``train/`` and ``val/``, each with a folder for each class; for ImageNet also a folder with its authors'
            archives, which torchvision unpacks, or the path or address of a file that ends in ``.json`` and describes
            a set of tar files (see ``tar_shards``). None takes what ``CONVNEXT_LESSONS_IMAGES`` says, else Imagenette.
            Fast mode takes the stand-in, whatever is asked for.

    Raises:
        ImagesError: the pictures are missing, broken or in other folders than expected.
    """
    source = source or images_asked_for()
    if recipe.augmentation == "batches" or source == "stand-in" or fast_mode():
        return load_images(source, recipe.validation_size, progress)
    if source and source.endswith(".json"):
        return open_shards(source)
    source = source or IMAGENETTE.name
    folder, dataset = locate(source, progress)
    if any(os.path.exists(folder / name) for name in IMAGENET_ARCHIVES):  # also where the folder may not be read
        splits, classes = _imagenet(folder, progress)
    else:
        splits = open_splits(folder)
        classes = class_names(splits["train"].classes)
    files = {name: ImageFiles(split) for name, split in splits.items()}
    square = common_square(_size(path) for split in splits.values() for path in _one_path_per_class(split))
    return ImagesOnDisk(source, describe_images(folder, dataset, square), classes, **files)


def _imagenet(folder, progress):
    """ImageNet's two splits and class names; unpacks the archives that lie in the folder where that was not done."""
    splits = {}
    for name, expected in IMAGENET_COUNTS.items():
        if not (folder / name).exists():
            progress(f"unpacking ImageNet's archives in {folder} for {name}/, once; this takes long …")
        with _safe_unpacking():
            try:
                splits[name] = ListedImageNet(folder, name)
            except (RuntimeError, OSError, ValueError, tarfile.TarError, pickle.UnpicklingError) as error:
                raise ImagesError(
                    f"ImageNet in {folder} cannot be read ({in_a_line(error)}); if it is another data set, move its "
                    f"{' or '.join(IMAGENET_ARCHIVES)} away."
                ) from error
        if len(splits[name]) != expected:
            raise ImagesError(
                f"{folder}/{name} holds {len(splits[name]):,} pictures where ImageNet has {expected:,}; "
                "delete that folder, and it is unpacked again."
            )
    return splits, tuple(names[0] for names in splits["train"].classes)


@contextlib.contextmanager
def _safe_unpacking():
    """torchvision unpacks with Python's default, which before 3.14 trusts an archive; here it does not."""
    before = tarfile.TarFile.extraction_filter if "extraction_filter" in vars(tarfile.TarFile) else None
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        if before is None:
            del tarfile.TarFile.extraction_filter
        else:
            tarfile.TarFile.extraction_filter = staticmethod(before)


def _one_path_per_class(split):
    """The path of each class's first picture."""
    return {label: path for path, label in reversed(split.samples)}.values()


def _size(path):
    with contextlib.suppress(Exception), Image.open(path) as opened:
        return opened.size
    return 0, 1  # no square: what is wrong with it is said when it is read
