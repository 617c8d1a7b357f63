import itertools
import math

import pytest
import torch
from torch.nn import functional

from convnext_lessons.model import LAST_STEP, architecture_after, build
from convnext_lessons.runs import RECIPES, Recipe, RecipeError, recipe_of

RECIPE = Recipe(
    "test",
    image_size=64,
    width_factor=1 / 8,
    epochs=10,
    batch_size=32,
    learning_rate=4e-3,
    final_learning_rate=1e-5,
    warmup_epochs=2,
)


def thin(step):
    return build(architecture_after(step).thinner(1 / 16).change(depths=(1, 2)), num_classes=10)


# The schedule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.0), (0.5, 1e-3), (1, 2e-3), (2, 4e-3), (6, (4e-3 + 1e-5) / 2), (10, 1e-5)],
    ids=["start", "a quarter of the warm-up", "half the warm-up", "its end", "half the cosine", "end"],
)
def test_learning_rate_at(epoch, rate):
    assert RECIPE.learning_rate_at(epoch) == pytest.approx(rate)


def test_learning_rate_rises_then_falls():
    rates = [RECIPE.learning_rate_at(step / 50) for step in range(501)]
    top = rates.index(max(rates))
    assert top == 100
    assert all(before < after for before, after in itertools.pairwise(rates[: top + 1]))
    assert all(before > after for before, after in itertools.pairwise(rates[top:]))


def test_without_warmup_the_first_rate_is_the_highest():
    assert RECIPE.change(warmup_epochs=0).learning_rate_at(0) == pytest.approx(4e-3)


# The optimizer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 8, LAST_STEP])
def test_only_weights_of_convolutions_and_linear_layers_decay(step):
    network = thin(step)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = RECIPE.change(weight_decay=0.3).make_optimizer(network).param_groups
    decay = {names[id(parameter)]: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(names) == len(decay)
    for name, parameter in network.named_parameters():
        # Norms and biases have one axis; a layer scale has (C, 1, 1).
        assert decay[name] == (0.3 if parameter.ndim in (2, 4) else 0.0), name


def test_sgd_has_momentum_and_decays_everything():
    network = thin(0)
    (group,) = RECIPE.change(algorithm="sgd", weight_decay=0.3).make_optimizer(network).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (4e-3, 0.9, 0.3)
    assert len(group["params"]) == len(list(network.parameters()))


def test_the_optimizer_is_adamw_with_the_recipes_numbers():
    optimizer = RECIPE.change(betas=(0.8, 0.9)).make_optimizer(thin(0))
    assert type(optimizer) is torch.optim.AdamW
    assert all((group["lr"], group["betas"]) == (4e-3, (0.8, 0.9)) for group in optimizer.param_groups)


# Loss and mixing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_loss_by_hand(smoothing):
    logits, labels = torch.randn(6, 10), torch.arange(6)
    target = (1 - smoothing) * functional.one_hot(labels, 10) + smoothing / 10
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    loss = RECIPE.change(label_smoothing=smoothing).make_loss()
    torch.testing.assert_close(loss(logits, labels), expected)
    torch.testing.assert_close(loss(logits, functional.one_hot(labels, 10).float()), expected)


def test_smoothed_loss_of_mixed_labels_by_hand():
    logits, soft = torch.randn(6, 10), torch.rand(6, 10).softmax(1)
    expected = -((0.9 * soft + 0.01) * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(RECIPE.change(label_smoothing=0.1).make_loss()(logits, soft), expected)


def numbered_batch():
    """Eight pictures, each with its own value everywhere."""
    return torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 16), torch.arange(8)


def test_without_mixing_nothing_changes():
    pictures, labels = RECIPE.make_mixing(10)(*numbered_batch())
    assert torch.equal(pictures, numbered_batch()[0])
    assert torch.equal(labels, numbered_batch()[1])


@pytest.mark.parametrize("changes", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_mixed_labels_say_what_is_in_the_picture(changes):
    torch.manual_seed(0)
    mix = RECIPE.change(**changes).make_mixing(10)
    for _ in range(10):
        pictures, labels = mix(*numbered_batch())
        assert labels.shape == (8, 10)
        torch.testing.assert_close(labels.sum(1), torch.ones(8))
        # A picture's mean value is the mean of the numbers that its label names.
        torch.testing.assert_close(pictures.mean((1, 2, 3)), labels @ torch.arange(10.0))


def test_each_batch_takes_one_of_both_ways_to_mix():
    torch.manual_seed(0)
    mix = RECIPE.change(mixup=0.8, cutmix=1.0).make_mixing(10)
    cut = []
    for _ in range(60):
        pictures, _ = mix(*numbered_batch())
        cut.append(torch.equal(pictures, pictures.round()))  # whole numbers are pixels of one picture, not of two
    assert 15 < sum(cut) < 45


# The numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["image_size", "width_factor", "epochs", "batch_size", "learning_rate"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_numbers_above_zero(field, value, refuses):
    with refuses(RecipeError, field, repr(value)):
        RECIPE.change(**{field: value})


@pytest.mark.parametrize("value", [-0.5, 10, 11])
def test_warmup_leaves_something_to_train(value, refuses):
    with refuses(RecipeError, "warmup_epochs", str(value)):
        RECIPE.change(warmup_epochs=value)


@pytest.mark.parametrize(
    ("field", "value", "known"),
    [
        ("initialization", "xavier", "fan_out"),
        ("algorithm", "adam", "adamw"),
        ("schedule", "line", "cosine"),
        ("augmentation", "mixup", "rand_augment"),
        ("interpolation", "nearest", "bicubic"),
    ],
)
def test_an_unknown_choice_is_refused(field, value, known, refuses):
    with refuses(RecipeError, field, repr(value), known):
        RECIPE.change(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 10.5),
        ("batch_size", 32.5),
        ("image_size", 64.5),
        ("learning_rate", "fast"),
        ("weight_decay", -0.1),
        ("label_smoothing", 1.5),
        ("label_smoothing", -0.1),
        ("mixup", -1),
        ("cutmix", -1),
        ("crop_scale", 0),
        ("crop_scale", 1.5),
        ("stochastic_depth", 1.5),
        ("stochastic_depth", -0.1),
        ("betas", (0.9, 1.5)),
        ("betas", 0.9),
    ],
)
def test_a_number_that_training_would_trip_over_is_refused(field, value, refuses):
    with refuses(RecipeError, field):
        RECIPE.change(**{field: value})


def test_an_unknown_field_is_refused(refuses):
    with refuses(RecipeError, "no field 'lr'", "learning_rate"):
        RECIPE.change(lr=1e-3)


def test_change_leaves_the_original():
    changed = RECIPE.change(epochs=20)
    assert (RECIPE.epochs, changed.epochs) == (10, 20)
    assert changed.change(epochs=10) == RECIPE


def test_betas_from_json_are_the_same():
    listed = RECIPE.change(betas=[0.9, 0.999])
    assert listed == RECIPE
    assert hash(listed) == hash(RECIPE)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_found_by_name(name):
    assert RECIPES[name].name == name
    assert recipe_of(name) is RECIPES[name]


def test_an_unknown_scale_is_refused(refuses):
    with refuses(RecipeError, "'huge'", *RECIPES):
        recipe_of("huge")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("step", range(LAST_STEP + 1))
def test_a_recipe_thins_every_step_of_the_road(recipe, step):
    assert architecture_after(step).thinner(recipe.width_factor).width >= 1
    assert architecture_after(step).thinner(recipe.fast().width_factor).width >= 1


@pytest.mark.parametrize("recipe", [*RECIPES.values(), RECIPE.change(mixup=0.8, epochs=300, warmup_epochs=20)])
def test_fast_keeps_the_techniques_and_cuts_the_work(recipe):
    fast = recipe.fast()
    cut = {"image_size", "first_size", "evaluation_size", "width_factor", "epochs", "batch_size", "local_batch_size"}
    cut |= {"warmup_epochs"}
    kept = [name for name in vars(recipe) if name not in cut]
    assert all(getattr(fast, name) == getattr(recipe, name) for name in kept)
    assert fast.epochs * fast.image_size**2 * fast.width_factor <= 2 * 32**2 / 8


def test_pictures_grow_evenly_until_the_last_third():
    growing = RECIPE.change(epochs=9, image_size=64, first_size=40)
    assert [growing.size_in(epoch) for epoch in range(9)] == [40, 40, 48, 48, 56, 56, 64, 64, 64]
    assert {RECIPE.size_in(epoch) for epoch in range(RECIPE.epochs)} == {RECIPE.image_size}


def test_pictures_of_an_odd_size_grow_to_it():
    growing = RECIPE.change(epochs=6, image_size=62, first_size=40)
    assert [growing.size_in(epoch) for epoch in range(6)] == [40, 40, 48, 56, 62, 62]


@pytest.mark.parametrize("changes", [{"first_size": 0}, {"first_size": 65}, {"first_size": 40.5}])
def test_pictures_do_not_shrink(changes, refuses):
    with refuses(RecipeError, "first_size"):
        RECIPE.change(image_size=64, **changes)


def test_pictures_that_a_loader_augments_do_not_grow(refuses):
    with refuses(RecipeError, "augmentation", "grow"):
        RECIPE.change(image_size=64, first_size=40, augmentation="crops")
