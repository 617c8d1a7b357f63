import io
import os
import pickle
import shutil

import matplotlib.cbook
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from convnext_lessons.data import DATASETS, IMAGENETTE, ImagesError, folders, load_images, open_images
from convnext_lessons.data.folders import (
    class_names,
    common_square,
    describe_images,
    open_splits,
    read_image,
    read_pixels,
)
from convnext_lessons.runs.recipes import PAPER

pytestmark = pytest.mark.usefixtures("full_mode")


def silent(line):
    pass


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_images_of_other_modes_become_rgb(pets, mode):
    extension = "jpg" if mode == "CMYK" else "png"
    Image.new(mode, (20, 20)).save(pets / "val" / "cat" / f"1.{extension}")
    assert load_images(pets, 8, silent).val.shape == (3, 3, 8, 8)


def test_squashed_images_are_said_to_be(pets):
    assert "squashed" not in load_images(pets, 8, silent).note
    for path in pets.glob("*/*/*.jpg"):
        Image.open(path).resize((20, 20)).save(path)
    assert "squashed to 20×20" in load_images(pets, 8, silent).note


def a_broken_chunk(picture, monkeypatch):
    # A length that reaches beyond the file, in the second half of a PNG.
    content = bytearray(picture.read_bytes())
    at = content.rindex(b"IDAT") - 4
    content[at : at + 8] = b"\x00\x00\x00\x04!!!!"
    picture.write_bytes(bytes(content))


def more_pixels_than_pillow_takes(picture, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)  # 300×300 is more than twice as many


@pytest.mark.parametrize("damage", [a_broken_chunk, more_pixels_than_pillow_takes])
def test_a_broken_png_is_named(pets, damage, monkeypatch, refuses):
    picture = pets / "train" / "dog" / "1.png"
    Image.effect_noise((300, 300), 90).save(picture)
    damage(picture, monkeypatch)
    with refuses(ImagesError, str(picture)):
        load_images(pets, 8, silent)


def no_folder(pets):
    return pets / "nowhere"


def no_val(pets):
    shutil.rmtree(pets / "val")
    return pets


def no_classes(pets):
    shutil.rmtree(pets / "train" / "cat")
    shutil.rmtree(pets / "train" / "dog")
    return pets


def an_empty_class(pets):
    (pets / "train" / "ant").mkdir()
    return pets


def an_image(pets):
    return pets / "train" / "cat" / "0.jpg"


@pytest.mark.parametrize("wrong", [no_folder, no_val, no_classes, an_empty_class, an_image])
def test_what_is_no_data_set_is_refused(pets, wrong, refuses):
    with refuses(ImagesError, "train"):
        load_images(wrong(pets), 8, silent)


def test_train_and_val_have_the_same_classes(pets, refuses):
    (pets / "val" / "dog").rename(pets / "val" / "cow")
    with refuses(ImagesError, "different classes"):
        load_images(pets, 8, silent)


def test_splits_have_the_same_classes_in_the_same_order(pets):
    splits = open_splits(pets)
    assert splits["train"].class_to_idx == splits["val"].class_to_idx == {"cat": 0, "dog": 1}
    assert (len(splits["train"]), len(splits["val"])) == (4, 2)


def test_an_image_may_be_read_from_an_open_file(pets):
    content = (pets / "train" / "cat" / "0.jpg").read_bytes()
    assert read_image(io.BytesIO(content)).size == (24, 16)


def test_an_error_has_the_name_that_is_given(refuses):
    with refuses(ImagesError, "sample 7", "replace or delete"):
        read_image(io.BytesIO(b"nothing"), "sample 7")


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_classes_of_known_data_sets_have_plain_names(dataset):
    assert class_names(dataset.classes) == tuple(dataset.classes.values())


def test_classes_of_other_folders_keep_their_names():
    assert class_names(["cat", "n01440764"]) == ("cat", "tench")


@pytest.mark.parametrize(
    ("sizes", "side"), [([(20, 20)] * 3, 20), ([(20, 20), (24, 24)], 0), ([(24, 20)] * 2, 0), ([], 0)]
)
def test_only_equal_squares_share_a_side(sizes, side):
    assert common_square(sizes) == side


def test_a_data_set_is_described_by_its_title_and_a_folder_by_its_name(pets):
    assert describe_images(pets, IMAGENETTE, 0) == IMAGENETTE.title
    assert describe_images(pets, None, 0) == "pets"
    assert describe_images(pets, None, 20) == "pets, squashed to 20×20"


# Folders that no data set should be, and some are ---------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_images_of_16_bits_are_scaled(tmp_path, suffix):
    values = np.array([[0, 1000], [32_768, 65_535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"x.{suffix}")
    image = np.asarray(read_image(tmp_path / f"x.{suffix}"))
    assert image.shape == (2, 2, 3)
    assert image[..., 0].tolist() == [[0, 3], [127, 255]]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_whose_range_nobody_states_are_refused(tmp_path, dtype, refuses):
    Image.fromarray(np.array([[0, 1], [2, 3]], dtype)).save(tmp_path / "x.tif")
    with refuses(ImagesError, "x.tif", "8 bits"):
        read_image(tmp_path / "x.tif")


def test_a_line_of_pixels_is_refused(tmp_path, refuses):
    Image.new("RGB", (4000, 1)).save(tmp_path / "x.png")
    with refuses(ImagesError, "4000×1"):
        read_image(tmp_path / "x.png")


def test_a_pipe_is_not_waited_for(pets, refuses):
    os.mkfifo(pets / "train" / "cat" / "x.png")
    with refuses(ImagesError, "x.png"):
        load_images(pets, 8, silent)


def test_a_link_to_a_folder_above_brings_nothing_twice(pets):
    (pets / "train" / "cat" / "up").symlink_to(".")
    assert len(open_splits(pets)["train"].samples) == 4


def test_one_folder_in_two_classes_is_refused(pets, refuses):
    (pets / "train" / "cat" / "more").symlink_to(pets / "train" / "dog")
    with refuses(ImagesError, "the same folder", "cat", "dog"):
        open_splits(pets)


def test_a_link_to_a_folder_elsewhere_brings_its_images(pets, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(pets / "train" / "cat" / "0.jpg", tmp_path / "elsewhere" / "2.jpg")
    (pets / "train" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    assert len(open_splits(pets)["train"].samples) == 5


def test_a_link_that_leads_nowhere_is_named(pets, refuses):
    (pets / "train" / "cat" / "9.jpg").symlink_to("nowhere.jpg")
    with refuses(ImagesError, "9.jpg", "replace or delete"):
        load_images(pets, 8, silent)


def test_a_name_in_another_encoding_is_read(pets):
    folder = os.fsencode(pets / "train" / "cat")
    os.rename(folder + b"/0.jpg", folder + b"/\xff.jpg")
    assert load_images(pets, 8, silent).train.shape[0] == 4
    images = open_images(PAPER, str(pets))
    assert [images.train[index][0].shape for index in range(4)].count((3, 16, 24)) == 2


def test_a_broken_image_with_such_a_name_is_named(pets, refuses):
    with open(os.fsencode(pets / "train" / "cat") + b"/\xff.jpg", "wb") as file:
        file.write(b"nothing")
    with refuses(ImagesError, "\ufffd.jpg"):
        load_images(pets, 8, silent)


@pytest.mark.parametrize("source", ["a\0b", "x" * 300])
def test_impossible_paths_are_refused(source, refuses):
    with refuses(ImagesError, "no folder"):
        load_images(source, 8, silent)


def test_another_file_called_meta_is_not_imagenets(pets, refuses):
    (pets / "meta.bin").write_bytes(pickle.dumps({"a": 1}))
    with refuses(ImagesError, "ImageNet", "move its"):
        open_images(PAPER, str(pets))


# Pixels ---------------------------------------------------------------------------------------------------------------


def photograph(mode="RGB", size=(101, 67)):
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg")) as opened:
        return opened.convert(mode).resize(size)


JPEGS = {
    "whole colours": {"subsampling": 0},
    "half colours": {"subsampling": 2},
    "progressive": {"progressive": True},
    "coarse": {"quality": 5},
    "turned": {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
    "broken EXIF": {"exif": b"Exif\0\0" + b"\xff" * 60_000},
}


@pytest.fixture
def decoders(monkeypatch):
    """Which calls torchvision's decoder answered."""
    calls, decode = [], folders.decode_jpeg

    def noted(content, mode):
        calls.append("refused")
        pixels = decode(content, mode)
        calls[-1] = "decoded"
        return pixels

    monkeypatch.setattr(folders, "decode_jpeg", noted)
    return calls


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("settings", JPEGS.values(), ids=JPEGS)
def test_both_decoders_find_the_same_pixels(tmp_path, decoders, mode, settings):
    photograph(mode).save(tmp_path / "x.jpg", **settings)
    pixels = read_pixels(tmp_path / "x.jpg")
    assert (pixels.shape, pixels.dtype, decoders) == ((3, 67, 101), torch.uint8, ["decoded"])
    # Bit for bit here; other versions of libjpeg-turbo may round otherwise.
    assert (pixels.int() - pil_to_tensor(read_image(tmp_path / "x.jpg")).int()).abs().max() <= 2


@pytest.mark.parametrize(
    ("name", "mode"), [("x.jpg", "CMYK"), ("x.png", "RGB"), ("x.png", "I;16"), ("x.png", "P"), ("x.webp", "RGB")]
)
def test_what_is_no_plain_jpeg_is_pillows(tmp_path, decoders, mode, name):
    picture = Image.new("I;16", (101, 67), 40_000) if mode == "I;16" else photograph(mode)
    picture.save(tmp_path / name)
    assert torch.equal(read_pixels(tmp_path / name), pil_to_tensor(read_image(tmp_path / name)))
    assert decoders == []


def test_where_torchvision_decodes_no_more_pillow_does(tmp_path, monkeypatch):
    photograph().save(tmp_path / "x.jpg")
    with_torchvision = read_pixels(tmp_path / "x.jpg")
    monkeypatch.setattr(folders, "decode_jpeg", None)
    assert (read_pixels(tmp_path / "x.jpg").int() - with_torchvision.int()).abs().max() <= 2


def test_a_damaged_jpeg_that_pillow_survives_is_read(tmp_path, decoders, monkeypatch):
    photograph().save(tmp_path / "x.jpg")
    content = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(content[: len(content) * 3 // 4])
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    assert read_pixels(tmp_path / "x.jpg").shape == (3, 67, 101)
    assert decoders == ["refused"]


def a_cut_off_jpeg(path):
    photograph().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def a_jpeg_that_claims_to_be_huge(path):
    photograph().save(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0") + 5  # height and width in the frame's header
    content[at : at + 4] = b"\xff\xdc\xff\xdc"
    path.write_bytes(content)


def a_jpeg_of_one_line(path):
    photograph(size=(4000, 1)).save(path)


@pytest.mark.parametrize("damage", [a_cut_off_jpeg, a_jpeg_that_claims_to_be_huge, a_jpeg_of_one_line])
def test_jpegs_that_pillow_refuses_are_refused(tmp_path, damage, refuses):
    damage(tmp_path / "x.jpg")
    with refuses(ImagesError, "x.jpg", "replace or delete"):
        read_pixels(tmp_path / "x.jpg")
