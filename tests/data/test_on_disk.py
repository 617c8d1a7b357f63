import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import imagenet

from convnext_lessons.data import IMAGENETTE, Images, ImagesError, ImagesOnDisk, NotDownloaded, on_disk, open_images
from convnext_lessons.data.datasets import IMAGEWOOF
from convnext_lessons.model import RESNET50
from convnext_lessons.runs.recipes import PAPER, POCKET
from convnext_lessons.runs.records import Experiment
from convnext_lessons.training.trainer import TrainingError, train

RECIPE = PAPER.change(name="small", image_size=32, epochs=2, batch_size=8, warmup_epochs=1, width_factor=1 / 16)


def test_images_stay_on_the_disk(grey):
    images = open_images(RECIPE, str(grey))
    assert (len(images.train), len(images.val), images.classes, images.note) == (24, 10, ("a", "b"), "grey")
    picture, label = images.train[3]
    assert (picture.shape, picture.dtype, picture[0, 0, 0].item() // 3 % 2) == ((3, 40, 48), torch.uint8, label)


def test_squashed_images_are_noted(tmp_path, full_mode):
    for split in ("train", "val"):
        (tmp_path / "set" / split / "a").mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "set" / split / "a" / "0.png")
    assert open_images(RECIPE, str(tmp_path / "set")).note == "set, squashed to 40×40"


def test_recipes_for_batches_have_their_images_in_memory(grey):
    assert isinstance(open_images(POCKET, str(grey)), Images)


def test_fast_mode_takes_the_stand_in():
    assert open_images(PAPER, "nowhere").source == "stand-in"


@pytest.mark.parametrize("missing", ["nothing", "train"])
def test_what_is_no_data_set_is_refused(grey, missing, refuses):
    with refuses(ImagesError, "train/"):
        open_images(RECIPE, str(grey / missing))


# Which images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", [IMAGENETTE, IMAGEWOOF], ids=lambda dataset: dataset.name)
def test_a_data_set_is_opened_under_its_own_name(dataset, published, full_mode):
    published(dataset)
    images = open_images(RECIPE, dataset.name)
    assert (images.source, images.classes) == (dataset.name, (next(iter(dataset.classes.values())),))
    assert images.note.startswith(dataset.title)
    assert (len(images.train), len(images.val)) == (2, 1)


def test_unless_told_otherwise_it_is_imagenette(published, full_mode):
    published(IMAGENETTE)
    assert open_images(RECIPE).source == "imagenette"


@pytest.mark.parametrize(("recipe", "kind"), [(RECIPE, ImagesOnDisk), (POCKET, Images)], ids=["disk", "memory"])
def test_the_environment_chooses_by_name(recipe, kind, published, full_mode, monkeypatch):
    published(IMAGEWOOF)
    monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", "imagewoof")
    images = open_images(recipe)
    assert isinstance(images, kind)
    assert images.source == "imagewoof"


@pytest.mark.parametrize(("recipe", "kind"), [(RECIPE, ImagesOnDisk), (POCKET, Images)], ids=["disk", "memory"])
def test_the_environment_chooses_a_folder(recipe, kind, grey, monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", str(grey))
    images = open_images(recipe)
    assert isinstance(images, kind)
    assert (images.source, images.note) == (str(grey), "grey")


def test_the_environment_chooses_the_stand_in(full_mode, monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", "stand-in")
    assert open_images(RECIPE).source == "stand-in"


def test_what_is_asked_for_goes_before_the_environment(grey, monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", "nowhere")
    assert open_images(RECIPE, str(grey)).source == str(grey)


def test_unknown_images_are_refused_with_the_names_that_are_known(full_mode, refuses):
    with refuses(ImagesError, "'imagenot'", "imagenette", "imagewoof", "stand-in", "train/"):
        open_images(RECIPE, "imagenot")


def test_offline_there_is_no_stand_in_for_images_on_the_disk(publish, full_mode, refuses):
    publish(IMAGENETTE)
    with refuses(NotDownloaded, "internet"):
        open_images(RECIPE)


# Runs -----------------------------------------------------------------------------------------------------------------


def test_a_run_on_images_on_the_disk(grey):
    run = train(Experiment(RESNET50, RECIPE), open_images(RECIPE, str(grey)), device="cpu")
    assert run.record["images"] == {"source": str(grey), "note": "grey", "train": 24, "val": 10}
    assert all(0 <= point["waiting"] <= 1 for point in run.record["curve"] if "waiting" in point)


def test_recipes_for_batches_refuse_images_on_the_disk(grey, refuses):
    with refuses(TrainingError, "in memory"):
        train(Experiment(RESNET50, POCKET), open_images(RECIPE, str(grey)), device="cpu")


# ImageNet -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(grey, monkeypatch):
    """Two classes in the form that torchvision leaves behind, and ImageNet's counts to match."""
    torch.save(({"a": ("tench", "Tinca tinca"), "b": ("goldfish",)}, []), grey / "meta.bin")
    monkeypatch.setattr(on_disk, "IMAGENET_COUNTS", {"train": 24, "val": 10})
    return grey


def test_imagenets_classes_have_names(prepared):
    assert open_images(RECIPE, str(prepared)).classes == ("tench", "goldfish")


def test_an_imagenet_that_is_not_whole_is_refused(prepared, refuses):
    (prepared / "val" / "a" / "24.png").unlink()
    with refuses(ImagesError, "9 pictures", "10", "delete"):
        open_images(RECIPE, str(prepared))


def tar_of(path, names):
    with tarfile.open(path, "w") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path.name, hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["a.tar", "../outside.tar"])
def test_imagenets_archives_are_unpacked_safely(prepared, tmp_path, monkeypatch, name, refuses):
    inner = tmp_path / "inner.tar"
    picture = io.BytesIO()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(picture, "png")
    tar_of(inner, {"0.png": picture.getvalue()})
    made = tar_of(prepared / "archive.tar", {name: inner.read_bytes(), "b.tar": inner.read_bytes()})
    monkeypatch.setitem(imagenet.ARCHIVE_META, "train", made)
    monkeypatch.setattr(on_disk, "IMAGENET_COUNTS", {"train": 2, "val": 10})
    for path in sorted((prepared / "train").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (prepared / "train").rmdir()
    if name == "a.tar":
        assert len(open_images(RECIPE, str(prepared)).train) == 2
    else:
        with refuses(ImagesError, "outside"):
            open_images(RECIPE, str(prepared))
        assert not (tmp_path / "outside.tar").exists() and not (prepared / "outside.tar").exists()
    assert "extraction_filter" not in vars(tarfile.TarFile)
