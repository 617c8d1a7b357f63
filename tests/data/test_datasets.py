import errno
import hashlib
import http.client
import itertools
import os
import tarfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torchvision
from PIL import Image

from convnext_lessons.data import DATASETS, IMAGENETTE, DataSet, ImagesError, NotDownloaded, dataset_folder, load_images
from convnext_lessons.data.datasets import IMAGEWOOF, locate
from convnext_lessons.system import CourseError, StorageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = pytest.mark.usefixtures("full_mode")

by_name = pytest.mark.parametrize("dataset", [IMAGENETTE, IMAGEWOOF], ids=lambda dataset: dataset.name)


def silent(line):
    pass


# What they are --------------------------------------------------------------------------------------------------------


def test_imagenettes_archive_is_torchvisions():
    address, md5 = torchvision.datasets.Imagenette._ARCHIVES["160px"]
    assert (address, md5) == (IMAGENETTE.address, IMAGENETTE.md5)


def test_imagenettes_classes_are_torchvisions():
    theirs = torchvision.datasets.Imagenette._WNID_TO_CLASS
    assert list(IMAGENETTE.classes) == list(theirs)
    for wnid, name in IMAGENETTE.classes.items():
        assert any(name in synonym for synonym in theirs[wnid])


def test_the_counts_are_the_authors():
    assert IMAGENETTE.counts == {"train": 9469, "val": 3925}
    assert IMAGEWOOF.counts == {"train": 9025, "val": 3929}


def test_imagewoofs_classes_are_breeds_that_imagenet_has():
    names = set(torchvision.models.ResNet50_Weights.IMAGENET1K_V2.meta["categories"])
    short = {"Shih-Tzu", "beagle", "English foxhound", "Border terrier", "golden retriever", "Samoyed", "dingo"}
    assert short <= names and short <= set(IMAGEWOOF.classes.values())
    assert len(IMAGEWOOF.classes) == 10


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_a_data_set_goes_by_its_name_and_its_labels_follow_its_folders(dataset):
    assert DATASETS[dataset.name] is dataset
    assert list(dataset.classes) == sorted(dataset.classes)  # as torchvision's ImageFolder numbers them
    assert len(set(dataset.classes.values())) == len(dataset.classes)
    assert dataset.address.endswith(f"/{dataset.folder}.tgz")


def test_no_two_data_sets_share_a_folder_or_a_class():
    folders = [dataset.folder for dataset in DATASETS.values()]
    classes = [name for dataset in DATASETS.values() for name in dataset.classes]
    assert len(set(folders)) == len(folders)
    assert len(set(classes)) == len(classes)


@pytest.mark.parametrize("md5", ["", "e793b78c", "0" * 64])
def test_a_data_set_without_a_checksum_is_refused(md5, refuses):
    with refuses(ImagesError, "'pets'", "md5 checksum"):
        DataSet("pets", "Pets", "pets", "https://nowhere/pets.tgz", md5, {"train": 2, "val": 1}, {"a": "cat"})
    assert issubclass(ImagesError, CourseError)


def listed(folder):
    """What is in a folder beside locks."""
    return [name for name in os.listdir(folder) if not name.endswith(".lock")]


# Where they are -------------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_those_that_are_known(refuses):
    with refuses(ImagesError, "'imagenot'", *DATASETS, "stand-in", "train/"):
        locate("imagenot", silent)


@by_name
def test_a_known_name_is_located_where_it_was_downloaded(dataset, published, own_place):
    small = published(dataset)
    assert locate(dataset.name, silent) == (own_place / "downloads" / dataset.folder, small)
    assert locate(dataset.name, pytest.fail) == (own_place / "downloads" / dataset.folder, small)


def test_a_folder_of_ones_own_is_located_as_it_is(pets, monkeypatch):
    monkeypatch.chdir(pets.parent)
    assert locate("pets", pytest.fail) == locate(pets, pytest.fail) == (pets.resolve(), None)


def test_a_known_name_goes_before_a_folder(published, tmp_path, monkeypatch):
    small = published(IMAGENETTE)
    (tmp_path / "imagenette").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate("imagenette", silent)[1] == small


# How they are downloaded ----------------------------------------------------------------------------------------------


@pytest.fixture
def unpacked(members):
    """``unpacked(folder, dataset, train=…, val=…)``: the images of a small archive, without an archive."""

    def unpacked(folder, dataset, **counts):
        for name, content in members(dataset, **counts):
            path = folder / Path(name).relative_to(dataset.folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return unpacked


@by_name
def test_a_data_set_is_downloaded_and_unpacked(dataset, published, tmp_path):
    told = []
    folder = dataset_folder(published(dataset), tmp_path / "root", told.append)
    assert folder == tmp_path / "root" / dataset.folder
    assert len(list(folder.glob(f"train/{next(iter(dataset.classes))}/*.JPEG"))) == 2
    assert listed(tmp_path / "root") == [dataset.folder]
    assert sorted(os.listdir(folder)) == ["train", "val"]
    assert told[0].startswith(f"downloading {dataset.title}")


def test_downloaded_imagenette_reads_as_torchvisions(published, tmp_path):
    dataset_folder(published(IMAGENETTE), tmp_path / "root", silent)
    assert len(torchvision.datasets.Imagenette(tmp_path / "root", "val", "160px", download=False)) == 1


@by_name
def test_a_whole_folder_is_used_as_it_is(dataset, publish, unpacked, tmp_path):
    folder = unpacked(tmp_path / "root" / dataset.folder, dataset)
    assert dataset_folder(publish(dataset), tmp_path / "root", pytest.fail) == folder


def test_an_archive_that_is_there_is_not_downloaded_again(publish, members, pack, tmp_path):
    (tmp_path / "root").mkdir()
    archive = pack(members(IMAGENETTE), tmp_path / "root" / "imagenette2-160.tgz")
    small = replace(publish(IMAGENETTE, archive), address="nowhere:")
    assert dataset_folder(small, tmp_path / "root", silent).is_dir()


@pytest.mark.parametrize(("train", "val"), [(1, 1), (2, 0), (3, 1)])
def test_a_folder_that_is_not_whole_is_refused(publish, unpacked, tmp_path, train, val, refuses):
    folder = unpacked(tmp_path / "root" / "imagenette2-160", IMAGENETTE, train=train, val=val)
    with refuses(ImagesError, str(folder), "delete"):
        dataset_folder(publish(IMAGENETTE), tmp_path / "root", silent)


def test_a_cut_off_download_is_refused_and_removed(publish, members, pack, tmp_path, refuses):
    archive = pack(members(IMAGENETTE), tmp_path / "a.tgz")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    archive.write_bytes(archive.read_bytes()[:-100])
    with refuses(NotDownloaded, "checksum", archive.name):
        dataset_folder(publish(IMAGENETTE, archive, md5), tmp_path / "root", silent)
    assert listed(tmp_path / "root") == []


def test_a_cut_off_archive_on_the_disk_is_downloaded_again(published, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "imagenette2-160.tgz").write_bytes(b"half")
    assert dataset_folder(published(IMAGENETTE), tmp_path / "root", silent).is_dir()


def test_an_unpacking_that_breaks_off_leaves_no_folder(publish, members, pack, tmp_path, refuses):
    archive = pack(members(IMAGENETTE), tmp_path / "a.tgz")
    archive.write_bytes(archive.read_bytes()[:-600])
    with refuses(ImagesError, "unpack", "imagenette2-160.tgz"):
        dataset_folder(publish(IMAGENETTE, archive), tmp_path / "root", silent)
    assert listed(tmp_path / "root") == ["imagenette2-160.tgz"]


def test_an_interrupted_unpacking_leaves_no_folder(published, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    small = published(IMAGENETTE)
    monkeypatch.setattr(tarfile.TarFile, "extractall", stop)
    with pytest.raises(KeyboardInterrupt):
        dataset_folder(small, tmp_path / "root", silent)
    assert listed(tmp_path / "root") == ["imagenette2-160.tgz"]


@by_name
def test_an_archive_with_other_counts_leaves_no_folder(dataset, publish, members, pack, tmp_path, refuses):
    small = publish(dataset, pack(members(dataset, train=1), tmp_path / "a.tgz"))
    with refuses(ImagesError, f"1 images where {dataset.title} has 2"):
        dataset_folder(small, tmp_path / "root", silent)
    assert listed(tmp_path / "root") == [f"{dataset.folder}.tgz"]


def test_an_archive_whose_folders_are_too_deep_is_refused(publish, members, pack, tmp_path, refuses):
    deep = (f"imagenette2-160/{'x/' * 1500}x.JPEG", b"deep")
    small = publish(IMAGENETTE, pack([*members(IMAGENETTE), deep], tmp_path / "a.tgz"))
    with refuses(ImagesError, "unpack"):
        dataset_folder(small, tmp_path / "root", silent)
    assert listed(tmp_path / "root") == ["imagenette2-160.tgz"]


def test_what_is_no_archive_is_refused_in_a_sentence(publish, tmp_path, refuses):
    (tmp_path / "a.tgz").write_bytes(b"no archive" * 100)
    with refuses(ImagesError, "unpack"):
        dataset_folder(publish(IMAGENETTE, tmp_path / "a.tgz"), tmp_path / "root", silent)


@pytest.mark.parametrize("name", ["../evil.JPEG", "imagenette2-160/../../evil.JPEG"])
def test_an_archive_that_reaches_outside_is_refused(publish, members, pack, tmp_path, name, refuses):
    small = publish(IMAGENETTE, pack([*members(IMAGENETTE), (name, b"evil")], tmp_path / "a.tgz"))
    with refuses(ImagesError, "unpack"):
        dataset_folder(small, tmp_path / "deep" / "root", silent)
    assert listed(tmp_path / "deep" / "root") == ["imagenette2-160.tgz"]
    assert not list(tmp_path.rglob("evil.JPEG"))


@pytest.mark.parametrize(
    "failure",
    [
        TimeoutError("timed out"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        http.client.BadStatusLine("<html>\r\n"),
        http.client.IncompleteRead(b""),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_bad_connection_counts_as_none(failure, monkeypatch, refuses):
    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", fail)
    with refuses(NotDownloaded, "cannot be downloaded"):
        load_images("imagenette", 16, silent)


def test_a_full_disk_is_not_a_bad_connection(published, tmp_path, monkeypatch, refuses):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(http.client.HTTPResponse, "read1", full)
    with refuses(StorageError, "full"):
        dataset_folder(published(IMAGENETTE), tmp_path / "root", silent)
    assert listed(tmp_path / "root") == []


@pytest.mark.parametrize(
    "fault", ["cut", "html", "to file:///etc/hostname", "to ftp://127.0.0.1:1/x", "to http://[x", "to itself"]
)
def test_an_answer_that_is_not_the_archive_counts_as_none(published, server, tmp_path, fault, refuses):
    small = published(IMAGENETTE)
    server.fault = f"to {small.address}" if fault == "to itself" else fault
    with refuses(NotDownloaded, "Imagenette v2"):
        dataset_folder(small, tmp_path / "root", silent)
    server.fault = None
    assert dataset_folder(small, tmp_path / "root", silent).is_dir()


@pytest.mark.parametrize("fault", ["no length", "length of words"])
def test_an_archive_may_come_without_its_length(published, server, tmp_path, fault):
    small, server.fault = published(IMAGENETTE), fault
    assert dataset_folder(small, tmp_path / "root", silent).is_dir()


@pytest.mark.parametrize(("fault", "first"), [(None, "bytes="), ("no range", "bytes=")])
def test_a_download_that_broke_off_goes_on(published, server, tmp_path, refuses, fault, first):
    small, server.fault = published(IMAGENETTE), "cut"
    with refuses(NotDownloaded, "ended early"):
        dataset_folder(small, tmp_path / "root", silent)
    server.fault = fault
    assert dataset_folder(small, tmp_path / "root", silent).is_dir()
    assert server.requests[-1][1].startswith(first) and len(server.requests) == 2


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_broken_off_download_of_something_else_is_begun_anew(published, tmp_path, size):
    small = published(IMAGENETTE)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / ".imagenette2-160.tgz.download").write_bytes(b"x" * size)
    assert dataset_folder(small, tmp_path / "root", silent).is_dir()


def test_a_connection_that_trickles_is_given_up(published, tmp_path, monkeypatch, refuses):
    clock = itertools.count(0, 90)
    monkeypatch.setattr("convnext_lessons.data.datasets.time.monotonic", lambda: next(clock))
    with refuses(NotDownloaded, "too slow"):
        dataset_folder(published(IMAGENETTE), tmp_path / "root", silent)


def test_processes_that_start_together_fetch_once(published, server, tmp_path):
    small, told = published(IMAGENETTE), []
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: dataset_folder(small, tmp_path / "root", told.append), range(3)))
    assert set(folders) == {tmp_path / "root" / "imagenette2-160"}
    assert len(server.requests) == 1


def test_what_a_killed_unpacking_left_is_swept(published, tmp_path):
    left = tmp_path / "root" / ".imagenette2-160.abcd.part"
    (left / "train").mkdir(parents=True)
    dataset_folder(published(IMAGENETTE), tmp_path / "root", silent)
    assert listed(tmp_path / "root") == ["imagenette2-160"]


@pytest.mark.parametrize(("split", "count"), [("train", 9469), ("val", 3925)])
def test_the_real_imagenette(split, count):
    path = SHARED / f"imagenette2-160-{split}.tgz"
    if not path.exists():
        pytest.skip("the archives of the real Imagenette are not beside this checkout")
    found, classes = 0, set()
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith(".JPEG"):
                if found < 3:
                    Image.open(tar.extractfile(member)).convert("RGB").load()
                found += 1
                classes.add(member.name.split("/")[-2])
    assert found == count == IMAGENETTE.counts[split]
    assert classes == set(IMAGENETTE.classes)
