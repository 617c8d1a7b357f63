"""The networks, the road, and what they cost.

An ``Architecture`` is a handful of decisions with names; ``build`` makes the network of any of them; ``STEPS`` is the
road from ResNet-50 to ConvNeXt-T, with the paper's numbers; ``count`` tells what a network costs, layer by layer, and
``compare_times`` how much longer one takes than another on this machine.
"""

from convnext_lessons.model.architecture import LAYERS, RESNET50, Architecture, ArchitectureError
from convnext_lessons.model.cost import COSTS, Cost, count, count_with_fvcore
from convnext_lessons.model.layers import describe_layers
from convnext_lessons.model.network import InputError, LayerNorm2d, LayerScale, ResNet, build, initialize, stem
from convnext_lessons.model.pretrained import (
    FAMILIES,
    WeightsError,
    is_end,
    load_torchvision_weights,
    load_weights,
    save_torchvision_weights,
    save_weights,
)
from convnext_lessons.model.roadmap import (
    LAST_STEP,
    PAPER_STEPS,
    START,
    STEPS,
    SWIN_T,
    TITLES,
    UnknownStep,
    architecture_after,
    paper_after,
    step_of,
)
from convnext_lessons.model.timing import TimeRatio, compare_times, time_layers

__all__ = [
    "COSTS",
    "FAMILIES",
    "LAST_STEP",
    "LAYERS",
    "PAPER_STEPS",
    "RESNET50",
    "START",
    "STEPS",
    "SWIN_T",
    "TITLES",
    "Architecture",
    "ArchitectureError",
    "Cost",
    "InputError",
    "LayerNorm2d",
    "LayerScale",
    "ResNet",
    "TimeRatio",
    "UnknownStep",
    "WeightsError",
    "architecture_after",
    "build",
    "compare_times",
    "count",
    "count_with_fvcore",
    "describe_layers",
    "initialize",
    "is_end",
    "load_torchvision_weights",
    "load_weights",
    "paper_after",
    "save_torchvision_weights",
    "save_weights",
    "stem",
    "step_of",
    "time_layers",
]
