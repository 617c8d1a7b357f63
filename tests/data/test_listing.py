import os
import shutil

import pytest
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from convnext_lessons.data import listing
from convnext_lessons.data.listing import ListedFolder, list_images
from convnext_lessons.system import settings


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two classes with folders inside, links, and files that are no images; every listing of it is kept."""
    monkeypatch.setattr(listing, "LONG", 1)
    monkeypatch.setattr(listing, "SETTLED", -1)
    root = tmp_path / "train"
    for name in ("b/2.png", "b/10.JPG", "b/notes.txt", "a/x/1.png", "a/x.png", "a/0.jpeg", "a/y z/\udcff.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "a" / "empty").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "3.png").touch()
    (root / "b" / "link").symlink_to(tmp_path / "elsewhere")
    return root


def kept():
    return list((settings.data_folder() / "cache").glob("listing-*.json"))


@pytest.fixture
def listings(monkeypatch):
    """How often a folder was really listed."""
    calls, real = [], listing._list

    def noted(directory, classes):
        calls.append(directory)
        return real(directory, classes)

    monkeypatch.setattr(listing, "_list", noted)
    return calls


def test_the_listing_is_torchvisions_before_and_after_it_is_kept(tree, listings):
    theirs = ImageFolder(tree)
    assert len(theirs.samples) == 7
    for _ in range(2):
        ours = ListedFolder(tree)
        assert (ours.samples, ours.classes, ours.class_to_idx) == (theirs.samples, theirs.classes, theirs.class_to_idx)
    assert len(listings) == len(kept()) == 1


def test_labels_are_those_that_are_asked_for(tree):
    labels = {"b": 0, "a": 7}
    assert list_images(tree, labels) == make_dataset(tree, labels, IMG_EXTENSIONS)


def add(tree):
    (tree / "b" / "3.png").touch()


def add_inside(tree):
    (tree / "a" / "x" / "2.png").touch()


def add_to_an_empty_folder(tree):
    (tree / "a" / "empty" / "2.png").touch()


def add_behind_a_link(tree):
    (tree.parent / "elsewhere" / "4.png").touch()


def remove(tree):
    (tree / "a" / "0.jpeg").unlink()


def rename(tree):
    (tree / "a" / "0.jpeg").rename(tree / "a" / "9.jpeg")


def add_a_class(tree):
    shutil.copytree(tree / "b", tree / "c")


def remove_a_class(tree):
    shutil.rmtree(tree / "b")


def swap_with_the_old_times(tree):
    times = os.stat(tree / "a")
    (tree / "a" / "0.jpeg").rename(tree / "a" / "9.jpeg")
    os.utime(tree / "a", ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        add,
        add_inside,
        add_to_an_empty_folder,
        add_behind_a_link,
        remove,
        rename,
        add_a_class,
        remove_a_class,
        swap_with_the_old_times,
    ],
)
def test_every_change_is_noticed(tree, listings, change):
    before = ListedFolder(tree).samples
    change(tree)
    after = ListedFolder(tree).samples
    assert after == ImageFolder(tree).samples != before
    assert len(listings) == 2


def test_a_touched_folder_is_listed_anew(tree, listings):
    ListedFolder(tree)
    os.utime(tree / "a")
    ListedFolder(tree)
    assert len(listings) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"version": 1, "folders": {}, "names": {}}', b"\xff\xfe"])
def test_a_damaged_listing_is_made_anew(tree, listings, damage):
    ListedFolder(tree)
    (path,) = kept()
    path.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    assert ListedFolder(tree).samples == ImageFolder(tree).samples
    assert len(listings) == 2
    ListedFolder(tree)  # and the new one is whole
    assert len(listings) == 2


def test_a_flipped_letter_is_noticed(tree, listings):
    ListedFolder(tree)
    (path,) = kept()
    path.write_text(path.read_text().replace("10.JPG", "11.JPG"))
    assert ListedFolder(tree).samples == ImageFolder(tree).samples
    assert len(listings) == 2


def test_folders_that_changed_a_moment_ago_are_listed_again(tree, listings, monkeypatch):
    monkeypatch.setattr(listing, "SETTLED", 60)
    for _ in range(2):
        ListedFolder(tree)
    assert len(listings) == 2 and not kept()


def test_a_listing_with_a_folder_that_may_not_be_read_is_not_kept(tree, listings, monkeypatch):
    scandir = os.scandir

    def closed(path):
        if os.fspath(path).endswith("/x"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert len(ListedFolder(tree).samples) == 6 and not kept()


def test_short_listings_are_not_kept(tree, listings, monkeypatch):
    monkeypatch.setattr(listing, "LONG", 8)
    ListedFolder(tree)
    assert not kept()


def test_a_listing_that_cannot_be_kept_is_a_listing(tree, monkeypatch):
    (tree.parent / "file").touch()
    monkeypatch.setenv("CONVNEXT_LESSONS_DATA", str(tree.parent / "file"))
    assert ListedFolder(tree).samples == ImageFolder(tree).samples


def test_a_class_without_images_is_refused(tree):
    (tree / "c").mkdir()
    with pytest.raises(FileNotFoundError, match="classes c"):
        ListedFolder(tree)
