"""A folder of images: its two splits, their classes, and how one image is read."""

from collections.abc import Iterable
from pathlib import Path
from typing import IO

from PIL import Image
from torchvision.datasets import ImageFolder

from convnext_lessons.data.datasets import DATASETS, DataSet, ImagesError


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
    """An image in RGB, from a path or an open file; ``name`` is what an error calls it.

    Raises:
        ImagesError: it is no readable image.
    """
    try:
        with Image.open(file) as opened:
            return opened.convert("RGB")
    except Exception as error:  # Pillow's formats each break in a way of their own
        raise ImagesError(f"{name or file} is not a readable image ({error}); replace or delete it.") from error


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
    return f"{dataset.title if dataset else folder.name}{squashed}"


def _open_split(folder):
    try:
        return ImageFolder(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImagesError(
            f"{folder} is missing or holds no folder of images for some class ({str(error).splitlines()[0]}); "
            "a data set is a folder with train/ and val/, each with one folder of images for each class."
        ) from error
