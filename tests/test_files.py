import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import imagenet

from convnext_lessons import files as room
from convnext_lessons.architecture import RESNET50
from convnext_lessons.files import images_for
from convnext_lessons.images import Images, ImagesError
from convnext_lessons.loading import Validation, training_stream
from convnext_lessons.processes import Processes
from convnext_lessons.recipe import PAPER, POCKET
from convnext_lessons.records import Experiment
from convnext_lessons.training import TrainingError, train

CPU = torch.device("cpu")
RECIPE = PAPER.change(name="small", image_size=32, epochs=2, batch_size=8, warmup_epochs=1, width_factor=1 / 16)
PLAIN = RECIPE.change(augmentation="crops", crop_scale=1.0, erasing=0.0)


def save(number, path, size=(48, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (3 * number,) * 3).save(path)


@pytest.fixture
def folder(tmp_path, full_mode):
    """Grey pictures, as bright as their number: 24 to train, 10 to validate, in two classes."""
    for number in range(34):
        save(number, tmp_path / "grey" / ("train" if number < 24 else "val") / "ab"[number % 2] / f"{number:02d}.png")
    return tmp_path / "grey"


def numbers(pictures):
    return [round((255 * (value * 0.229 + 0.485) / 3).item()) for value in pictures[:, 0].mean((1, 2))]


def test_pictures_stay_on_the_disk(folder):
    images = images_for(RECIPE, str(folder))
    assert (len(images.train), len(images.val), images.classes, images.note) == (24, 10, ("a", "b"), "grey")
    picture, label = images.train[3]
    assert (picture.size, picture.mode, picture.getpixel((0, 0))[0] // 3 % 2) == ((48, 40), "RGB", label)


def test_squashed_pictures_are_noted(tmp_path, full_mode):
    for number, split in enumerate(("train", "val")):
        save(number, tmp_path / "set" / split / "a" / "0.png", size=(40, 40))
    assert images_for(RECIPE, str(tmp_path / "set")).note == "set, squashed to 40×40"


def test_recipes_for_batches_have_their_pictures_in_memory(folder):
    assert isinstance(images_for(POCKET, str(folder)), Images)


def test_fast_mode_takes_the_stand_in():
    assert images_for(PAPER, "nowhere").source == "stand-in"


@pytest.mark.parametrize("missing", ["nothing", "train"])
def test_what_is_no_data_set_is_refused(folder, missing, refuses):
    with refuses(ImagesError, "train/"):
        images_for(RECIPE, str(folder / missing))


def stream(images, recipe=RECIPE, first=0, rank=0, count=1, at_once=None, workers=0):
    return list(training_stream(images, recipe, 0, first, CPU, Processes(rank, count), at_once, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_does_not_hang_on_who_loads_and_when_it_began(folder, workers):
    images = images_for(RECIPE, str(folder))
    whole, rest = stream(images), stream(images, first=4, workers=workers)
    assert len(whole) == 6
    for (one, label), (other, same) in zip(whole[4:], rest, strict=True):
        assert torch.equal(one, other) and torch.equal(label, same)


def test_processes_and_pieces_share_a_batch(folder):
    images = images_for(PLAIN, str(folder))
    whole = [numbers(pictures) for pictures, _ in stream(images, PLAIN)]
    assert sorted(number for batch in whole[:3] for number in batch) == list(range(24)) and whole[:3] != whole[3:]
    for rank in range(3):
        pieces = [numbers(pictures) for pictures, _ in stream(images, PLAIN, rank=rank, count=3, at_once=2)]
        assert [n for piece in pieces for n in piece] == [n for batch in whole for n in batch[rank::3]]
        assert max(map(len, pieces)) == 2


def test_repeats_alter_a_picture_anew(folder):
    recipe = RECIPE.change(repeats=4, augmentation="trivial_augment")
    pieces = stream(images_for(recipe, str(folder)), recipe)
    pictures, labels = pieces[0]
    assert len(pieces) == 6
    assert labels.view(2, 4).eq(labels.view(2, 4)[:, :1]).all()
    assert len({tuple(picture.flatten().tolist()) for picture in pictures[:4]}) > 1


def test_loading_leaves_the_global_generator_alone(folder):
    images = images_for(RECIPE, str(folder))
    before = torch.get_rng_state()
    stream(images)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named(folder, workers, refuses):
    (folder / "train" / "a" / "04.png").write_bytes(b"nothing")
    images = images_for(RECIPE, str(folder))
    with refuses(ImagesError, "04.png", "replace or delete"):
        stream(images, workers=workers)


@pytest.mark.parametrize("count", [1, 3])
def test_validation_has_every_picture_once(folder, count):
    images = images_for(RECIPE, str(folder))
    seen = []
    for rank in range(count):
        validation = Validation(images, RECIPE, CPU, Processes(rank, count))
        for _ in range(2):  # as often as one likes
            mine = [n for pictures, _ in validation for n in numbers(pictures)]
        seen += mine
    assert sorted(seen) == list(range(24, 34))


def test_a_run_on_files(folder):
    run = train(Experiment(RESNET50, RECIPE), images_for(RECIPE, str(folder)), device="cpu")
    assert run.record["images"] == {"source": str(folder), "note": "grey", "train": 24, "val": 10}
    assert all(0 <= point["waiting"] <= 1 for point in run.record["curve"] if "waiting" in point)


def test_recipes_for_batches_refuse_pictures_on_the_disk(folder, refuses):
    with refuses(TrainingError, "in memory"):
        train(Experiment(RESNET50, POCKET), images_for(RECIPE, str(folder)), device="cpu")


# ImageNet -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(folder, monkeypatch):
    """Two classes in the form that torchvision leaves behind, and ImageNet's counts to match."""
    torch.save(({"a": ("tench", "Tinca tinca"), "b": ("goldfish",)}, []), folder / "meta.bin")
    monkeypatch.setattr(room, "IMAGENET_COUNTS", {"train": 24, "val": 10})
    return folder


def test_imagenet_has_names(prepared):
    assert images_for(RECIPE, str(prepared)).classes == ("tench", "goldfish")


def test_an_imagenet_that_is_not_whole_is_refused(prepared, refuses):
    (prepared / "val" / "a" / "24.png").unlink()
    with refuses(ImagesError, "9 pictures", "10", "delete"):
        images_for(RECIPE, str(prepared))


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
    monkeypatch.setattr(room, "IMAGENET_COUNTS", {"train": 2, "val": 10})
    for path in sorted((prepared / "train").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (prepared / "train").rmdir()
    if name == "a.tar":
        assert len(images_for(RECIPE, str(prepared)).train) == 2
    else:
        with refuses(ImagesError, "outside"):
            images_for(RECIPE, str(prepared))
        assert not (tmp_path / "outside.tar").exists() and not (prepared / "outside.tar").exists()
    assert "extraction_filter" not in vars(tarfile.TarFile)
