"""Small data sets: two folders of images, and archives that take the place of those that are downloaded."""

import hashlib
import io
import tarfile
from dataclasses import replace

import pytest
from PIL import Image

from convnext_lessons.data import DATASETS

SMALL = {"train": 2, "val": 1}  # images of a data set that takes another's place


@pytest.fixture(autouse=True)
def no_images_asked_for(monkeypatch):
    """The tests decide themselves which images are asked for."""
    monkeypatch.delenv("CONVNEXT_LESSONS_IMAGES", raising=False)


@pytest.fixture
def pets(tmp_path):
    """Two classes, cat and dog, four images in train and two in val, 24×16 and 16×24, each of one colour."""
    for split, count in (("train", 2), ("val", 1)):
        for label, name in enumerate(("cat", "dog")):
            place = tmp_path / "pets" / split / name
            place.mkdir(parents=True)
            for index in range(count):
                colour = (200 * label, 100 * index, 50)
                Image.new("RGB", ((24, 16), (16, 24))[index], colour).save(place / f"{index}.jpg", quality=95)
    return tmp_path / "pets"


@pytest.fixture
def grey(tmp_path, full_mode):
    """Grey images, as bright as their number: 24 to train, 10 to validate, in two classes."""
    for number in range(34):
        path = tmp_path / "grey" / ("train" if number < 24 else "val") / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 40), (3 * number,) * 3).save(path)
    return tmp_path / "grey"


@pytest.fixture(scope="session")
def members():
    """``members(dataset, train=…, val=…)``: names and contents of the files in a small archive of a data set."""

    def members(dataset, train=SMALL["train"], val=SMALL["val"]):
        found = []
        for split, count in (("train", train), ("val", val)):
            for index in range(count):
                buffer = io.BytesIO()
                Image.effect_noise((20, 20), 90).save(buffer, "JPEG")
                found.append(
                    (f"{dataset.folder}/{split}/{next(iter(dataset.classes))}/{index}.JPEG", buffer.getvalue())
                )
        return found

    return members


@pytest.fixture(scope="session")
def pack():
    """``pack(members, path)``: an archive of files by name."""

    def pack(members, path):
        with tarfile.open(path, "w:gz") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return pack


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """``publish(dataset, archive)``: an archive with two images in train and one in val is online in the place of a
    data set's; without an archive nothing is online. Returns the ``DataSet``, which now goes by the name."""

    def publish(dataset, archive=None, md5=None):
        address = (archive or tmp_path / "not online.tgz").as_uri()
        md5 = md5 or (hashlib.md5(archive.read_bytes()).hexdigest() if archive else dataset.md5)
        small = replace(dataset, counts=SMALL, address=address, md5=md5)
        monkeypatch.setitem(DATASETS, dataset.name, small)
        return small

    return publish


@pytest.fixture
def published(publish, members, pack, tmp_path):
    """``published(dataset)``: a small archive that is whole, online in the place of a data set's."""

    def published(dataset):
        return publish(dataset, pack(members(dataset), tmp_path / f"{dataset.name}.tgz"))

    return published
