import math

import pytest
import torch
from torch import nn

from convnext_lessons.data import stand_in
from convnext_lessons.data.augmentation import epoch_order
from convnext_lessons.model import RESNET50, build
from convnext_lessons.runs import POCKET, Recipe, RecipeError, make_experiment
from convnext_lessons.runs.recipes import RECIPES
from convnext_lessons.system.distributed import SINGLE_PROCESS
from convnext_lessons.training import Trainer, TrainingError, TrainOptions, train
from convnext_lessons.training.local_batches import RunningStatistics, split_stochastic_depth

CPU = torch.device("cpu")
SMALL = {"image_size": 32, "width_factor": 1 / 16, "epochs": 2, "batch_size": 16, "learning_rate": 0.05}
RANDOM = {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "stochastic_depth": 0.5}
# SGD, since AdamW makes a whole step of a gradient that is nothing but rounding.
RECIPE = Recipe("random", **SMALL, **RANDOM, algorithm="sgd", weight_decay=0.0, local_batch_size=8)


@pytest.fixture(scope="module")
def images():
    return stand_in(32, train_count=48, val_count=10)


@pytest.fixture
def learnt(images, full_mode, tmp_path):
    """Weights after two epochs: ``learnt(step, recipe, micro_batch_size)``."""

    def weights(step, recipe=RECIPE, micro_batch_size=None):
        options = TrainOptions(micro_batch_size=micro_batch_size)
        return train(make_experiment(step, recipe), images, device="cpu", options=options).network.state_dict()

    return weights


def close(one, other):
    return all(torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-5) for name in one)


@pytest.mark.parametrize("micro_batch_size", [1, 3, 8, 100])
def test_micro_batches_change_nothing_but_rounding(learnt, micro_batch_size):
    assert close(learnt(11), learnt(11, micro_batch_size=micro_batch_size))


def test_local_batches_of_another_size_are_another_recipe(learnt):
    # Without this, the test above would prove nothing: something must be drawn for each local batch.
    assert not close(learnt(11), learnt(11, RECIPE.change(local_batch_size=4)))


def test_batchnorm_sees_local_batches(learnt):
    plain = RECIPE.change(mixup=0.0, cutmix=0.0, stochastic_depth=0.0)
    whole = plain.change(local_batch_size=16)
    assert not close(learnt(8, plain), learnt(8, whole))
    assert close(learnt(11, plain), learnt(11, whole))  # LayerNorm does not


def test_batchnorm_refuses_smaller_parts(learnt, refuses):
    with refuses(TrainingError, "BatchNorm", "8 pictures", "micro-batch of 3", "local_batch_size"):
        learnt(8, micro_batch_size=3)
    learnt(8, micro_batch_size=8)


def test_running_statistics_move_once_a_step_whatever_the_order():
    torch.manual_seed(0)
    batches = [torch.randn(4, 3, 5, 5) + shift for shift in range(3)]
    results = []
    for order in ([0, 1, 2], [2, 0, 1]):
        network = nn.Sequential(nn.BatchNorm2d(3))
        statistics = RunningStatistics(network, SINGLE_PROCESS, 3)
        for _ in range(2):
            statistics.begin()
            for index in order:
                network(batches[index])
                statistics.add()
            statistics.end()
        results.append(network[0])
    mean = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    expected = 0.1 * mean + 0.9 * 0.1 * mean
    for norm in results:
        torch.testing.assert_close(norm.running_mean, expected)
        assert norm.num_batches_tracked == 2
    torch.testing.assert_close(results[0].running_var, results[1].running_var)


def test_a_single_local_batch_moves_them_as_torch_does():
    network, other = nn.Sequential(nn.BatchNorm2d(3)), nn.Sequential(nn.BatchNorm2d(3))
    statistics = RunningStatistics(network, SINGLE_PROCESS, 1)
    pictures = torch.randn(4, 3, 5, 5)
    statistics.begin()
    network(pictures), other(pictures)
    statistics.add()
    statistics.end()
    assert torch.equal(network[0].running_var, other[0].running_var)


def test_parts_of_a_local_batch_have_the_luck_of_the_whole():
    network = build(RESNET50.thinner(1 / 16).change(depths=(1, 1, 1, 1)), 10, stochastic_depth=0.5)
    names = network.state_dict().keys()
    depths = split_stochastic_depth(network)
    assert len(depths) == 4 and network.state_dict().keys() == names
    pictures, drawn = torch.ones(6, 2, 1, 1), []
    for size in (6, 4, 1):
        torch.manual_seed(0)
        parts = []
        for first in range(0, 6, size):
            torch.manual_seed(0)
            depths[-1].first, depths[-1].count = first, 6
            parts.append(depths[-1](pictures[first : first + size]))
        drawn.append(torch.cat(parts))
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
    assert set(drawn[0].flatten().tolist()) == {0.0, 2.0}
    depths[-1].eval()
    assert torch.equal(depths[-1](pictures), pictures)


# The recipe's numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [None, 1, 4, 7, 16, 99])
def test_every_picture_of_a_batch_is_in_one_local_batch(size, world_size):
    recipe = RECIPE.change(local_batch_size=size)
    shares = [positions for rank in range(world_size) for positions in recipe.local_batches(rank, world_size)]
    assert sorted(position for positions in shares for position in positions) == list(range(16))
    if size:
        assert sorted(shares, key=min) == recipe.local_batches()


@pytest.mark.parametrize("size", [0, -1, 2.5, "8", True])
def test_a_local_batch_that_cannot_be_is_refused(size, refuses):
    with refuses(RecipeError, "local_batch_size"):
        RECIPE.change(local_batch_size=size)


def test_repetitions_must_fit_into_different_local_batches(refuses):
    with refuses(RecipeError, "local_batch_size"):
        RECIPE.change(repeats=4, local_batch_size=8)
    with refuses(RecipeError, "local_batch_size"):
        RECIPE.change(repeats=4, local_batch_size=None)


@pytest.mark.parametrize(("repeats", "size"), [(2, 8), (4, 4), (3, 5), (5, 3)])
def test_a_local_batch_never_holds_a_picture_twice(repeats, size):
    recipe = RECIPE.change(repeats=repeats, local_batch_size=size)
    order = epoch_order(100, recipe, 0, 0)
    assert len(order) == 96
    assert len(set(order.tolist())) == math.ceil(96 / repeats)
    for batch in order.view(-1, 16):
        for positions in recipe.local_batches():
            here = batch[positions.start : positions.stop].tolist()
            assert len(set(here)) == len(here)


def test_the_authors_recipes_say_what_one_of_their_gpus_took():
    sizes = {name: recipe.local_batch_size for name, recipe in RECIPES.items()}
    assert (sizes["paper"], sizes["modern"], sizes["torchvision"], sizes["original"]) == (128, 128, 128, 32)
    for recipe in RECIPES.values():
        recipe.fast()


def test_more_processes_than_local_batches_are_refused(images, refuses, monkeypatch):
    from convnext_lessons.system.distributed import Process
    from convnext_lessons.training.trainer import prepare_experiment

    monkeypatch.delenv("CONVNEXT_LESSONS_FAST")
    with refuses(TrainingError, "3 processes", "8 at a time"):
        prepare_experiment(make_experiment(11, RECIPE), images, Process(0, 3))
    prepare_experiment(make_experiment(11, RECIPE), images, Process(0, 2))
    with refuses(TrainingError, "17 processes"):
        prepare_experiment(make_experiment(11, RECIPE.change(local_batch_size=None)), images, Process(0, 17))


def test_stored_recipes_have_no_local_batches_and_train_as_before(images):
    trainer = Trainer(make_experiment(0, POCKET), images, CPU, TrainOptions())
    assert not trainer.statistics.needed and not trainer.depths
