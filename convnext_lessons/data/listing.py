"""Which images a folder holds, kept from one start to the next: on a network disk, listing ImageNet takes minutes.

A kept listing is used as long as all its folders have the times that they had, those inside class folders included: to
add, remove or rename a file changes its folder's. Not noticed is what a disk does not tell by these times; some
mounts of object stores tell nothing. ``touch`` of one class folder has all of them listed anew.
"""

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

from torchvision.datasets import ImageFolder, ImageNet
from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension

from convnext_lessons.system.settings import data_folder
from convnext_lessons.system.storage import StorageError, read_json, write_json

VERSION = 1
LONG = 10_000  # files; a shorter listing is made in no time and not kept
# Seconds for which a folder must have been left alone before its listing is kept: a later change might fall on the same
# tick of its disk's clock.
SETTLED = 60


class _Listed:
    """torchvision's data sets call this when they are made."""

    @staticmethod
    def make_dataset(directory, class_to_idx, *_, **__):
        return list_images(directory, class_to_idx)


class ListedFolder(_Listed, ImageFolder):
    """torchvision's ``ImageFolder`` over a kept listing."""


class ListedImageNet(_Listed, ImageNet):
    """torchvision's ``ImageNet`` over a kept listing."""


def list_images(directory: str | Path, class_to_idx: Mapping[str, int]) -> list[tuple[str, int]]:
    """(path, label) of all images in class folders, in the order of torchvision's ``make_dataset``.

    Raises:
        FileNotFoundError: a class has none.
    """
    directory, path = os.fspath(directory), _path_of(directory)
    names = _read(path, directory, class_to_idx)
    if names is None:
        start = time.time()
        folders, names, unread = _list(directory, class_to_idx)
        settled = not unread and all(max(times) / 1e9 < start - SETTLED for times in folders.values())
        if settled and sum(map(len, names.values())) >= LONG:
            content = {"version": VERSION, "folders": folders, "names": names}
            with contextlib.suppress(StorageError):  # the listing is there all the same
                write_json(path, {**content, "checksum": _checksum(content)})
    return [(os.path.join(directory, name), class_to_idx[label]) for label in sorted(names) for name in names[label]]


def _list(directory, classes):
    """({folder: its times}, {class: names of its images}), relative to the directory, and the errors of folders that
    may not be read, whose images torchvision leaves out."""
    folders, names, unread = {}, {name: [] for name in classes}, []
    for label in sorted(classes):
        for root, _, files in sorted(os.walk(os.path.join(directory, label), onerror=unread.append, followlinks=True)):
            inside = os.path.relpath(root, directory)
            folders[inside] = _times(root)
            names[label] += [
                os.path.join(inside, file) for file in sorted(files) if has_file_allowed_extension(file, IMG_EXTENSIONS)
            ]
    empty = [label for label in sorted(classes) if not names[label]]
    if empty:
        raise FileNotFoundError(f"Found no image of the classes {', '.join(empty)}.")
    return folders, names, unread


def _read(path, directory, classes):
    """The names in a kept listing; None where there is none, it is damaged, or a folder has changed since."""
    try:
        content = read_json(path)
        checksum = content.pop("checksum")
        if content["version"] != VERSION or checksum != _checksum(content) or content["names"].keys() != set(classes):
            return None
        unchanged = (_times(os.path.join(directory, folder)) == times for folder, times in content["folders"].items())
        return content["names"] if all(unchanged) else None
    except Exception:  # a damaged file can hold anything; it is made anew, as is one with a folder that is gone
        return None


def _times(folder):
    status = os.stat(folder)
    return [status.st_mtime_ns, status.st_ctime_ns]  # the second cannot be set back, as unpacking does with the first


def _checksum(content):
    return zlib.crc32(json.dumps(content).encode())


def _path_of(directory):
    place = hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:12]
    return data_folder() / "cache" / f"listing-{place}.json"
