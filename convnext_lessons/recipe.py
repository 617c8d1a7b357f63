"""How a network is trained: every number of a recipe, and the torch and torchvision parts that follow from it."""

import math
from dataclasses import dataclass, replace

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
        weight_decay: AdamW's, on convolution and linear weights only.
        betas: AdamW's.
        label_smoothing: share of each label that is spread over all classes.
        mixup, cutmix: the Beta distribution's parameter; 0 is off. With both, every batch takes one of them at random.
        crop_scale: smallest share of a picture's area that a training crop keeps.
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
        object.__setattr__(self, "betas", tuple(self.betas))
        for name in ("image_size", "width_factor", "epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise RecipeError(f"{name} of the recipe is {getattr(self, name)!r}; it must be above 0.")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise RecipeError(
                f"warmup_epochs is {self.warmup_epochs} of {self.epochs} epochs; say at least 0 and fewer than all of "
                "them."
            )
        if self.initialization not in ("truncated_normal", "fan_out", "fan_in"):
            raise RecipeError(
                f"initialization is {self.initialization!r}; known are 'truncated_normal', 'fan_out' and 'fan_in'."
            )

    def change(self, **changes):
        """The same recipe with some numbers changed."""
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
        """AdamW over a network's parameters; norms, biases and layer scales do not decay."""
        decaying = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        chosen = set(map(id, decaying))
        others = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
        groups = [{"params": decaying, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas)

    def loss(self):
        """Cross-entropy, which takes class numbers as well as the soft labels of mixed pictures."""
        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)

    def mixing(self, classes):
        """A callable ``(pictures, labels) → (pictures, labels)`` that mixes the pictures of a batch, as the recipe
        says."""
        mixes = []
        if self.mixup:
            mixes.append(v2.MixUp(alpha=self.mixup, num_classes=classes))
        if self.cutmix:
            mixes.append(v2.CutMix(alpha=self.cutmix, num_classes=classes))
        return v2.RandomChoice(mixes) if mixes else lambda pictures, labels: (pictures, labels)


# A thin copy on small pictures: one run fits into the patience of a reader with two cores.
POCKET = Recipe("pocket", image_size=128, width_factor=1 / 8, epochs=4, batch_size=64, learning_rate=4e-3)

# The full network at 128 px: a few minutes on one GPU.
LESSON = Recipe(
    "lesson",
    image_size=128,
    width_factor=1.0,
    epochs=5,
    batch_size=64,
    learning_rate=1e-3,
    label_smoothing=0.1,
    warmup_epochs=1,
)

RECIPES = {recipe.name: recipe for recipe in (POCKET, LESSON)}
