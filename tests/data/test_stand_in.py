import numpy as np
import pytest
import torch

from convnext_lessons.data import stand_in
from convnext_lessons.data.stand_in import SHAPES, render
from convnext_lessons.model import architecture_after
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.records import Experiment
from convnext_lessons.training.trainer import train

RECIPE = Recipe(
    "test",
    image_size=32,
    width_factor=1 / 6,
    epochs=4,
    batch_size=32,
    learning_rate=8e-3,
    crop_scale=0.7,
    initialization="fan_in",
)

pytestmark = pytest.mark.usefixtures("full_mode")


def same(one, other):
    names = ("train", "train_labels", "val", "val_labels")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def test_stand_in_is_the_same_for_the_same_seed():
    assert same(stand_in(16, 20, 10, seed=3), stand_in(16, 20, 10, seed=3))


def test_stand_in_differs_with_the_seed_and_between_its_halves():
    one, other = stand_in(16, 20, 20, seed=3), stand_in(16, 20, 20, seed=4)
    assert not torch.equal(one.train, other.train)
    assert not torch.equal(one.val, other.val)
    assert not torch.equal(one.train_labels, one.val_labels)


def test_stand_in_has_the_shapes_of_any_other_images():
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


def test_stand_in_can_be_learnt():
    small = architecture_after(8).change(depths=(2, 2, 2), patch_size=2, kernel_size=5)
    images = stand_in(32, 2000, 200)
    run = train(Experiment(small, RECIPE), images, device="cpu")
    assert run.accuracy > 0.25  # chance is 0.1, with a standard error of 0.02


def test_shapes_are_rendered_as_evenly_as_they_divide():
    pictures, labels = render(23, 16, np.random.default_rng(0))
    assert (pictures.shape, pictures.dtype) == ((23, 3, 16, 16), np.uint8)
    counts = np.bincount(labels, minlength=len(SHAPES))
    assert counts.sum() == 23 and counts.max() - counts.min() == 1
