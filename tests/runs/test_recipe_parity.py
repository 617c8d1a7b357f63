"""The paper's recipe held against timm, with which its authors trained, on the same numbers."""

import math

import matplotlib.cbook
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import auto_augment, create_transform
from timm.data.mixup import Mixup
from timm.layers import drop_path
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim import param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import nn
from torchvision.ops import StochasticDepth
from torchvision.transforms import v2

from convnext_lessons.data import standardize
from convnext_lessons.data.alterations import PictureTransform, finish
from convnext_lessons.model import architecture_after, build, load_torchvision_weights
from convnext_lessons.runs import ORIGINAL, PAPER, REHEARSAL
from convnext_lessons.runs.recipe import RAND_AUGMENT_MAGNITUDE
from convnext_lessons.runs.recipes import MODERN, TORCHVISION

PER_EPOCH = 312  # steps of 4096 in an epoch of ImageNet


@pytest.fixture(scope="module")
def photograph():
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg")) as opened:
        return opened.convert("RGB").resize((224, 224))


def prepared(recipe, picture):
    """A picture as a recipe's evaluation has it."""
    return standardize(recipe.evaluation_transform()(picture)[None])[0]


# The numbers ----------------------------------------------------------------------------------------------------------


def test_the_papers_numbers():
    assert (PAPER.epochs, PAPER.warmup_epochs, PAPER.batch_size, PAPER.learning_rate) == (300, 20, 4096, 4e-3)
    assert (PAPER.algorithm, PAPER.betas, PAPER.weight_decay, PAPER.final_learning_rate) == (
        "adamw",
        (0.9, 0.999),
        0.05,
        1e-6,
    )
    assert (PAPER.mixup, PAPER.cutmix, PAPER.erasing, PAPER.label_smoothing) == (0.8, 1.0, 0.25, 0.1)
    assert (PAPER.stochastic_depth, PAPER.layer_scale_init, PAPER.ema) == (0.1, 1e-6, 0.9999)
    assert (PAPER.image_size, PAPER.crop_scale, PAPER.validation_size, PAPER.evaluation_share) == (
        224,
        0.08,
        224,
        0.875,
    )
    assert PAPER.epochs * (1_281_167 // PAPER.batch_size) == 93_600


def test_torchvisions_average_decays_as_fast_as_its_own():
    # Its decay of 0.99998 is stretched by 32 steps · 1024 pictures / 600 epochs, and used every 32nd step.
    its_own = 1 - (1 - 0.99998) * 32 * 1024 / 600
    assert TORCHVISION.ema**32 == pytest.approx(its_own, rel=1e-5)


@pytest.mark.parametrize("recipe", [PAPER, MODERN, ORIGINAL, TORCHVISION, REHEARSAL], ids=lambda recipe: recipe.name)
def test_every_recipe_makes_pictures_of_its_size(recipe, photograph):
    for transform, size in (
        (recipe.training_transform(), recipe.image_size),
        (recipe.evaluation_transform(), recipe.validation_size),
    ):
        pixels = transform(photograph)
        assert (pixels.shape, pixels.dtype) == ((3, size, size), torch.uint8)


# The schedule ---------------------------------------------------------------------------------------------------------


def official_schedule():
    """A rate for each step, in the manner of the authors' code: a straight line with both ends, then half a cosine."""
    warmup, steps = 20 * PER_EPOCH, 300 * PER_EPOCH
    rise = np.linspace(0, 4e-3, warmup)
    fallen = np.arange(steps - warmup) / (steps - warmup)
    return np.concatenate([rise, 1e-6 + 0.5 * (4e-3 - 1e-6) * (1 + np.cos(math.pi * fallen))])


def test_the_schedule_is_the_official_one_within_one_step():
    official = official_schedule()
    ours = np.array([PAPER.learning_rate_at((step + 1) / PER_EPOCH) for step in range(len(official))])
    before = np.array([PAPER.learning_rate_at(step / PER_EPOCH) for step in range(len(official))])
    # The rate of a step lies between those at its two ends, and from the top on it is exactly that of its beginning.
    slack = 1e-12
    assert (np.minimum(before, ours) - slack <= official).all() and (official <= np.maximum(before, ours) + slack).all()
    np.testing.assert_allclose(before[20 * PER_EPOCH :], official[20 * PER_EPOCH :], rtol=1e-9)


def test_the_original_schedule_falls_in_steps():
    assert [ORIGINAL.learning_rate_at(epoch) for epoch in (0, 29.9, 30, 60, 89.9)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.001, 0.001]
    )


# Decay ----------------------------------------------------------------------------------------------------------------


def test_the_weights_that_decay_are_those_that_timm_lets_decay():
    theirs = timm.create_model("convnext_tiny", pretrained=False)
    expected = {g["weight_decay"]: sum(p.numel() for p in g["params"]) for g in param_groups_weight_decay(theirs, 0.05)}
    groups = PAPER.make_optimizer(build(architecture_after(11))).param_groups
    assert {g["weight_decay"]: sum(p.numel() for p in g["params"]) for g in groups} == expected


# Mixing and the loss --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_does_what_timms_does_with_the_same_numbers(kind):
    pictures, labels = torch.rand(6, 3, 32, 32), torch.arange(6)
    torch.manual_seed(3)
    ours = {"mixup": v2.MixUp(alpha=0.8, num_classes=6), "cutmix": v2.CutMix(alpha=1.0, num_classes=6)}[kind]
    mixed, soft = ours(pictures, labels)
    share = soft[0, 0].item()  # of the picture itself; the rest is its neighbour's
    # timm mixes a picture with the one at the other end of the batch; in this order that is the same pair.
    order = torch.tensor([0, 1, 2]), torch.tensor([5, 0, 1])
    theirs = Mixup(
        mixup_alpha=0.8 if kind == "mixup" else 0, cutmix_alpha=1.0 if kind == "cutmix" else 0, num_classes=6
    )
    pair = torch.cat([order[0], order[1].flip(0)])
    theirs._params_per_batch = lambda: (share, kind == "cutmix")
    if kind == "cutmix":
        changed = (mixed[0] != pictures[0]).any(0)
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        box = rows[0].item(), rows[-1].item() + 1, columns[0].item(), columns[-1].item() + 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("timm.data.mixup.cutmix_bbox_and_lam", lambda *_, **__: (box, share))
            other, other_soft = theirs(pictures[pair].clone(), labels[pair])
    else:
        other, other_soft = theirs(pictures[pair].clone(), labels[pair])
    torch.testing.assert_close(other[:3], mixed[:3])
    # timm's own smoothing is in its labels: 0.1 by default.
    torch.testing.assert_close(other_soft[:3], 0.9 * soft[:3] + 0.1 / 6)


def test_the_loss_is_timms():
    logits, labels = torch.randn(8, 10), torch.arange(8)
    loss = PAPER.make_loss()
    torch.testing.assert_close(loss(logits, labels), LabelSmoothingCrossEntropy(0.1)(logits, labels))
    soft = torch.rand(8, 10).softmax(1)
    torch.testing.assert_close(loss(logits, soft), SoftTargetCrossEntropy()(logits, 0.9 * soft + 0.01))


# Stochastic depth and the average -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.7])
def test_stochastic_depth_is_timms_drop_path(rate):
    x = torch.randn(64, 4, 2, 2)
    layer = StochasticDepth(rate, "row").train()
    torch.manual_seed(0)
    ours = layer(x)
    torch.manual_seed(0)
    torch.testing.assert_close(ours, drop_path(x, rate, training=True))


def test_drop_rates_grow_over_the_blocks_as_timms_do():
    theirs = timm.create_model("convnext_tiny", pretrained=False, drop_path_rate=0.1)
    expected = [getattr(block.drop_path, "drop_prob", 0.0) for stage in theirs.stages for block in stage.blocks]
    network = build(architecture_after(11), stochastic_depth=0.1)
    ours = [module.p for module in network.modules() if isinstance(module, StochasticDepth)]
    assert ours == pytest.approx(expected)


def test_the_average_is_timms():
    network = nn.Conv2d(3, 4, 1)
    network.arch = architecture_after(11)
    theirs = ModelEmaV3(network, decay=0.9)
    ours = PAPER.change(ema=0.9).make_average(network)
    ours.update_parameters(network)  # begins at the first weights, as timm's does
    for _ in range(5):
        with torch.no_grad():
            network.weight.add_(torch.randn_like(network.weight))
        theirs.update(network)
        ours.update_parameters(network)
    torch.testing.assert_close(ours.module.weight, theirs.module.weight)


def test_networks_with_batchnorm_keep_no_average():
    assert PAPER.make_average(build(architecture_after(9).thinner(1 / 16))) is None
    assert PAPER.make_average(build(architecture_after(10).thinner(1 / 16))) is not None


# Pictures -------------------------------------------------------------------------------------------------------------


def test_evaluation_pictures_are_timms(photograph):
    theirs = create_transform(224, interpolation="bicubic", crop_pct=0.875)
    ours = prepared(PAPER, photograph)
    # One resizes in PIL, the other in torch; they round apart by a grey level or two.
    assert (ours - theirs(photograph)).abs().mean() < 0.02


TIMMS_NAMES = {
    "ShearX": "ShearX",
    "ShearY": "ShearY",
    "TranslateX": "TranslateX",
    "TranslateY": "TranslateY",
    "Rotate": "Rotate",
    "Brightness": "BrightnessIncreasing",
    "Color": "ColorIncreasing",
    "Contrast": "ContrastIncreasing",
    "Sharpness": "SharpnessIncreasing",
    "Solarize": "SolarizeIncreasing",
}
# What timm's numbers are counted from: factors from 1, the threshold of solarizing from white.
ORIGINS = {"Brightness": 1, "Color": 1, "Contrast": 1, "Sharpness": 1, "Solarize": 256}
SCALES = {"Solarize": 255}  # torchvision's threshold is a share


@pytest.mark.parametrize("name", TIMMS_NAMES)
@pytest.mark.parametrize(("magnitude", "share"), [(RAND_AUGMENT_MAGNITUDE, 1.0), (9, 1 / 3)])
def test_an_operation_of_rand_augment_is_as_strong_as_timms(name, magnitude, share):
    (theirs,) = auto_augment.LEVEL_TO_ARG[TIMMS_NAMES[name]](9, {"translate_const": int(0.45 * 224)})
    theirs = abs(theirs - ORIGINS.get(name, 0))
    levels = v2.RandAugment._AUGMENTATION_SPACE[name][0](31, 224, 224)
    ours = abs(levels[magnitude].item() - levels[0].item()) * SCALES.get(name, 1)
    assert ours == pytest.approx(share * theirs, rel=0.03)  # torchvision's own magnitude of 9 is a third


def test_an_operation_of_rand_augment_comes_as_often_as_timms():
    theirs = auto_augment.rand_augment_transform("rand-m9-mstd0.5-inc1", {})
    steps = [step for step in PAPER.training_transform().transforms if isinstance(step, v2.RandomApply)]
    assert len(steps) == theirs.num_layers == 2
    assert {step.p for step in steps} == {operation.prob for operation in theirs.ops} == {0.5}


def test_what_timms_rand_augment_has_beside_ours():
    ours = set(v2.RandAugment._AUGMENTATION_SPACE)
    operations = auto_augment.rand_augment_transform("rand-m9-mstd0.5-inc1", {}).ops
    theirs = {operation.name.removesuffix("Increasing").removesuffix("Rel") for operation in operations}
    assert theirs - ours == {"Invert", "SolarizeAdd"}
    assert ours - theirs == {"Identity"}
    assert {operation.magnitude_std for operation in operations} == {0.5}


def test_erasing_leaves_noise():
    picture = Image.new("RGB", (224, 224), (128, 128, 128))
    transform = PictureTransform(PAPER.change(augmentation="crops").training_transform(), erasing=1.0)
    pixels, rectangle = transform(picture, seed=1)
    (done,), _ = finish((pixels[None], torch.tensor([0]), rectangle[None]), torch.device("cpu"))
    noise = done[0][done[0] != done[0].mode().values.mode().values]
    assert 0.02 * 224**2 < len(noise) < 0.4 * 224**2
    assert noise.mean().abs() < 0.1 and noise.std() == pytest.approx(1, abs=0.1)


def test_weights_of_torchvision_are_judged_the_same(photograph):
    # The evaluation in the road's end and in torchvision's own module, on weights that carry a signal.
    from torchvision.models import convnext_tiny

    theirs = convnext_tiny(weights=None).eval()
    ours = build(architecture_after(11)).eval()
    load_torchvision_weights(ours, theirs.state_dict())
    picture = prepared(PAPER, photograph)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours(picture), theirs(picture), rtol=1e-4, atol=1e-5)
