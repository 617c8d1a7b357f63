import json

import pytest
import torch

from convnext_lessons import budget as room
from convnext_lessons.experiments.engine import IN_THE_LOADER, IN_THE_STEP, checkpoint_price, technique_prices
from convnext_lessons.training.budget import IMAGENET_PICTURES, Budget, BudgetError, loader_rate, step_rate
from convnext_lessons.data.in_memory import stand_in
from convnext_lessons.runs.recipes import PAPER
from convnext_lessons.runs.records import make_experiment

SMALL = PAPER.fast()


@pytest.fixture(scope="module")
def images():
    return stand_in(32, train_count=64, val_count=40)


def test_a_budget_by_hand():
    budget = Budget(PAPER, devices=8, rate=1000, price=2)
    assert budget.device_hours == pytest.approx(300 * 1_281_167 / 1000 / 3600)
    assert budget.hours == pytest.approx(budget.device_hours / 8)
    assert budget.cost == pytest.approx(2 * budget.device_hours)
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


def test_rates_are_above_nothing(images):
    long = SMALL.change(epochs=300)
    assert loader_rate(images, long, seconds=0.1) > 0
    assert step_rate(make_experiment(11, SMALL), "cpu", seconds=0.1) > 0


def test_every_technique_of_the_recipe_has_a_price(images):
    prices = technique_prices(make_experiment(11, SMALL.change(epochs=300)), images, "cpu", rounds=1, seconds=0.05)
    assert prices.keys() == IN_THE_LOADER.keys() | IN_THE_STEP.keys()
    assert all(len(ratios) == 1 and ratios[0] > 0 for ratios in prices.values())


@pytest.mark.parametrize("changes", [*IN_THE_LOADER.values(), *IN_THE_STEP.values()])
def test_a_recipe_without_a_technique_is_another_recipe(changes):
    assert PAPER.change(**changes) != PAPER


def test_a_checkpoint_weighs_what_it_holds():
    what = make_experiment(11, SMALL)
    seconds, size = checkpoint_price(what, "cpu", rounds=1)
    parameters = sum(p.numel() for p in room._trainer(what, torch.device("cpu")).network.parameters())
    # The weights, their average, and AdamW's two moments, four bytes each, and names beside them.
    assert seconds > 0 and 16 * parameters < size < 20 * parameters + 500_000


def test_what_was_measured_is_kept(tmp_path, monkeypatch):
    (tmp_path / "engine.json").write_text(json.dumps({"schema": 1}))
    monkeypatch.setattr(room, "reference_folder", lambda: tmp_path)
    assert room.engine() == {"schema": 1}
