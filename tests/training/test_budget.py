import itertools
from types import SimpleNamespace

import pytest
import torch

from convnext_lessons.data import stand_in
from convnext_lessons.model import LAST_STEP
from convnext_lessons.runs import PAPER, POCKET, make_experiment
from convnext_lessons.training import Budget, BudgetError, Trainer, budget, measure_loader_rate, measure_step_rate
from convnext_lessons.training.budget import IMAGENET_PICTURES, make_trainer_without_images

SMALL = PAPER.fast()


@pytest.fixture(scope="module")
def images():
    return stand_in(32, train_count=64, val_count=40)


def test_a_budget_by_hand():
    found = Budget(PAPER, devices=8, rate=1000, price=2)
    assert found.device_hours == pytest.approx(300 * 1_281_167 / 1000 / 3600)
    assert found.hours == pytest.approx(found.device_hours / 8)
    assert found.cost == pytest.approx(2 * found.device_hours)
    assert IMAGENET_PICTURES // PAPER.batch_size == 312


@pytest.mark.parametrize(
    ("devices", "price", "words"),
    [
        (8, 0, "300 epochs on 8 × 1,000 images/s: 13.3 hours, 107 device-hours"),
        (1, 2.5, "4.4 days, 107 device-hours, 267 at 2.5 an hour"),
    ],
)
def test_a_budget_in_words(devices, price, words):
    assert words in str(Budget(PAPER, devices, 1000, price))


@pytest.mark.parametrize(("name", "value"), [("devices", 0), ("rate", -1), ("rate", float("nan")), ("price", -1)])
def test_a_budget_of_nothing_is_refused(name, value, refuses):
    with refuses(BudgetError, name):
        Budget(**{"recipe": PAPER, "devices": 1, "rate": 1, name: value})


def test_a_rate_is_above_nothing_without_and_with_images(images):
    endless = SMALL.change(epochs=300)
    assert measure_loader_rate(images, endless, seconds=0.1) > 0
    assert measure_loader_rate(images, endless, seconds=0.1, device=torch.device("cpu")) > 0
    assert measure_loader_rate(images, endless.change(augmentation="batches"), seconds=0.1) > 0
    assert measure_step_rate(make_experiment(LAST_STEP, SMALL), "cpu", seconds=0.1) > 0
    assert measure_step_rate(make_experiment(LAST_STEP, SMALL), "cpu", seconds=0.1, images=images) > 0


@pytest.mark.parametrize("augmentation", ["batches", "rand_augment"])
def test_a_step_trains_on_the_images_it_is_given(images, augmentation, monkeypatch):
    batches = note_batches(monkeypatch)
    experiment = make_experiment(0, SMALL.change(augmentation=augmentation))
    measure_step_rate(experiment, "cpu", batch_size=16, seconds=0, images=images)
    assert batches and all(pictures.shape == (16, 3, 32, 32) for pictures, _ in batches)
    assert len({pictures.sum().item() for pictures, _ in batches}) == len(batches)


@pytest.mark.parametrize(("asked", "given"), [(None, SMALL.batch_size), (3, 3)])
def test_without_images_one_batch_comes_again_and_again(asked, given, monkeypatch):
    batches = note_batches(monkeypatch)
    measure_step_rate(make_experiment(LAST_STEP, SMALL), "cpu", batch_size=asked, seconds=0)
    assert all(torch.equal(one[0], other[0]) for one, other in itertools.pairwise(batches))
    assert batches[0][0].shape == (given, 3, 32, 32)


def test_a_rate_is_pictures_over_seconds(monkeypatch):
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    def step(self, micro_batches, progress):
        clock.now += 0.5

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(budget, "time", clock)
    assert measure_step_rate(make_experiment(0, SMALL), "cpu", batch_size=10, seconds=8) == 20


def test_a_trainer_without_images_has_imagenets_classes():
    trainer = make_trainer_without_images(make_experiment(0, POCKET.fast()), torch.device("cpu"))
    assert trainer.classes == trainer.network.head[-1].out_features == 1000


def note_batches(monkeypatch):
    """The batches that steps of training will see, in a list that fills as they come."""
    batches, step = [], Trainer.step

    def noted(self, micro_batches, progress):
        batches.extend(micro_batches)
        return step(self, micro_batches, progress)

    monkeypatch.setattr(Trainer, "step", noted)
    return batches
