import errno
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convnext_lessons.data import IMAGENETTE, ImagesError, NotDownloaded, in_memory, load_images, stand_in
from convnext_lessons.data.datasets import IMAGEWOOF
from convnext_lessons.runs import reference_runs
from convnext_lessons.system import StorageError

pytestmark = pytest.mark.usefixtures("full_mode")


def silent(line):
    pass


def same(one, other):
    names = ("train", "train_labels", "val", "val_labels")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def test_images_move_to_a_device_whole():
    images = stand_in(16, 10, 10)
    moved = images.to("cpu")
    assert same(images, moved)
    assert (moved.source, moved.note, moved.classes, moved.size) == ("stand-in", images.note, images.classes, 16)


# Which images ---------------------------------------------------------------------------------------------------------


def test_fast_mode_takes_the_stand_in_whatever_is_asked_for(monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_FAST", "1")
    images = load_images("imagenette", 128)
    assert (images.source, images.size) == ("stand-in", 32)


def test_stand_in_by_name():
    assert load_images("stand-in", 16).source == "stand-in"


def test_unknown_images_are_refused_with_the_names_that_are_known(refuses):
    with refuses(ImagesError, "'imagenot'", "imagenette", "imagewoof", "stand-in", "train/"):
        load_images("imagenot", 16, silent)


@pytest.mark.parametrize("dataset", [IMAGENETTE, IMAGEWOOF], ids=lambda dataset: dataset.name)
def test_a_data_set_is_loaded_under_its_own_name(dataset, published):
    published(dataset)
    images = load_images(dataset.name, 8, silent)
    assert (images.source, images.classes) == (dataset.name, (next(iter(dataset.classes.values())),))
    assert images.note.startswith(dataset.title)
    assert (len(images.train), len(images.val)) == (2, 1)


def photographs(dataset):
    """Names and contents of a small archive whose pictures are twice as wide as high, black on the left half."""
    picture = Image.new("RGB", (320, 160), "white")
    picture.paste("black", (0, 0, 160, 160))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    place = next(iter(dataset.classes))
    names = (f"train/{place}/0.JPEG", f"train/{place}/1.JPEG", f"val/{place}/0.JPEG")
    return [(f"{dataset.folder}/{name}", buffer.getvalue()) for name in names]


def test_imagenettes_photographs_are_squashed_as_those_of_the_stored_runs(publish, pack, tmp_path):
    publish(IMAGENETTE, pack(photographs(IMAGENETTE), tmp_path / "imagenette.tgz"))
    said = []
    images = load_images("imagenette", 16, said.append)
    assert images.note == "Imagenette v2, squashed to 160×160" == reference_runs(step=0)[0]["images"]["note"]
    assert sum("squashed to 160×160, as those of the stored runs" in words for words in said) == 1
    # All of the picture is there: a central square would lose the outer halves of its halves.
    row = images.val[0, 0, 8].float()
    assert (row < 128).sum() == (row > 128).sum() == 8


def test_other_photographs_keep_their_proportions(publish, pack, tmp_path):
    publish(IMAGEWOOF, pack(photographs(IMAGEWOOF), tmp_path / "imagewoof.tgz"))
    images = load_images("imagewoof", 16, silent)
    assert images.note == IMAGEWOOF.title


def test_pictures_that_are_squashed_already_stay_as_they_are(tmp_path, full_mode):
    path = tmp_path / "one.png"
    Image.effect_noise((160, 160), 90).convert("RGB").save(path)
    (plain,), (squashed,) = (in_memory._decode([path], 40, squash, set()) for squash in (0, 160))
    assert torch.equal(plain, squashed)


def test_unless_told_otherwise_it_is_imagenette(published):
    published(IMAGENETTE)
    assert load_images(None, 8, silent).source == "imagenette"


@pytest.mark.parametrize("name", ["imagewoof", "stand-in"])
def test_the_environment_chooses_by_name(name, published, monkeypatch):
    published(IMAGEWOOF)
    monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", name)
    assert load_images(None, 8, silent).source == name


def test_the_environment_chooses_a_folder(pets, monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", str(pets))
    images = load_images(None, 8, silent)
    assert (images.source, images.note, images.classes) == (str(pets), "pets", ("cat", "dog"))


def test_what_is_asked_for_goes_before_the_environment(pets, monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", str(pets))
    assert load_images("stand-in", 8, silent).source == "stand-in"


def test_offline_what_the_environment_names_is_refused(publish, monkeypatch, refuses):
    publish(IMAGENETTE)
    monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", "imagenette")
    with refuses(NotDownloaded, "internet"):
        load_images(None, 16, silent)


def test_offline_the_stand_in_takes_its_place(publish, own_place):
    publish(IMAGENETTE)
    told = []
    images = load_images(None, 16, told.append)
    assert images.source == "stand-in"
    assert "cannot be downloaded" in told[-1]
    assert "NOT Imagenette" in told[-1]
    assert os.listdir(own_place / "downloads") == [".imagenette2-160.lock"]


@pytest.mark.parametrize("dataset", [IMAGENETTE, IMAGEWOOF], ids=lambda dataset: dataset.name)
def test_offline_a_data_set_by_name_is_refused(dataset, publish, own_place, refuses):
    publish(dataset)
    with refuses(NotDownloaded, dataset.title, "internet", str(own_place / "downloads")):
        load_images(dataset.name, 16, silent)


# A folder of images ---------------------------------------------------------------------------------------------------


def cache_files(data):
    return sorted((data / "cache").glob("*[!k]"))  # beside their locks


def test_a_folder_is_decoded(pets):
    images = load_images(pets, 8, silent)
    assert images.classes == ("cat", "dog")
    assert images.train.shape == (4, 3, 10, 10)
    assert images.val.shape == (2, 3, 8, 8)
    assert images.train_labels.tolist() == [0, 0, 1, 1]
    expected = [[0, 0, 50], [0, 100, 50], [200, 0, 50], [200, 100, 50]]
    torch.testing.assert_close(images.train.float().mean((2, 3)), torch.tensor(expected).float(), atol=4, rtol=0)


def test_folder_may_be_named_by_text_and_relative(pets, monkeypatch):
    monkeypatch.chdir(pets.parent)
    assert same(load_images("pets", 8, silent), load_images(pets, 8, silent))


def test_the_folder_itself_has_a_note(pets, monkeypatch):
    monkeypatch.chdir(pets)
    assert "pets" in load_images(".", 8, silent).note


def test_an_image_is_cut_to_its_central_square(pets):
    # Red, green and blue thirds: the central square of 24×8 is the green one.
    wide = np.zeros((8, 24, 3), np.uint8)
    for third in range(3):
        wide[:, 8 * third : 8 * third + 8, third] = 255
    Image.fromarray(wide).save(pets / "val" / "cat" / "0.png")
    (pets / "val" / "cat" / "0.jpg").unlink()
    assert load_images(pets, 8, silent).val[0].float().mean((1, 2)).tolist() == [0, 255, 0]


@pytest.fixture
def decodings(monkeypatch):
    """Counts the calls that decode."""
    calls, decode = [], in_memory._decode

    def counted(paths, *args):
        calls.append(len(paths))
        return decode(paths, *args)

    monkeypatch.setattr(in_memory, "_decode", counted)
    return calls


def test_the_second_time_comes_out_of_the_cache(pets, decodings, own_place):
    lines = []
    first = load_images(pets, 8, lines.append)
    assert (decodings, len(lines)) == ([4, 2], 2)
    second = load_images(pets, 8, lines.append)
    assert (decodings, len(lines)) == ([4, 2], 2)
    assert same(first, second)
    assert (first.note, first.classes) == (second.note, second.classes)
    assert len(cache_files(own_place)) == 1


def test_every_size_and_folder_has_its_cache(pets, decodings, own_place):
    other = shutil.copytree(pets, pets.parent / "other" / "pets")
    for place, size in ((pets, 8), (pets, 12), (other, 8)):
        load_images(place, size, silent)
    assert decodings == [4, 2] * 3
    assert len(cache_files(own_place)) == 3


def another_version(pets, monkeypatch):
    monkeypatch.setattr(in_memory, "CACHE_VERSION", in_memory.CACHE_VERSION + 1)


def one_more(pets, monkeypatch):
    Image.new("RGB", (20, 20)).save(pets / "val" / "cat" / "9.jpg")


def one_less(pets, monkeypatch):
    (pets / "train" / "cat" / "0.jpg").unlink()


def one_moved(pets, monkeypatch):
    (pets / "train" / "cat" / "0.jpg").rename(pets / "train" / "dog" / "7.jpg")


def one_painted_over(pets, monkeypatch):
    Image.effect_noise((64, 64), 90).save(pets / "train" / "cat" / "0.jpg")


@pytest.mark.parametrize("change", [another_version, one_more, one_less, one_moved, one_painted_over])
def test_the_cache_is_made_again_for_other_images(pets, change, decodings, monkeypatch):
    load_images(pets, 8, silent)
    change(pets, monkeypatch)
    load_images(pets, 8, silent)
    assert len(decodings) == 4


def test_the_cache_is_made_again_for_images_of_the_same_size_on_disk(pets):
    picture = pets / "val" / "cat" / "0.bmp"
    Image.new("RGB", (20, 20), (0, 0, 0)).save(picture)
    load_images(pets, 8, silent)
    before = picture.stat()
    Image.new("RGB", (20, 20), (255, 255, 255)).save(picture)
    assert picture.stat().st_size == before.st_size
    os.utime(picture, (before.st_atime + 60, before.st_mtime + 60))
    assert load_images(pets, 8, silent).val[0].min() == 255


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


def without_its_square(content):
    return content.replace(b"squares", b"squared", 1)


@pytest.mark.parametrize("damage", [truncated, emptied, foreign, one_byte_off, without_its_square])
@pytest.mark.filterwarnings("ignore:The cache")
def test_a_damaged_cache_is_made_again(pets, damage, decodings, own_place):
    for path in pets.glob("*/*/*.jpg"):
        Image.new("RGB", (20, 21), (50, 50, 50)).save(path)
    first = load_images(pets, 8, silent)
    (cache,) = cache_files(own_place)
    content = cache.read_bytes()
    assert damage(content) != content
    del first
    cache.write_bytes(damage(content))
    second = load_images(pets, 8, silent)
    assert decodings == [4, 2, 4, 2]
    assert second.val.eq(50).all()
    load_images(pets, 8, silent)
    assert len(decodings) == 4


def test_a_damaged_cache_is_told_in_one_line(pets, own_place):
    load_images(pets, 8, silent)
    (cache,) = cache_files(own_place)
    cache.write_bytes(b"no archive")
    with pytest.warns(UserWarning, match="damaged") as told:
        load_images(pets, 8, silent)
    assert all("\n" not in str(warning.message) for warning in told)


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_broken_image_is_named_and_leaves_no_cache(pets, kept, own_place, refuses):
    picture = pets / "train" / "dog" / "1.jpg"
    Image.effect_noise((64, 64), 90).save(picture)
    content = picture.read_bytes()
    picture.write_bytes(content[: int(kept * len(content))])
    with refuses(ImagesError, str(picture)):
        load_images(pets, 8, silent)
    assert cache_files(own_place) == []


def test_images_beyond_the_memory_are_refused(pets, refuses):
    with refuses(ImagesError, "GB", "smaller"):
        load_images(pets, 10_000_000, silent)


def test_full_disk_while_caching_is_one_sentence(pets, own_place, monkeypatch, refuses):
    def full(content, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with refuses(StorageError, "full"):
        load_images(pets, 8, silent)
    assert cache_files(own_place) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_under_torchs_own_writer_is_one_sentence(pets, own_place, monkeypatch, refuses):
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, path: save(content, "/dev/full"))
    with refuses(StorageError, str(own_place), "full"):
        load_images(pets, 8, silent)
    assert cache_files(own_place) == []
