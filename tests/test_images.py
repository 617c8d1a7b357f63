import email.message
import errno
import hashlib
import http.client
import io
import os
import shutil
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from convnext_lessons import images as room
from convnext_lessons.images import (
    Augmentation,
    Images,
    ImagesError,
    NotDownloaded,
    imagenette_folder,
    load_images,
    stand_in,
    standardize,
    training_batches,
    validation_batches,
)
from convnext_lessons.machine import StorageError
from convnext_lessons.recipe import Recipe
from convnext_lessons.records import Experiment, Ledger
from convnext_lessons.roadmap import architecture_after
from convnext_lessons.training import train

RECIPE = Recipe("test", image_size=32, width_factor=1 / 8, epochs=4, batch_size=32, learning_rate=4e-3)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

pytestmark = pytest.mark.usefixtures("full_mode")


def silent(line):
    pass


def same(one, other):
    names = ("train", "train_labels", "val", "val_labels")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


# The stand-in ---------------------------------------------------------------------------------------------------------


def test_stand_in_is_the_same_for_the_same_seed():
    assert same(stand_in(16, 20, 10, seed=3), stand_in(16, 20, 10, seed=3))


def test_stand_in_differs_with_the_seed_and_between_its_halves():
    one, other = stand_in(16, 20, 20, seed=3), stand_in(16, 20, 20, seed=4)
    assert not torch.equal(one.train, other.train)
    assert not torch.equal(one.val, other.val)
    assert not torch.equal(one.train_labels, one.val_labels)


def test_stand_in_has_the_shapes_of_any_other_pictures():
    images = stand_in(32, 30, 20)
    assert images.train.shape == (30, 3, 40, 40)
    assert images.val.shape == (20, 3, 32, 32)
    assert (images.train.dtype, images.train_labels.dtype) == (torch.uint8, torch.int64)
    assert images.size == 32


def test_stand_in_is_balanced():
    images = stand_in(16, 50, 30)
    assert len(images.classes) == len(set(images.classes)) == 10
    assert images.train_labels.bincount(minlength=10).tolist() == [5] * 10
    assert images.val_labels.bincount(minlength=10).tolist() == [3] * 10


def test_stand_in_says_what_it_is_not():
    assert stand_in(16, 10, 10).source == "stand-in"
    assert "NOT Imagenette" in stand_in(16, 10, 10).note


def test_stand_in_is_drawn_and_not_empty():
    pictures = stand_in(32, 40, 10).train.float()
    assert pictures.std((1, 2, 3)).min() > 10


def test_stand_in_can_be_learnt(tmp_path):
    small = architecture_after(8).change(depths=(2, 2, 2), patch_size=2, kernel_size=5)
    recipe = RECIPE.change(width_factor=1 / 6, learning_rate=8e-3, crop_scale=0.7, initialization="fan_in")
    images = stand_in(32, 2000, 200)
    run = train(Experiment(small, recipe), images, device="cpu", ledger=Ledger(tmp_path / "ledger"))
    assert run.accuracy > 0.25  # chance is 0.1, with a standard error of 0.02


def test_fast_mode_takes_the_stand_in_whatever_is_asked_for(monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_FAST", "1")
    images = load_images("imagenette", 128)
    assert (images.source, images.size) == ("stand-in", 32)


def test_stand_in_by_name():
    assert load_images("stand-in", 16).source == "stand-in"


# A folder of pictures -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Two classes, cat and dog, four pictures in train and two in val, 24×16 and 16×24, each of one colour."""
    for split, count in (("train", 2), ("val", 1)):
        for label, name in enumerate(("cat", "dog")):
            place = tmp_path / "pets" / split / name
            place.mkdir(parents=True)
            for index in range(count):
                colour = (200 * label, 100 * index, 50)
                Image.new("RGB", ((24, 16), (16, 24))[index], colour).save(place / f"{index}.jpg", quality=95)
    return tmp_path / "pets"


def cache_files(data):
    return sorted((data / "cache").iterdir()) if (data / "cache").exists() else []


def test_folder_is_decoded(folder):
    images = load_images(folder, 8, silent)
    assert images.classes == ("cat", "dog")
    assert images.train.shape == (4, 3, 10, 10)
    assert images.val.shape == (2, 3, 8, 8)
    assert images.train_labels.tolist() == [0, 0, 1, 1]
    expected = [[0, 0, 50], [0, 100, 50], [200, 0, 50], [200, 100, 50]]
    torch.testing.assert_close(images.train.float().mean((2, 3)), torch.tensor(expected).float(), atol=4, rtol=0)


def test_folder_may_be_named_by_text_and_relative(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert same(load_images("pets", 8, silent), load_images(folder, 8, silent))


def test_the_folder_itself_has_a_note(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert "pets" in load_images(".", 8, silent).note


def test_a_picture_is_cut_to_its_central_square(folder):
    # Red, green and blue thirds: the central square of 24×8 is the green one.
    wide = np.zeros((8, 24, 3), np.uint8)
    for third in range(3):
        wide[:, 8 * third : 8 * third + 8, third] = 255
    Image.fromarray(wide).save(folder / "val" / "cat" / "0.png")
    (folder / "val" / "cat" / "0.jpg").unlink()
    assert load_images(folder, 8, silent).val[0].float().mean((1, 2)).tolist() == [0, 255, 0]


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_pictures_of_other_modes_become_rgb(folder, mode):
    extension = "jpg" if mode == "CMYK" else "png"
    Image.new(mode, (20, 20)).save(folder / "val" / "cat" / f"1.{extension}")
    assert load_images(folder, 8, silent).val.shape == (3, 3, 8, 8)


def test_squashed_pictures_are_said_to_be(folder):
    assert "squashed" not in load_images(folder, 8, silent).note
    for path in folder.glob("*/*/*.jpg"):
        Image.open(path).resize((20, 20)).save(path)
    assert "squashed to 20×20" in load_images(folder, 8, silent).note


@pytest.fixture
def decodings(monkeypatch):
    """Counts the calls that decode."""
    calls, decode = [], room._decode

    def counted(paths, *args):
        calls.append(len(paths))
        return decode(paths, *args)

    monkeypatch.setattr(room, "_decode", counted)
    return calls


def test_the_second_time_comes_out_of_the_cache(folder, decodings, own_place):
    lines = []
    first = load_images(folder, 8, lines.append)
    assert (decodings, len(lines)) == ([4, 2], 2)
    second = load_images(folder, 8, lines.append)
    assert (decodings, len(lines)) == ([4, 2], 2)
    assert same(first, second)
    assert (first.note, first.classes) == (second.note, second.classes)
    assert len(cache_files(own_place)) == 1


def test_every_size_and_folder_has_its_cache(folder, decodings, own_place):
    other = shutil.copytree(folder, folder.parent / "other" / "pets")
    for place, size in ((folder, 8), (folder, 12), (other, 8)):
        load_images(place, size, silent)
    assert decodings == [4, 2] * 3
    assert len(cache_files(own_place)) == 3


def another_version(folder, monkeypatch):
    monkeypatch.setattr(room, "CACHE_VERSION", room.CACHE_VERSION + 1)


def one_more(folder, monkeypatch):
    Image.new("RGB", (20, 20)).save(folder / "val" / "cat" / "9.jpg")


def one_less(folder, monkeypatch):
    (folder / "train" / "cat" / "0.jpg").unlink()


def one_moved(folder, monkeypatch):
    (folder / "train" / "cat" / "0.jpg").rename(folder / "train" / "dog" / "7.jpg")


def one_painted_over(folder, monkeypatch):
    Image.effect_noise((64, 64), 90).save(folder / "train" / "cat" / "0.jpg")


@pytest.mark.parametrize("change", [another_version, one_more, one_less, one_moved, one_painted_over])
def test_the_cache_is_made_again_for_other_pictures(folder, change, decodings, monkeypatch):
    load_images(folder, 8, silent)
    change(folder, monkeypatch)
    load_images(folder, 8, silent)
    assert len(decodings) == 4


def test_the_cache_is_made_again_for_pictures_of_the_same_size_on_disk(folder):
    picture = folder / "val" / "cat" / "0.bmp"
    Image.new("RGB", (20, 20), (0, 0, 0)).save(picture)
    load_images(folder, 8, silent)
    before = picture.stat()
    Image.new("RGB", (20, 20), (255, 255, 255)).save(picture)
    assert picture.stat().st_size == before.st_size
    os.utime(picture, (before.st_atime + 60, before.st_mtime + 60))
    assert load_images(folder, 8, silent).val[0].min() == 255


def truncated(content):
    return content[: len(content) // 2]


def emptied(content):
    return b""


def foreign(content):
    buffer = io.BytesIO()
    torch.save([1, 2, 3], buffer)
    return buffer.getvalue()


def one_byte_off(content):
    # Inside the pixels: the archive itself stays readable.
    at = content.index(bytes([50, 50, 50, 50, 50, 50]))
    return content[:at] + bytes([51]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [truncated, emptied, foreign, one_byte_off])
@pytest.mark.filterwarnings("ignore:The cache")
def test_a_damaged_cache_is_made_again(folder, damage, decodings, own_place):
    for path in folder.glob("*/*/*.jpg"):
        Image.new("RGB", (20, 21), (50, 50, 50)).save(path)
    first = load_images(folder, 8, silent)
    (cache,) = cache_files(own_place)
    content = cache.read_bytes()
    assert damage(content) != content
    del first
    cache.write_bytes(damage(content))
    second = load_images(folder, 8, silent)
    assert decodings == [4, 2, 4, 2]
    assert second.val.eq(50).all()
    load_images(folder, 8, silent)
    assert len(decodings) == 4


def test_a_damaged_cache_is_told_in_one_line(folder, own_place):
    load_images(folder, 8, silent)
    (cache,) = cache_files(own_place)
    cache.write_bytes(b"no archive")
    with pytest.warns(UserWarning, match="damaged") as told:
        load_images(folder, 8, silent)
    assert all("\n" not in str(warning.message) for warning in told)


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_broken_picture_is_named_and_leaves_no_cache(folder, kept, own_place, refuses):
    picture = folder / "train" / "dog" / "1.jpg"
    Image.effect_noise((64, 64), 90).save(picture)
    content = picture.read_bytes()
    picture.write_bytes(content[: int(kept * len(content))])
    with refuses(ImagesError, str(picture)):
        load_images(folder, 8, silent)
    assert cache_files(own_place) == []


def a_broken_chunk(picture, monkeypatch):
    # A length that reaches beyond the file, in the second half of a PNG.
    content = bytearray(picture.read_bytes())
    at = content.rindex(b"IDAT") - 4
    content[at : at + 8] = b"\x00\x00\x00\x04!!!!"
    picture.write_bytes(bytes(content))


def more_pixels_than_pillow_takes(picture, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)  # 300×300 is more than twice as many


@pytest.mark.parametrize("damage", [a_broken_chunk, more_pixels_than_pillow_takes])
def test_a_broken_png_is_named(folder, damage, monkeypatch, refuses):
    picture = folder / "train" / "dog" / "1.png"
    Image.effect_noise((300, 300), 90).save(picture)
    damage(picture, monkeypatch)
    with refuses(ImagesError, str(picture)):
        load_images(folder, 8, silent)


def no_folder(folder):
    return folder / "nowhere"


def no_val(folder):
    shutil.rmtree(folder / "val")
    return folder


def no_classes(folder):
    shutil.rmtree(folder / "train" / "cat")
    shutil.rmtree(folder / "train" / "dog")
    return folder


def an_empty_class(folder):
    (folder / "train" / "ant").mkdir()
    return folder


def a_picture(folder):
    return folder / "train" / "cat" / "0.jpg"


@pytest.mark.parametrize("wrong", [no_folder, no_val, no_classes, an_empty_class, a_picture])
def test_what_is_no_data_set_is_refused(folder, wrong, refuses):
    with refuses(ImagesError, "train"):
        load_images(wrong(folder), 8, silent)


def test_train_and_val_have_the_same_classes(folder, refuses):
    (folder / "val" / "dog").rename(folder / "val" / "cow")
    with refuses(ImagesError, "different classes"):
        load_images(folder, 8, silent)


def test_pictures_beyond_the_memory_are_refused(folder, refuses):
    with refuses(ImagesError, "GB", "smaller"):
        load_images(folder, 10_000_000, silent)


def test_full_disk_while_caching_is_one_sentence(folder, own_place, monkeypatch, refuses):
    def full(content, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with refuses(StorageError, "full"):
        load_images(folder, 8, silent)
    assert cache_files(own_place) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_under_torchs_own_writer_is_one_sentence(folder, own_place, monkeypatch, refuses):
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, path: save(content, "/dev/full"))
    with refuses(StorageError, str(own_place), "full"):
        load_images(folder, 8, silent)
    assert cache_files(own_place) == []


# Imagenette -----------------------------------------------------------------------------------------------------------


def test_the_archive_is_torchvisions():
    url, md5 = torchvision.datasets.Imagenette._ARCHIVES["160px"]
    assert (url, md5) == (room.ARCHIVE, room.ARCHIVE_MD5)


def test_the_classes_are_torchvisions():
    theirs = torchvision.datasets.Imagenette._WNID_TO_CLASS
    assert list(room.CLASSES) == list(theirs)
    for wnid, name in room.CLASSES.items():
        assert any(name in synonym for synonym in theirs[wnid])


def test_the_counts_are_the_authors():
    assert room.COUNTS == {"train": 9469, "val": 3925}


def packed(members, path):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Three pictures take Imagenette's place: two in train, one in val. ``publish(archive)`` puts an archive online."""
    monkeypatch.setattr(room, "COUNTS", {"train": 2, "val": 1})

    def publish(archive, md5=None):
        monkeypatch.setattr(room, "ARCHIVE", archive.as_uri())
        monkeypatch.setattr(room, "ARCHIVE_MD5", md5 or hashlib.md5(archive.read_bytes()).hexdigest())

    return publish


def members(train=2, val=1):
    for split, count in (("train", train), ("val", val)):
        for index in range(count):
            buffer = io.BytesIO()
            Image.effect_noise((20, 20), 90).save(buffer, "JPEG")
            yield f"imagenette2-160/{split}/n01440764/{index}.JPEG", buffer.getvalue()


def unpacked(folder, **counts):
    for name, content in members(**counts):
        path = folder / Path(name).relative_to("imagenette2-160")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_imagenette_is_fetched_and_unpacked(small, tmp_path):
    small(packed(members(), tmp_path / "a.tgz"))
    folder = imagenette_folder(tmp_path / "root", silent)
    assert folder == tmp_path / "root" / "imagenette2-160"
    assert len(list(folder.glob("train/n01440764/*.JPEG"))) == 2
    assert os.listdir(tmp_path / "root") == ["imagenette2-160"]
    assert sorted(os.listdir(folder)) == ["train", "val"]


def test_fetched_imagenette_reads_as_torchvisions(small, tmp_path):
    small(packed(members(), tmp_path / "a.tgz"))
    imagenette_folder(tmp_path / "root", silent)
    assert len(torchvision.datasets.Imagenette(tmp_path / "root", "val", "160px", download=False)) == 1


def test_imagenette_is_loaded_under_its_own_name(small, tmp_path):
    small(packed(members(), tmp_path / "a.tgz"))
    images = load_images("imagenette", 8, silent)
    assert (images.source, images.classes) == ("imagenette", ("tench",))
    assert images.note.startswith("Imagenette")


def test_a_whole_folder_is_used_as_it_is(small, tmp_path):
    folder = unpacked(tmp_path / "root" / "imagenette2-160")
    assert imagenette_folder(tmp_path / "root", pytest.fail) == folder


def test_an_archive_that_is_there_is_not_fetched_again(small, tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    small(packed(members(), tmp_path / "root" / "imagenette2-160.tgz"))
    monkeypatch.setattr(room, "ARCHIVE", "nowhere:")
    assert imagenette_folder(tmp_path / "root", silent).is_dir()


@pytest.mark.parametrize(("train", "val"), [(1, 1), (2, 0), (3, 1)])
def test_a_folder_that_is_not_whole_is_refused(small, tmp_path, train, val, refuses):
    folder = unpacked(tmp_path / "root" / "imagenette2-160", train=train, val=val)
    with refuses(ImagesError, str(folder), "delete"):
        imagenette_folder(tmp_path / "root", silent)


def test_a_cut_off_download_is_refused_and_removed(small, tmp_path, refuses):
    archive = packed(members(), tmp_path / "a.tgz")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    archive.write_bytes(archive.read_bytes()[:-100])
    small(archive, md5)
    with refuses(ImagesError, "checksum", archive.as_uri()):
        imagenette_folder(tmp_path / "root", silent)
    assert os.listdir(tmp_path / "root") == []


def test_a_cut_off_archive_on_the_disk_is_fetched_again(small, tmp_path):
    (tmp_path / "root").mkdir()
    small(packed(members(), tmp_path / "a.tgz"))
    (tmp_path / "root" / "imagenette2-160.tgz").write_bytes(b"half")
    assert imagenette_folder(tmp_path / "root", silent).is_dir()


def test_an_unpacking_that_breaks_off_leaves_no_folder(small, tmp_path, refuses):
    archive = packed(members(), tmp_path / "a.tgz")
    archive.write_bytes(archive.read_bytes()[:-600])
    small(archive)
    with refuses(ImagesError, "unpack", "imagenette2-160.tgz"):
        imagenette_folder(tmp_path / "root", silent)
    assert os.listdir(tmp_path / "root") == ["imagenette2-160.tgz"]


def test_an_interrupted_unpacking_leaves_no_folder(small, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    small(packed(members(), tmp_path / "a.tgz"))
    monkeypatch.setattr(tarfile.TarFile, "extractall", stop)
    with pytest.raises(KeyboardInterrupt):
        imagenette_folder(tmp_path / "root", silent)
    assert os.listdir(tmp_path / "root") == ["imagenette2-160.tgz"]


def test_an_archive_with_other_counts_leaves_no_folder(small, tmp_path):
    small(packed(members(train=1), tmp_path / "a.tgz"))
    with pytest.raises(ImagesError, match="1 pictures where Imagenette has 2"):
        imagenette_folder(tmp_path / "root", silent)
    assert os.listdir(tmp_path / "root") == ["imagenette2-160.tgz"]


@pytest.mark.parametrize("name", ["../evil.JPEG", "imagenette2-160/../../evil.JPEG"])
def test_an_archive_that_reaches_outside_is_refused(small, tmp_path, name):
    small(packed([*members(), (name, b"evil")], tmp_path / "a.tgz"))
    with pytest.raises(ImagesError, match="unpack"):
        imagenette_folder(tmp_path / "deep" / "root", silent)
    assert os.listdir(tmp_path / "deep" / "root") == ["imagenette2-160.tgz"]
    assert not list(tmp_path.rglob("evil.JPEG"))


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "ARCHIVE", (tmp_path / "not online.tgz").as_uri())


def test_offline_the_stand_in_takes_its_place(offline, own_place):
    told = []
    images = load_images(None, 16, told.append)
    assert images.source == "stand-in"
    assert "cannot be fetched" in told[-1]
    assert "NOT Imagenette" in told[-1]
    assert os.listdir(own_place / "downloads") == []


def test_offline_imagenette_by_name_is_refused(offline, own_place, refuses):
    with refuses(NotDownloaded, "internet", str(own_place / "downloads")):
        load_images("imagenette", 16, silent)


@pytest.mark.parametrize(
    "failure",
    [
        TimeoutError("timed out"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        http.client.BadStatusLine("<html>"),
        http.client.IncompleteRead(b""),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_bad_connection_counts_as_none(failure, monkeypatch, refuses):
    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with refuses(NotDownloaded, "cannot be fetched"):
        load_images("imagenette", 16, silent)


def test_a_full_disk_is_not_a_bad_connection(small, tmp_path, monkeypatch, refuses):
    class Full(io.BytesIO):
        headers = email.message.Message()

        def read(self, *args):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: Full())
    with refuses(StorageError, "full"):
        imagenette_folder(tmp_path / "root", silent)
    assert os.listdir(tmp_path / "root") == []


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
    assert found == count == room.COUNTS[split]
    assert classes == set(room.CLASSES)


# Batches --------------------------------------------------------------------------------------------------------------


def test_standardize_is_torchvisions_normalize():
    pictures = torch.randint(0, 256, (4, 3, 9, 9), dtype=torch.uint8)
    preset = torchvision.models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1.transforms()
    theirs = v2.Normalize(preset.mean, preset.std)(pictures.float() / 255)
    torch.testing.assert_close(standardize(pictures), theirs)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_standardize_leaves_its_pictures(dtype):
    pictures = torch.full((2, 3, 4, 4), 100, dtype=dtype).contiguous(memory_format=torch.channels_last)
    standardize(pictures)
    assert pictures.eq(100).all()


SIDE = 80


def ramps(count):
    """Pictures that tell where they were cut: red is the column, green the row, blue constant."""
    picture = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    picture[0] = torch.arange(SIDE)
    picture[1] = torch.arange(SIDE)[:, None]
    picture[2] = 99
    return picture.expand(count, 3, SIDE, SIDE)


def crops_of(count, seed=0, epoch=0, crop_scale=0.35, size=64):
    """Left, right, top and bottom edges of the crops, from 0 to 1, as the pictures themselves tell them."""
    which = torch.arange(count)
    out = Augmentation(count, seed, epoch, crop_scale)(ramps(count), which, size)
    mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (room.MEAN, room.STD))
    out = out * std + mean
    columns, rows = out[:, 0].mean(1), out[:, 1].mean(2)
    # From the middle half, which no border can bend, to the edges; a pixel's value is its left edge.
    edges = []
    for line in (columns, rows):
        slope = (line[:, 48] - line[:, 16]) / 32
        middle = (line[:, 48] + line[:, 16]) / 2 + 0.5
        edges += [(middle - 32.5 * slope) / SIDE, (middle + 31.5 * slope) / SIDE]
    return out, edges


def test_crops_stay_inside_their_picture():
    out, edges = crops_of(400)
    assert min(edge.min() for edge in edges) > -1e-3
    assert max(edge.max() for edge in edges) < 1 + 1e-3
    torch.testing.assert_close(out[:, 2], torch.full_like(out[:, 2], 99))


def test_crops_keep_at_least_their_share_and_nearly_their_shape():
    _, (left, right, top, bottom) = crops_of(400, crop_scale=0.35)
    width, height = (right - left).abs(), bottom - top
    area, shape = width * height, width / height
    assert area.min() > 0.35 - 1e-3
    assert area.max() > 0.8
    assert 3 / 4 - 1e-3 < shape.min() < 0.8
    assert 1.25 < shape.max() < 4 / 3 + 1e-3


def test_crops_move_about():
    _, (left, right, top, bottom) = crops_of(400)
    assert ((left + right) / 2).std() > 0.05
    assert ((top + bottom) / 2).std() > 0.05


def test_about_half_of_the_crops_are_flipped_and_none_stands_on_its_head():
    _, (left, right, top, bottom) = crops_of(400)
    assert 150 < (right < left).sum() < 250
    assert (bottom > top).all()


def test_a_crop_of_everything_is_the_picture():
    pictures = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    augment = Augmentation(6, 0, 0, crop_scale=1.0)
    whole = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    augment.maps = whole.expand(6, 2, 3)
    torch.testing.assert_close(augment(pictures, torch.arange(6), 16), standardize(pictures), atol=1e-4, rtol=1e-4)
    augment.maps = whole * torch.tensor([[-1.0], [1.0]]).expand(2, 3)
    augment.maps = augment.maps.expand(6, 2, 3)
    mirrored = standardize(pictures.flip(-1))
    torch.testing.assert_close(augment(pictures, torch.arange(6), 16), mirrored, atol=1e-4, rtol=1e-4)


def test_a_picture_is_augmented_alike_in_any_batch():
    pictures = torch.randint(0, 256, (10, 3, 20, 20), dtype=torch.uint8)
    augment = Augmentation(10, 1, 2, 0.35)
    together = augment(pictures, torch.arange(10), 16)
    for which in (torch.tensor([7, 2, 5]), torch.tensor([9])):
        torch.testing.assert_close(augment(pictures[which], which, 16), together[which])


def test_augmentation_is_a_function_of_seed_and_epoch():
    draw = [Augmentation(10, seed, epoch, 0.35).maps for seed, epoch in ((1, 2), (1, 2), (1, 3), (2, 2))]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert not torch.equal(draw[0], draw[3])


def test_augmentation_does_not_touch_torchs_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(training_batches(numbered(10), RECIPE.change(batch_size=4), 0, 0))
    assert torch.equal(torch.get_rng_state(), before)


def numbered(count):
    """Pictures whose label is their place in the data set, and whose red is their label."""
    pictures = torch.zeros(count, 3, 40, 40, dtype=torch.uint8)
    pictures[:, 0] = torch.arange(count).view(-1, 1, 1)
    labels = torch.arange(count)
    return Images("numbers", "numbers", tuple(map(str, labels.tolist())), 32, pictures, labels, pictures, labels)


def test_training_batches_take_each_picture_at_most_once():
    batches = list(training_batches(numbered(50), RECIPE.change(batch_size=8), 0, 0))
    assert [tuple(pictures.shape) for pictures, _ in batches] == [(8, 3, 32, 32)] * 6
    labels = torch.cat([labels for _, labels in batches])
    assert len(labels.unique()) == len(labels) == 48


def test_training_batches_keep_pictures_and_labels_together():
    for pictures, labels in training_batches(numbered(50), RECIPE.change(batch_size=8), 0, 0):
        red = pictures[:, 0].mean((1, 2)) * 255 * room.STD[0] + 255 * room.MEAN[0]
        torch.testing.assert_close(red, labels.float(), atol=1e-3, rtol=0)


def order_of(seed, epoch):
    batches = training_batches(numbered(50), RECIPE.change(batch_size=8), seed, epoch)
    return torch.cat([labels for _, labels in batches]).tolist()


def test_the_order_is_a_function_of_seed_and_epoch():
    assert order_of(1, 2) == order_of(1, 2)
    assert len({tuple(order_of(*place)) for place in ((1, 2), (1, 3), (2, 2), (2, 3))}) == 4
    assert order_of(1, 2) != sorted(order_of(1, 2))


def test_a_data_set_smaller_than_a_batch_gives_no_batch():
    assert list(training_batches(numbered(5), RECIPE.change(batch_size=8), 0, 0)) == []


def test_validation_batches_are_the_whole_set_in_order():
    batches = list(validation_batches(numbered(50), batch_size=20))
    assert [len(labels) for _, labels in batches] == [20, 20, 10]
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(50))
    torch.testing.assert_close(torch.cat([pictures for pictures, _ in batches]), standardize(numbered(50).val))


def test_images_move_to_a_device_whole():
    images = stand_in(16, 10, 10)
    moved = images.to("cpu")
    assert same(images, moved)
    assert (moved.source, moved.note, moved.classes, moved.size) == ("stand-in", images.note, images.classes, 16)
