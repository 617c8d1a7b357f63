"""Data sets by name: what each of them is, and how it is downloaded. Add another to ``DATASETS``."""

import errno
import http.client
import os
import tarfile
import time
import urllib.error
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.utils import check_integrity

from convnext_lessons.data.remote import WholeAnswer, length_of, open_answer
from convnext_lessons.system.errors import CourseError, in_a_line
from convnext_lessons.system.settings import data_folder
from convnext_lessons.system.storage import atomic_folder, locked, storage_error, sweep_parts

LARGEST_ARCHIVE = 5e9  # bytes; what goes on beyond is no data set of ours


class ImagesError(CourseError):
    """Images that are missing, broken or not in the expected folders."""


class NotDownloaded(ImagesError):
    """A data set is not here and could not be downloaded."""


@dataclass(frozen=True)
class DataSet:
    """A data set that the course can download: one archive that holds one folder with ``train/`` and ``val/``.

    Attributes:
        name: by which it is asked for.
        title: what stands beside every number measured on it.
        folder: the folder in the archive, whose name the archive has too.
        address: of the archive, a .tgz file.
        md5: of the archive.
        counts: images in ``train/`` and ``val/``.
        classes: plain names by folder, in the order of the labels.
        squash: the side of the square to which pictures are squashed as they are read into memory, so that they are
            comparable with those of the stored runs; 0 where they keep their proportions.

    Raises:
        ImagesError: it has no checksum, so that nobody could know what came.
    """

    name: str
    title: str
    folder: str
    address: str
    md5: str
    counts: Mapping[str, int]
    classes: Mapping[str, str]
    squash: int = 0

    def __post_init__(self):
        if len(self.md5) != 32:
            raise ImagesError(f"The data set '{self.name}' has no md5 checksum; give that of its archive.")


IMAGENETTE = DataSet(
    name="imagenette",
    title="Imagenette v2",
    folder="imagenette2-160",
    address="https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
    md5="e793b78cc4c9e9a4ccc0c1155377a412",  # as in torchvision.datasets.Imagenette
    counts={"train": 9469, "val": 3925},
    classes={
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
    },
    squash=160,
)

# Ten breeds of dogs, by the same authors: much harder to tell apart.
IMAGEWOOF = DataSet(
    name="imagewoof",
    title="Imagewoof v2",
    folder="imagewoof2-160",
    address="https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-160.tgz",
    md5="3d200a7be99704a0d7509be2a9fbfe15",  # as in catalyst.contrib.datasets.Imagewoof160
    counts={"train": 9025, "val": 3929},
    classes={
        "n02086240": "Shih-Tzu",
        "n02087394": "Rhodesian ridgeback",
        "n02088364": "beagle",
        "n02089973": "English foxhound",
        "n02093754": "Border terrier",
        "n02096294": "Australian terrier",
        "n02099601": "golden retriever",
        "n02105641": "Old English sheepdog",
        "n02111889": "Samoyed",
        "n02115641": "dingo",
    },
)

DATASETS = {dataset.name: dataset for dataset in (IMAGENETTE, IMAGEWOOF)}


def locate(source: str | Path, progress: Callable[[str], object] = print) -> tuple[Path, DataSet | None]:
    """The folder of a data set known by name, downloaded where it is missing, or the folder that is named itself.

    Returns:
        (folder, its ``DataSet``; None for a folder of one's own)

    Raises:
        NotDownloaded: it is not here and cannot be downloaded.
        ImagesError: it is not whole, or there is neither a data set nor a folder of that name.
    """
    if isinstance(source, str) and source in DATASETS:
        return dataset_folder(DATASETS[source], progress=progress), DATASETS[source]
    try:
        folder = Path(source).resolve()
        there = folder.exists()
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # too long, links that loop, no name at all, a NUL
        raise ImagesError(f"{str(source)[:80]!r} is no folder ({error}); name one with train/ and val/.") from error
    if not there:
        raise ImagesError(
            f"{str(source)!r} is no data set that the course knows ({', '.join(DATASETS)}, stand-in) and no folder; "
            "name one of these, or a folder with train/ and val/."
        )
    return folder, None


def downloads_folder() -> Path:
    """Where downloaded data sets are."""
    return data_folder() / "downloads"


def dataset_folder(dataset: DataSet, root: str | Path | None = None, progress: Callable[[str], object] = print) -> Path:
    """The folder of a data set: the one that is there if it is whole, else downloaded from its authors.

    Args:
        root: where downloads go; the course's own folder unless given.
        progress: called with a line of text whenever something takes long.

    Raises:
        NotDownloaded: it is not here and cannot be downloaded.
        ImagesError: a folder is there but not whole, or what came is not what its authors publish.
    """
    root = Path(root) if root else downloads_folder()
    folder = root / dataset.folder
    if not folder.exists():
        with locked(folder, lambda: progress(f"another process fetches {dataset.title}; waiting for it …")):
            if not folder.exists():
                sweep_parts(folder)
                _download_and_unpack(dataset, folder, progress)
    _check_whole(dataset, folder)
    return folder


def _download_and_unpack(dataset, folder, progress):
    archive = folder.with_name(f"{dataset.folder}.tgz")
    if not check_integrity(str(archive), dataset.md5):
        _download(dataset, archive, progress)
    progress(f"unpacking {archive.name} …")
    with atomic_folder(folder) as part:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(part, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, ValueError, OSError, RecursionError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            raise ImagesError(
                f"{archive} cannot be unpacked ({in_a_line(error)}); delete it, and it is downloaded again."
            ) from error
        inner = part / dataset.folder
        _check_whole(dataset, inner, named=archive)
        for child in inner.iterdir():
            child.rename(part / child.name)
        inner.rmdir()
    archive.unlink()


def _check_whole(dataset, folder, named=None):
    named = named or folder
    for split, expected in dataset.counts.items():
        found = sum(1 for _ in (folder / split).glob("*/*.JPEG"))
        if found != expected:
            raise ImagesError(
                f"{named}/{split} holds {found} images where {dataset.title} has {expected}; "
                f"delete {named}, and it is downloaded again."
            )


def _download(dataset, archive, progress):
    """Fetch an archive; what came before a connection broke stays beside it, and the next time goes on from there."""
    part = archive.with_name(f".{archive.name}.download")
    was_begun = part.exists()
    try:
        if not check_integrity(str(part), dataset.md5):
            _receive(dataset, part, progress)
        if was_begun and not check_integrity(str(part), dataset.md5):  # what was there is damaged: begin anew
            part.unlink()
            _receive(dataset, part, progress)
        if not check_integrity(str(part), dataset.md5):
            part.unlink()
            raise NotDownloaded(
                f"What came from {dataset.address} is cut off or altered: its checksum is not its authors'; try again."
            )
        os.replace(part, archive)
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            part.unlink(missing_ok=True)
            raise storage_error(archive.parent, error) from error
        reason = in_a_line(getattr(error, "reason", error))
        raise NotDownloaded(
            f"{dataset.title} cannot be downloaded ({reason}): connect to the internet once, or unpack {archive.name} "
            f"into {archive.parent}."
        ) from error


def _receive(dataset, part, progress):
    """Write what a server sends behind what is there already.

    Raises:
        OSError: it does not send the archive, ends early, or takes too long.
    """
    there = part.stat().st_size if part.exists() else 0
    try:
        answer = open_answer(dataset.address, there)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not there:  # the server has nothing behind what is there: begin anew
            raise
        there, answer = 0, open_answer(dataset.address)
    with answer:
        if "html" in (answer.headers.get_content_type() or ""):
            raise OSError("a web page came in its place; does this network ask for a log-in?")
        there = there if answer.status == 206 else 0  # a server that cannot go on begins anew
        length = length_of(answer)
        total, received, shown = length and length + there, there, time.monotonic()
        whole = WholeAnswer(answer)
        with open(part, "ab" if there else "wb") as file:
            while chunk := whole.read(1 << 20):
                file.write(chunk)
                received += len(chunk)
                now = time.monotonic()
                if received > LARGEST_ARCHIVE:
                    raise OSError("it is too large")
                if now - shown > 2 or received == total:
                    shown = now
                    of = f" of {total / 1e6:.0f}" if total else ""
                    progress(f"downloading {dataset.title}: {received / 1e6:.0f}{of} MB")
