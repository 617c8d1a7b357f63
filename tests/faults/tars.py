"""Tar files of a data set, whole and otherwise."""

import functools
import io
import tarfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from convnext_lessons.data import IMAGENETTE

SMALL = replace(IMAGENETTE, counts={"train": 2, "val": 1})
NAME, CLASS = SMALL.folder, next(iter(SMALL.classes))

Member = tuple[tarfile.TarInfo, bytes]


@functools.cache
def picture() -> bytes:
    """A JPEG."""
    buffer = io.BytesIO()
    Image.effect_noise((40, 40), 90).save(buffer, "JPEG")
    return buffer.getvalue()


def member(name: str, content: bytes = b"", **fields: object) -> Member:
    """A file in an archive, or whatever ``type`` says."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def whole_set(folder: str = NAME) -> list[Member]:
    """The small data set."""
    places = ("train", 0), ("train", 1), ("val", 0)
    return [member(f"{folder}/{split}/{CLASS}/{number}.JPEG", picture()) for split, number in places]


def write_archive(path: Path, members: list[Member]) -> Path:
    """An archive of files, as data sets are published."""
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def tar_of(*files: tuple[str, bytes]) -> bytes:
    """A tar file of (name, content), as data sets in tar files are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files:
            tar.addfile(member(name, content)[0], io.BytesIO(content))
    return buffer.getvalue()


def names_below(place: Path) -> set[str]:
    """Everything in a folder and the folders in it."""
    return {str(path.relative_to(place)) for path in place.rglob("*")}
