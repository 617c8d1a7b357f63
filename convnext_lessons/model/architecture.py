"""What a network of the road is: a handful of decisions with names, and nothing else.

``RESNET50.change(stem="patchify")`` is another architecture; ``network.build`` makes the network of any of them.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

from convnext_lessons.system.changeable import Changeable
from convnext_lessons.system.errors import CourseError

LAYERS = ("first", "second", "third")

# More than fits a machine: numbers beyond are slips of a hand, and would fill its memory.
LARGEST_NUMBER = 10_000
MOST_CHANNELS = 10**6


class ArchitectureError(CourseError, ValueError):
    """A field's value cannot make a network."""


@dataclass(frozen=True)
class Architecture(Changeable):
    """One network between ResNet-50 and ConvNeXt-T. A block has three convolutions, called first, second and third.

    Attributes:
        depths: blocks in each stage; every stage after the first halves the resolution and doubles the width.
        stem: ``"resnet"`` (7×7 stride 2, then max-pool) or ``"patchify"`` (one convolution as large as its stride).
        patch_size: kernel and stride of the patchify stem, in pixels.
        depthwise: whether the block's spatial convolution has one group per channel.
        groups: its groups where it is not depthwise.
        width: channels of the stem, and of the first stage's narrow end; doubles from stage to stage.
        inverted: whether the block is narrow outside and wide inside (an inverted bottleneck) or the other way round.
        expansion: the ratio between its wide and its narrow end.
        depthwise_first: whether the spatial convolution stands first in the block or between the two 1×1.
        kernel_size: of the spatial convolution, odd, in positions.
        activation: ``"relu"`` or ``"gelu"``.
        activate_after: where the block has one: after its ``"first"``, ``"second"`` convolution, after the
            ``"addition"``.
        normalize_after: the convolutions of the block that a norm follows.
        norm: ``"batch"`` (BatchNorm) or ``"layer"`` (LayerNorm over the channels of each position).
        downsampling: ``"block"`` (a stride in the first block of a stage) or ``"separate"`` (a layer of its own between
            stages).
        layer_scale: whether every channel of a block's output has a learnt factor.
    """

    TITLE: ClassVar[str] = "an architecture"
    ERROR: ClassVar[type[CourseError]] = ArchitectureError

    depths: tuple = (3, 4, 6, 3)
    stem: str = "resnet"
    patch_size: int = 4
    depthwise: bool = False
    groups: int = 1
    width: int = 64
    inverted: bool = False
    expansion: int = 4
    depthwise_first: bool = False
    kernel_size: int = 3
    activation: str = "relu"
    activate_after: tuple = ("first", "second", "addition")
    normalize_after: tuple = LAYERS
    norm: str = "batch"
    downsampling: str = "block"
    layer_scale: bool = False

    def __post_init__(self):
        # Lists come from JSON and from learners; tuples keep the dataclass hashable.
        for name in ("depths", "activate_after", "normalize_after"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                raise ArchitectureError(f"{name} is {value!r}; give a tuple, such as {getattr(type(self), name)!r}.")
            object.__setattr__(self, name, tuple(value))
        if not self.depths:
            raise ArchitectureError(
                "depths is empty; give the number of blocks for at least one stage, such as (3, 4, 6, 3)."
            )
        for blocks in self.depths:
            _check_count("depths", blocks)
        for name in ("patch_size", "groups", "width", "expansion", "kernel_size"):
            _check_count(name, getattr(self, name))
        for name in ("depthwise", "inverted", "depthwise_first", "layer_scale"):
            if not isinstance(getattr(self, name), bool):
                raise ArchitectureError(f"{name} is {getattr(self, name)!r}; say True or False.")
        widest = self.width * self.expansion * 2 ** (len(self.depths) - 1)
        if widest > MOST_CHANNELS:
            raise ArchitectureError(
                f"The last of {len(self.depths)} stages has {widest:,} channels; choose a smaller width or expansion, "
                "or fewer stages."
            )
        if self.kernel_size % 2 == 0:
            raise ArchitectureError(
                f"kernel_size is {self.kernel_size}; only an odd kernel has a centre, so say {self.kernel_size + 1}."
            )
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            for choice in value if isinstance(value, tuple) else (value,):
                if choice not in known:
                    raise ArchitectureError(f"{name} is {value!r}; known are {', '.join(map(repr, known))}.")
        if self._spatial % self.groups:
            raise ArchitectureError(
                f"groups is {self.groups}; say a divisor of the {self._spatial} channels of the first stage's spatial "
                "convolution."
            )

    def stream(self, stage: int) -> int:
        """Channels of a stage's residual stream; the first stage is 0."""
        return self.width * 2**stage * (1 if self.inverted else self.expansion)

    def inside(self, stage: int) -> int:
        """Channels inside a stage's blocks, between the two 1×1."""
        return self.width * 2**stage * (self.expansion if self.inverted else 1)

    def thinner(self, factor: float) -> Self:
        """A copy for short runs with ``factor`` times the channels everywhere, such as 1/8; groups shrink with them if
        they must.

        Raises:
            ArchitectureError: no whole number of channels is left.
        """
        width = self.width * factor if isinstance(factor, int | float) else 0
        if not (width >= 1 and width % 1 == 0):  # which neither nan nor infinity is
            raise ArchitectureError(
                f"{self.width} channels times {factor!r} is no number of channels; choose a factor that leaves a whole "
                "one."
            )
        thin = replace(self, width=int(width), groups=1)
        return thin.change(groups=math.gcd(self.groups, thin._spatial))

    @property
    def _spatial(self):
        # The fewest channels that a spatial convolution of this network has.
        return self.width if self.depthwise_first else self.inside(0)

    def differences(self, other: "Architecture") -> dict[str, tuple]:
        """Fields in which two architectures differ: ``{name: (mine, theirs)}``."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


_CHOICES = {
    "stem": ("resnet", "patchify"),
    "activation": ("relu", "gelu"),
    "activate_after": ("first", "second", "addition"),
    "normalize_after": LAYERS,
    "norm": ("batch", "layer"),
    "downsampling": ("block", "separate"),
}


def _check_count(name, value):
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_NUMBER:
        raise ArchitectureError(f"{name} is {value!r}; say a whole number from 1 to {LARGEST_NUMBER:,}.")


RESNET50 = Architecture()
