"""How a network is trained: every number of a recipe, and the torch and torchvision parts that follow from it."""

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import InterpolationMode, v2

from convnext_lessons.machine import CourseError

FAST_IMAGE_SIZE = 32  # in fast mode; the smallest that four stages can take
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's weights expect them

# The paper's RandAugment is timm's with magnitude 9 of 10. On torchvision's scale of 31 an operation of that strength
# sits at 27, and each of the two is applied with probability 0.5. What stays different: timm draws the magnitude anew
# around 9, leaves fewer colours where it posterizes, and has two operations more, inverting and adding while it
# solarizes, where torchvision has one that does nothing.
RAND_AUGMENT_MAGNITUDE = 27
RAND_AUGMENT_OPERATIONS = 2
RAND_AUGMENT_PROBABILITY = 0.5

SIZE_STEP = 8  # pixels by which pictures grow
STEP_EPOCHS, STEP_FACTOR = 30, 0.1  # of the schedule that falls in steps


class RecipeError(CourseError, ValueError):
    """A recipe that cannot be followed."""


@dataclass(frozen=True)
class Recipe:
    """One way to train, at one scale.

    Attributes:
        image_size: side of the square pictures in training, in pixels.
        first_size: side in the first epoch, where training begins with smaller pictures: they grow evenly, by
            ``SIZE_STEP`` pixels at a time, until the last third of the epochs has ``image_size``.
        width_factor: channels of the trained copy relative to the full network.
        epochs: passes over the training images; warm-up included.
        batch_size: pictures in a step.
        learning_rate: the highest, reached after the warm-up.
        final_learning_rate: where a cosine ends.
        warmup_epochs: may be a fraction of one.
        schedule: after the warm-up, ``"cosine"`` falls along half a cosine, ``"steps"`` to a tenth every 30 epochs.
        algorithm: ``"adamw"``, or ``"sgd"`` with momentum 0.9.
        weight_decay: on convolution and linear weights only with AdamW, on everything with SGD, as each is used.
        betas: AdamW's.
        label_smoothing: share of each label that is spread over all classes.
        mixup, cutmix: the Beta distribution's parameter; 0 is off. With both, every batch takes one of them at random.
        crop_scale: smallest share of a picture's area in a training crop, before its proportions are stretched.
        augmentation: ``"batches"`` crops and flips whole batches of pictures that are kept in memory; the others work
            picture by picture in the loader's processes: ``"crops"`` does no more than that, ``"rand_augment"`` and
            ``"trivial_augment"`` also alter colours and shapes.
        erasing: probability that a rectangle of a training picture is replaced by noise.
        repeats: how often a picture comes in an epoch, altered anew each time; an epoch then has so many times fewer
            different pictures.
        interpolation: ``"bicubic"`` or ``"bilinear"``, where pictures are read one by one.
        evaluation_size: side of the pictures in evaluation; ``image_size`` unless given.
        evaluation_share: side of the central crop that is evaluated, relative to the resized picture.
        ema: decay per step of the weights' exponential moving average, which is then what the run leaves; 0 is off. It
            is not kept for networks with BatchNorm, as in the paper.
        stochastic_depth: drop rate of the last block.
        layer_scale_init: first value of the layer scale.
        initialization: see ``network.initialize``.
    """

    name: str
    image_size: int
    width_factor: float
    epochs: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float = 1e-6
    warmup_epochs: float = 0.5
    schedule: str = "cosine"
    algorithm: str = "adamw"
    weight_decay: float = 0.05
    betas: tuple = (0.9, 0.999)
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    crop_scale: float = 0.35
    augmentation: str = "batches"
    erasing: float = 0.0
    repeats: int = 1
    interpolation: str = "bicubic"
    evaluation_size: int | None = None
    evaluation_share: float = 0.875
    ema: float = 0.0
    stochastic_depth: float = 0.0
    layer_scale_init: float = 1.0
    initialization: str = "truncated_normal"
    first_size: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas) if isinstance(self.betas, list) else self.betas)
        for name in ("image_size", "epochs", "batch_size", "repeats", "validation_size"):
            self._check(
                name, _is_whole(getattr(self, name)) and getattr(self, name) >= 1, "a whole number of at least 1"
            )
        for name in ("width_factor", "learning_rate", "layer_scale_init"):
            self._check(name, _is_number(getattr(self, name)) and getattr(self, name) > 0, "a number above 0")
        for name in ("final_learning_rate", "weight_decay", "mixup", "cutmix"):
            self._check(name, _is_number(getattr(self, name)) and getattr(self, name) >= 0, "a number of at least 0")
        for name in ("label_smoothing", "stochastic_depth", "erasing", "ema"):
            value = getattr(self, name)
            self._check(name, _is_number(value) and 0 <= value < 1, "a share from 0 to below 1")
        for name in ("crop_scale", "evaluation_share"):
            value = getattr(self, name)
            self._check(name, _is_number(value) and 0 < value <= 1, "a share above 0 and up to 1")
        pair = isinstance(self.betas, tuple) and len(self.betas) == 2
        self._check(
            "betas", pair and all(_is_number(b) and 0 <= b < 1 for b in self.betas), "two numbers from 0 to below 1"
        )
        warmup = self.warmup_epochs
        self._check("warmup_epochs", _is_number(warmup) and 0 <= warmup < self.epochs, "at least 0 and below epochs")
        for name, known in (
            ("initialization", ("truncated_normal", "fan_out", "fan_in")),
            ("algorithm", ("adamw", "sgd")),
            ("schedule", ("cosine", "steps")),
            ("augmentation", ("batches", "crops", "rand_augment", "trivial_augment")),
            ("interpolation", ("bicubic", "bilinear")),
        ):
            self._check(name, getattr(self, name) in known, f"one of {', '.join(known)}")
        if self.first_size is not None:
            fine = _is_whole(self.first_size) and 1 <= self.first_size <= self.image_size
            self._check("first_size", fine, "a whole number from 1 to image_size")
            self._check("augmentation", self.augmentation == "batches", "batches where pictures grow")

    def _check(self, name, fine, wanted):
        if not fine:
            raise RecipeError(f"{name} of the recipe is {getattr(self, name)!r}; it must be {wanted}.")

    @property
    def validation_size(self):
        """Side of the pictures in evaluation."""
        return self.image_size if self.evaluation_size is None else self.evaluation_size

    def change(self, **changes):
        """The same recipe with some numbers changed.

        Raises:
            RecipeError: a name is unknown or a number cannot work.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise RecipeError(f"A recipe has no '{name}'; it has {', '.join(known)}.")
        return replace(self, **changes)

    def fast(self):
        """The same recipe cut down to a few seconds, to see that everything runs: its accuracy means nothing."""
        small = {"image_size": FAST_IMAGE_SIZE, "first_size": None, "evaluation_size": None, "width_factor": 1 / 16}
        return replace(self, **small, epochs=2, batch_size=8, warmup_epochs=0.5)

    def learning_rate_at(self, epoch):
        """The learning rate after ``epoch`` epochs, a fraction mostly, so that batches of any size and any number of
        processes follow the same schedule."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        if self.schedule == "steps":
            return self.learning_rate * STEP_FACTOR ** (epoch // STEP_EPOCHS)
        left = (self.epochs - epoch) / (self.epochs - self.warmup_epochs)
        return (
            self.final_learning_rate
            + (self.learning_rate - self.final_learning_rate) * (1 - math.cos(math.pi * left)) / 2
        )

    def size_in(self, epoch):
        """Side of the training pictures in an epoch, counted from 0."""
        if self.first_size is None:
            return self.image_size
        grown = min(1.0, epoch / (self.epochs * 2 / 3))
        steps = int(grown * (self.image_size - self.first_size) / SIZE_STEP)
        return self.image_size if grown == 1 else self.first_size + SIZE_STEP * steps

    def optimizer(self, network):
        """The algorithm over a network's parameters; with AdamW, norms, biases and layer scales do not decay."""
        if self.algorithm == "sgd":
            settings = {"lr": self.learning_rate, "momentum": 0.9, "weight_decay": self.weight_decay}
            return torch.optim.SGD(network.parameters(), **settings)
        decaying = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        chosen = set(map(id, decaying))
        others = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
        groups = [{"params": decaying, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas)

    def loss(self):
        """Cross-entropy, which takes class numbers as well as the soft labels of mixed pictures."""
        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)

    def averaged(self, network):
        """The moving average of a network's weights as torch's ``AveragedModel``; None where the recipe has none."""
        if not self.ema or network.arch.norm == "batch":
            return None
        return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(self.ema))

    def training_transform(self):
        """A transform of one picture, PIL's or a uint8 tensor [3, H, W], to a standardized [3, image_size, image_size],
        drawn from torch's global generator."""
        # Turned and shifted pictures leave corners, which become ImageNet's mean.
        drawing = {"interpolation": InterpolationMode.BILINEAR, "fill": [round(255 * value) for value in MEAN]}
        operations = []
        if self.augmentation == "rand_augment":
            one = v2.RandAugment(1, RAND_AUGMENT_MAGNITUDE, **drawing)
            operations = [v2.RandomApply([one], RAND_AUGMENT_PROBABILITY)] * RAND_AUGMENT_OPERATIONS
        if self.augmentation == "trivial_augment":
            operations = [v2.TrivialAugmentWide(**drawing)]
        return v2.Compose(
            [
                v2.ToImage(),
                v2.RandomResizedCrop(
                    self.image_size, (self.crop_scale, 1), interpolation=self._interpolation, antialias=True
                ),
                v2.RandomHorizontalFlip(),
                *operations,
                *self._standardizing(),
                v2.RandomErasing(self.erasing, value="random"),
            ]
        )

    def evaluation_transform(self):
        """A transform of one picture to a standardized [3, validation_size, validation_size]: resized, then its
        centre."""
        resized = round(self.validation_size / self.evaluation_share)
        return v2.Compose(
            [
                v2.ToImage(),
                v2.Resize(resized, interpolation=self._interpolation, antialias=True),
                v2.CenterCrop(self.validation_size),
                *self._standardizing(),
            ]
        )

    @property
    def _interpolation(self):
        return InterpolationMode(self.interpolation)

    @staticmethod
    def _standardizing():
        return v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)

    def mixing(self, classes):
        """A callable ``(pictures, labels) → (pictures, labels)`` that mixes a batch as the recipe says."""
        mixes = []
        if self.mixup:
            mixes.append(v2.MixUp(alpha=self.mixup, num_classes=classes))
        if self.cutmix:
            mixes.append(v2.CutMix(alpha=self.cutmix, num_classes=classes))
        return v2.RandomChoice(mixes) if mixes else lambda pictures, labels: (pictures, labels)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


# A thin copy on small pictures: one run fits into the patience of a reader with two cores. The pilot chose these
# numbers; data/README.md says how, and what runs of this size can resolve.
POCKET = Recipe(
    "pocket",
    image_size=64,
    width_factor=1 / 4,
    epochs=4,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.2,
)

# The full network at 128 px on one GPU. What the pilot said of thin copies is carried over; the lower learning rate for
# the wider network and the longer warm-up are not measured yet.
LESSON = Recipe(
    "lesson",
    image_size=128,
    width_factor=1.0,
    epochs=5,
    batch_size=64,
    learning_rate=1e-3,
    warmup_epochs=1.0,
    weight_decay=0.2,
)

# ConvNeXt-T as the paper trains it (appendix A.1 and table 5; the code's 0.02 for the initialization).
PAPER = Recipe(
    "paper",
    image_size=224,
    width_factor=1.0,
    epochs=300,
    batch_size=4096,
    learning_rate=4e-3,
    final_learning_rate=1e-6,
    warmup_epochs=20,
    weight_decay=0.05,
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,
    crop_scale=0.08,
    augmentation="rand_augment",
    erasing=0.25,
    ema=0.9999,
    stochastic_depth=0.1,
    layer_scale_init=1e-6,
)

# The same on ResNet-50, where the road begins: without the moving average, which the paper leaves out there.
MODERN = PAPER.change(name="modern", ema=0.0)

# ResNet-50 as its authors' successors trained it for years; torchvision's first weights (76.130 %) are of this kind.
ORIGINAL = Recipe(
    "original",
    image_size=224,
    width_factor=1.0,
    epochs=90,
    batch_size=256,
    learning_rate=0.1,
    warmup_epochs=0,
    schedule="steps",
    algorithm="sgd",
    weight_decay=1e-4,
    crop_scale=0.08,
    augmentation="crops",
    interpolation="bilinear",
    initialization="fan_out",
)

# How torchvision's own convnext_tiny reached 82.520 % (pytorch/vision, pull request 5197). Its average is updated every
# 32nd step, by 1 - 0.99998 times 32 · 1024 / 600; here every step takes its share of that. It also lets biases decay
# and erases to grey, where ours go without decay and erase to noise.
TORCHVISION = Recipe(
    "torchvision",
    image_size=176,
    width_factor=1.0,
    epochs=600,
    batch_size=1024,
    learning_rate=1e-3,
    final_learning_rate=0.0,
    warmup_epochs=5,
    weight_decay=0.05,
    label_smoothing=0.1,
    mixup=0.2,
    cutmix=1.0,
    crop_scale=0.08,
    augmentation="trivial_augment",
    erasing=0.1,
    repeats=4,
    interpolation="bilinear",
    evaluation_size=224,
    evaluation_share=224 / 236,
    ema=1 - (1 - 0.99998) * 1024 / 600,
    stochastic_depth=0.1,
    layer_scale_init=1e-6,
)

# Every part of the paper's recipe at a size that two cores finish in minutes. What is not the paper's follows from the
# size: batches of 64 take a lower rate, an average of few steps a faster decay, and short runs mute blocks that begin
# at a millionth.
REHEARSAL = PAPER.change(
    name="rehearsal",
    image_size=64,
    width_factor=1 / 4,
    epochs=16,
    batch_size=64,
    learning_rate=2e-3,
    warmup_epochs=1,
    ema=0.99,
    layer_scale_init=1.0,
)

RECIPES = {recipe.name: recipe for recipe in (POCKET, LESSON, PAPER, MODERN, ORIGINAL, TORCHVISION, REHEARSAL)}


def recipe_of(scale):
    """The recipe of a scale, by name.

    Raises:
        RecipeError: there is no such scale.
    """
    if scale not in RECIPES:
        raise RecipeError(f"There is no recipe '{scale}'; there are {', '.join(RECIPES)}.")
    return RECIPES[scale]
