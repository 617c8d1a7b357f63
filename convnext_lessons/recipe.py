"""How a network is trained: every number of a recipe, and the torch and torchvision parts that follow from it."""

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import nn
from torchvision.transforms import v2

from convnext_lessons.machine import CourseError

FAST_IMAGE_SIZE = 32  # in fast mode; the smallest that four stages can take


class RecipeError(CourseError, ValueError):
    """A recipe that cannot be followed."""


@dataclass(frozen=True)
class Recipe:
    """One way to train, at one scale.

    Attributes:
        image_size: side of the square pictures, in pixels, in training and evaluation.
        width_factor: channels of the trained copy relative to the full network.
        epochs: passes over the training images; warm-up included.
        batch_size: pictures in a step.
        learning_rate: the highest, reached after the warm-up; it then falls along a cosine to ``final_learning_rate``.
        warmup_epochs: may be a fraction of one.
        algorithm: ``"adamw"``, or ``"sgd"`` with momentum 0.9.
        weight_decay: on convolution and linear weights only with AdamW, on everything with SGD, as each is used.
        betas: AdamW's.
        label_smoothing: share of each label that is spread over all classes.
        mixup, cutmix: the Beta distribution's parameter; 0 is off. With both, every batch takes one of them at random.
        crop_scale: smallest share of a picture's area in a training crop, before its proportions are stretched.
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
    algorithm: str = "adamw"
    weight_decay: float = 0.05
    betas: tuple = (0.9, 0.999)
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    crop_scale: float = 0.35
    stochastic_depth: float = 0.0
    layer_scale_init: float = 1.0
    initialization: str = "truncated_normal"

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas) if isinstance(self.betas, list) else self.betas)
        for name in ("image_size", "epochs", "batch_size"):
            self._check(
                name, _is_whole(getattr(self, name)) and getattr(self, name) >= 1, "a whole number of at least 1"
            )
        for name in ("width_factor", "learning_rate", "layer_scale_init"):
            self._check(name, _is_number(getattr(self, name)) and getattr(self, name) > 0, "a number above 0")
        for name in ("final_learning_rate", "weight_decay", "mixup", "cutmix"):
            self._check(name, _is_number(getattr(self, name)) and getattr(self, name) >= 0, "a number of at least 0")
        for name in ("label_smoothing", "stochastic_depth"):
            value = getattr(self, name)
            self._check(name, _is_number(value) and 0 <= value < 1, "a share from 0 to below 1")
        self._check(
            "crop_scale", _is_number(self.crop_scale) and 0 < self.crop_scale <= 1, "a share above 0 and up to 1"
        )
        pair = isinstance(self.betas, tuple) and len(self.betas) == 2
        self._check(
            "betas", pair and all(_is_number(b) and 0 <= b < 1 for b in self.betas), "two numbers from 0 to below 1"
        )
        warmup = self.warmup_epochs
        self._check("warmup_epochs", _is_number(warmup) and 0 <= warmup < self.epochs, "at least 0 and below epochs")
        for name, known in (
            ("initialization", ("truncated_normal", "fan_out", "fan_in")),
            ("algorithm", ("adamw", "sgd")),
        ):
            self._check(name, getattr(self, name) in known, f"one of {', '.join(known)}")

    def _check(self, name, fine, wanted):
        if not fine:
            raise RecipeError(f"{name} of the recipe is {getattr(self, name)!r}; it must be {wanted}.")

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
        return replace(self, image_size=FAST_IMAGE_SIZE, width_factor=1 / 16, epochs=2, batch_size=8, warmup_epochs=0.5)

    def learning_rate_at(self, epoch):
        """The learning rate after ``epoch`` epochs, a fraction mostly: linear warm-up, then half a cosine."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        left = (self.epochs - epoch) / (self.epochs - self.warmup_epochs)
        return (
            self.final_learning_rate
            + (self.learning_rate - self.final_learning_rate) * (1 - math.cos(math.pi * left)) / 2
        )

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

RECIPES = {recipe.name: recipe for recipe in (POCKET, LESSON)}


def recipe_of(scale):
    """The recipe of a scale, by name.

    Raises:
        RecipeError: there is no such scale.
    """
    if scale not in RECIPES:
        raise RecipeError(f"There is no scale '{scale}'; there are {' and '.join(RECIPES)}.")
    return RECIPES[scale]
