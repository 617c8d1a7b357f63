"""How a network is trained: every number of a recipe, and the torch and torchvision parts that follow from it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import InterpolationMode, v2

from convnext_lessons.data.augmentation import FAST_IMAGE_SIZE, MEAN
from convnext_lessons.runs.muon import Muon, takes_matrices
from convnext_lessons.system.changeable import Changeable
from convnext_lessons.system.errors import CourseError

# The paper's RandAugment is timm's with magnitude 9 of 10. On torchvision's scale of 31 an operation of that strength
# sits at 27, and each of the two is applied with probability 0.5. What stays different: timm draws the magnitude anew
# around 9, leaves fewer colours where it posterizes, and has two operations more, inverting and adding while it
# solarizes, where torchvision has one that does nothing. And it turns and shears with bicubic interpolation, here it is
# bilinear: torchvision knows bicubic for Pillow's pictures alone, and the way there and back would make the loader an
# eighth slower (measured once: 1.4 against 0.9 ms for this part of some 3.3 a picture).
RAND_AUGMENT_MAGNITUDE = 27
RAND_AUGMENT_OPERATIONS = 2
RAND_AUGMENT_PROBABILITY = 0.5

SIZE_STEP = 8  # pixels by which pictures grow

# Of fast mode. A sixteenth would do, but for the gradient of a strided 1×1 convolution with fewer than eight input
# channels oneDNN writes past its memory (its issue 6035): torch 2.14 aborts on processors without AVX-512.
FAST_WIDTH = 1 / 8

STEP_EPOCHS, STEP_FACTOR = 30, 0.1  # of the schedule that falls in steps


class RecipeError(CourseError, ValueError):
    """A recipe that cannot be followed."""


@dataclass(frozen=True)
class Recipe(Changeable):
    """One way to train, at one scale.

    Attributes:
        image_size: side of the square pictures in training, in pixels.
        first_size: side in the first epoch, where training begins with smaller pictures: they grow evenly, by
            ``SIZE_STEP`` pixels at a time, until the last third of the epochs has ``image_size``.
        width_factor: channels of the trained copy relative to the full network.
        epochs: passes over the training images; warm-up included.
        batch_size: pictures in a step.
        local_batch_size: pictures of a batch that go through the network together: they are mixed with each other, and
            BatchNorm normalizes over them. The authors' is what one of their GPUs took. A batch has the same local
            batches on one process or on many. Unless given, it is all that a process has of a batch.
        learning_rate: the highest, reached after the warm-up.
        final_learning_rate: where a cosine ends.
        warmup_epochs: may be a fraction of one.
        schedule: after the warm-up, ``"cosine"`` falls along half a cosine, ``"steps"`` to a tenth every 30 epochs.
        algorithm: ``"adamw"``; ``"sgd"`` with momentum 0.9; or ``"muon"`` for the matrices among the weights (see
            ``runs.muon``) and AdamW for all other parameters.
        muon_rate: the highest learning rate of Muon's matrices; it follows the schedule of ``learning_rate``.
        muon_momentum: share of the moving average that stays from step to step.
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
        initialization: see ``training.initialization``.
    """

    TITLE: ClassVar[str] = "a recipe"
    ERROR: ClassVar[type[CourseError]] = RecipeError

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
    muon_rate: float = 0.02
    muon_momentum: float = 0.95
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
    local_batch_size: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas) if isinstance(self.betas, list) else self.betas)
        self._check("name", isinstance(self.name, str), "a text")
        for name in ("image_size", "epochs", "batch_size", "repeats", "validation_size"):
            self._check(
                name, _is_whole(getattr(self, name)) and getattr(self, name) >= 1, "a whole number of at least 1"
            )
        for name in ("width_factor", "learning_rate", "muon_rate", "layer_scale_init"):
            self._check(name, _is_number(getattr(self, name)) and getattr(self, name) > 0, "a number above 0")
        for name in ("final_learning_rate", "weight_decay", "mixup", "cutmix"):
            self._check(name, _is_number(getattr(self, name)) and getattr(self, name) >= 0, "a number of at least 0")
        for name in ("label_smoothing", "stochastic_depth", "erasing", "ema", "muon_momentum"):
            value = getattr(self, name)
            self._check(name, _is_number(value) and 0 <= value < 1, "a share from 0 to below 1")
        for name in ("crop_scale", "evaluation_share"):
            value = getattr(self, name)
            self._check(name, _is_number(value) and 0 < value <= 1, "a share above 0 and up to 1")
        if self.local_batch_size is not None:
            fine = _is_whole(self.local_batch_size) and self.local_batch_size >= 1
            self._check("local_batch_size", fine, "a whole number of at least 1")
        if self.repeats > 1 and (self.mixup or self.cutmix):
            # Copies of one picture must not meet in a local batch, where they would be mixed with each other.
            fine = (self.local_batch_size or self.batch_size) <= self.batch_size // self.repeats
            self._check("local_batch_size", fine, "at most batch_size / repeats where repeated pictures are mixed")
        pair = isinstance(self.betas, tuple) and len(self.betas) == 2
        self._check(
            "betas", pair and all(_is_number(b) and 0 <= b < 1 for b in self.betas), "two numbers from 0 to below 1"
        )
        warmup = self.warmup_epochs
        self._check("warmup_epochs", _is_number(warmup) and 0 <= warmup < self.epochs, "at least 0 and below epochs")
        for name, known in (
            ("initialization", ("truncated_normal", "scaled_normal", "lecun_normal", "fan_out", "fan_in")),
            ("algorithm", ("adamw", "sgd", "muon")),
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
            raise RecipeError(
                f"{name} of the recipe is {getattr(self, name)!r}; it must be {wanted} (train --set {name}=…)."
            )

    @property
    def validation_size(self) -> int:
        """Side of the pictures in evaluation."""
        return self.image_size if self.evaluation_size is None else self.evaluation_size

    def fast(self) -> Self:
        """The same recipe cut down to a few seconds, to see that everything runs: its accuracy means nothing."""
        small = {"image_size": FAST_IMAGE_SIZE, "first_size": None, "evaluation_size": None, "width_factor": FAST_WIDTH}
        local = self.local_batch_size and max(2, 8 * self.local_batch_size // self.batch_size)
        return replace(self, **small, epochs=2, batch_size=8, local_batch_size=local, warmup_epochs=0.5)

    def local_batches(self, rank: int = 0, world_size: int = 1) -> list[range]:
        """Where a rank's local batches are in a batch: every ``world_size``-th of them; every ``world_size``-th picture
        where the recipe does not say how large they are."""
        size = self.local_batch_size
        if size is None:
            return [range(rank, self.batch_size, world_size)]
        starts = range(0, self.batch_size, size)[rank::world_size]
        return [range(start, min(start + size, self.batch_size)) for start in starts]

    def learning_rate_at(self, epoch: float) -> float:
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

    def size_in(self, epoch: int) -> int:
        """Side of the training pictures in an epoch, counted from 0."""
        if self.first_size is None:
            return self.image_size
        grown = min(1.0, epoch / (self.epochs * 2 / 3))
        steps = int(grown * (self.image_size - self.first_size) / SIZE_STEP)
        return self.image_size if grown == 1 else self.first_size + SIZE_STEP * steps

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """The algorithm over a network's parameters; but with SGD, norms, biases and layer scales do not decay."""
        if self.algorithm == "sgd":
            settings = {"lr": self.learning_rate, "momentum": 0.9, "weight_decay": self.weight_decay}
            return torch.optim.SGD(network.parameters(), **settings)
        layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        by_muon = [module.weight for module in layers if self.algorithm == "muon" and takes_matrices(module)]
        weights = [module.weight for module in layers if not _among(module.weight, by_muon)]
        others = [each for each in network.parameters() if not _among(each, by_muon) and not _among(each, weights)]
        groups = [
            {"params": weights, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        if self.algorithm == "adamw":
            on_gpu = all(parameter.is_cuda for parameter in network.parameters())
            return torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas, fused=on_gpu or None)
        factor = self.muon_rate / self.learning_rate  # of the one schedule
        own = {"weight_decay": self.weight_decay, "momentum": self.muon_momentum, "rate_factor": factor}
        groups = [{"params": by_muon, "muon": True, **own}, *({**group, "muon": False} for group in groups)]
        return Muon(groups, lr=self.learning_rate, betas=self.betas)

    def make_loss(self) -> nn.Module:
        """Cross-entropy, which takes class numbers as well as the soft labels of mixed pictures."""
        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)

    def make_average(self, network: nn.Module) -> AveragedModel | None:
        """The moving average of a network's weights as torch's ``AveragedModel``; None where the recipe has none."""
        if not self.ema or network.arch.norm == "batch":
            return None
        return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(self.ema))

    def training_transform(self) -> v2.Transform:
        """A transform of one picture, PIL's or a uint8 tensor [3, H, W], to uint8 [3, image_size, image_size], drawn
        from torch's global generator; ``alterations.finish`` standardizes and erases whole batches."""
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
            ]
        )

    def evaluation_transform(self) -> v2.Transform:
        """A transform of one picture to uint8 [3, validation_size, validation_size]: resized, then its centre."""
        resized = round(self.validation_size / self.evaluation_share)
        return v2.Compose(
            [
                v2.ToImage(),
                v2.Resize(resized, interpolation=self._interpolation, antialias=True),
                v2.CenterCrop(self.validation_size),
            ]
        )

    @property
    def _interpolation(self):
        return InterpolationMode(self.interpolation)

    def make_mixing(self, classes: int) -> Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """A callable ``(pictures, labels) → (pictures, labels)`` that mixes a batch as the recipe says."""
        mixes = []
        if self.mixup:
            mixes.append(v2.MixUp(alpha=self.mixup, num_classes=classes))
        if self.cutmix:
            mixes.append(v2.CutMix(alpha=self.cutmix, num_classes=classes))
        return v2.RandomChoice(mixes) if mixes else lambda pictures, labels: (pictures, labels)


def _among(parameter, parameters):
    return any(parameter is other for other in parameters)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)
