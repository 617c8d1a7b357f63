"""A folder of images: its two splits, their classes, and how one image is read."""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from convnext_lessons.data.datasets import DATASETS, DataSet, ImagesError
from convnext_lessons.data.listing import ListedFolder
from convnext_lessons.system.errors import in_a_line

try:
    from torchvision.io import ImageReadMode, decode_jpeg
except ImportError:  # it is to go from torchvision, which has said so since 0.29
    decode_jpeg = None

LONGEST = 50  # times its width: beyond, scaling the short side makes gigabytes of a few pixels


def open_splits(folder: Path) -> dict[str, ImageFolder]:
    """torchvision's ``ImageFolder`` of ``train/`` and ``val/``.

    Raises:
        ImagesError: one is missing, or they have other classes.
    """
    splits = {name: _open_split(folder / name) for name in ("train", "val")}
    if splits["train"].classes != splits["val"].classes:
        raise ImagesError(
            f"{folder}/train and {folder}/val have different classes; both need the same folders, one for each class."
        )
    return splits


def read_image(file: str | Path | IO[bytes], name: str | None = None) -> Image.Image:
    """An image in RGB, from a path or an open file; ``name`` is what an error calls it. Grey images of 16 bits are
    scaled to 8.

    Raises:
        ImagesError: it is no readable image, or one whose proportions or values no network of ours is meant for.
    """
    return _read(file, name, _to_rgb)


def read_pixels(file: str | Path | IO[bytes], name: str | None = None) -> torch.Tensor:
    """The same image as uint8 [3, H, W]. JPEG files are decoded by torchvision where it can, which takes two thirds of
    Pillow's time and gives the same pixels: libjpeg-turbo decodes in both."""
    return _read(file, name, _to_pixels)


def _read(file, name, convert: Callable):
    name = name or printable(file)
    try:
        if isinstance(file, str | Path) and not os.path.isfile(file):  # a pipe would be waited for, for ever
            raise OSError("there is no such file")
        with Image.open(file) as opened:
            if max(opened.size) > LONGEST * min(opened.size):
                raise OSError(
                    f"{opened.width}×{opened.height} pixels is more than {LONGEST} times as long as it is wide"
                )
            return convert(opened)
    except Exception as error:  # Pillow's formats each break in a way of their own
        raise ImagesError(f"{name} is not a readable image ({in_a_line(error)}); replace or delete it.") from error


def _to_rgb(image):
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        # Pillow would clip them to 255, which makes nearly all of them white.
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise OSError("its values are numbers of 32 bits, whose range nobody states; save it with 8 bits")
    return image.convert("RGB")


def _to_pixels(image):
    if decode_jpeg and image.format == "JPEG" and image.mode in ("L", "RGB"):
        image.fp.seek(0)
        content = torch.frombuffer(bytearray(image.fp.read()), dtype=torch.uint8)
        with contextlib.suppress(RuntimeError):  # of damaged files: Pillow has the last word
            return decode_jpeg(content, ImageReadMode.RGB)
    return pil_to_tensor(_to_rgb(image))


def central_square(image: Image.Image, side: int) -> torch.Tensor:
    """uint8 [3, side, side]: an image scaled until its shorter side fits, then cut to its central square."""
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    square = image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + short, top + short))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def printable(path: object) -> str:
    """A path as words that can be printed, whatever bytes its name has."""
    return os.fsencode(path).decode(errors="replace") if isinstance(path, str | Path) else str(path)


def class_names(folders: Iterable[str]) -> tuple[str, ...]:
    """Plain names of class folders: those that a data set gives them, or the folders' own."""
    known = {name: plain for dataset in DATASETS.values() for name, plain in dataset.classes.items()}
    return tuple(known.get(name, name) for name in folders)


def common_square(sizes: Iterable[tuple[int, int]]) -> int:
    """The side that images of these (width, height) share, 0 where they do not: photographs have many shapes, so that
    a folder of equal squares has been squashed or cropped by somebody."""
    sizes = set(sizes)
    return next(iter(sizes))[0] if len(sizes) == 1 and len(set(*sizes)) == 1 else 0


def describe_images(folder: Path, dataset: DataSet | None, square: int) -> str:
    """What is said beside every number measured on a folder of images."""
    squashed = f", squashed to {square}×{square}" if square else ""
    return f"{dataset.title if dataset else printable(folder.name)}{squashed}"


def _open_split(folder):
    try:
        split = ListedFolder(folder)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        advice = (
            "a data set is a folder with train/ and val/, each with one folder of images for each class."
            if not _wants_arranging(folder.parent)
            else f"ImageNet as Kaggle or Hugging Face give it is made into such a folder by convnext-lessons arrange "
            f"{printable(folder.parent)} NEW."
        )
        raise ImagesError(
            f"{printable(folder)} is missing or holds no folder of images for some class "
            f"({str(error).splitlines()[0]}); {advice}"
        ) from error
    split.samples = _without_repeated_folders(folder, split)
    return split


def _wants_arranging(folder):
    """Whether a folder holds ImageNet as ``arrange`` takes it."""
    try:
        return (folder / "ILSVRC").is_dir() or any(
            next(folder.glob(form), None) for form in ("*.parquet", "*/*.parquet")
        )
    except (OSError, ValueError):
        return False


def _without_repeated_folders(folder, split):
    """The samples of a split, each real folder once: a link to a folder above it would bring its images again and
    again."""
    labels, kept = {}, {}
    for path, label in split.samples:
        parent = os.path.dirname(path)
        if parent not in kept:
            real = os.path.realpath(parent)
            if labels.setdefault(real, (label, parent))[0] != label:
                raise ImagesError(
                    f"{printable(parent)} and {printable(labels[real][1])} are the same folder, in two classes of "
                    f"{printable(folder)}; remove the link."
                )
            kept[parent] = labels[real][1] == parent
    return [(path, label) for path, label in split.samples if kept[os.path.dirname(path)]]
