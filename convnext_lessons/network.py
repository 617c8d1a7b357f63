"""The shared ResNet module: every network from ResNet-50 to ConvNeXt-T, out of one block and one loop over the stages.

What the paper leaves open is decided here, the same way at every step: the stem and every shortcut convolution keep a
norm; the stem ends in an activation for as long as the additions do; a convolution has a bias unless a BatchNorm
follows.
"""

import re

import torch
from torch import nn
from torchvision.ops import StochasticDepth

from convnext_lessons.architecture import LAYERS
from convnext_lessons.machine import CourseError


class InputError(CourseError, ValueError):
    """A batch of pictures that the network cannot take."""


class WeightsError(CourseError, ValueError):
    """Weights that do not belong to the network."""


class LayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of [N, C, H, W], at each position by itself."""

    def __init__(self, channels):
        super().__init__(channels, eps=1e-6)

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Scale(nn.Module):
    """Layer scale: one learnt factor for each channel."""

    def __init__(self, channels, init):
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels, 1, 1), init))

    def forward(self, x):
        return x * self.factor


def norm(arch, channels):
    return LayerNorm(channels) if arch.norm == "layer" else nn.BatchNorm2d(channels)


def activation(arch):
    return nn.GELU() if arch.activation == "gelu" else nn.ReLU(inplace=True)


def conv(c_in, c_out, kernel, stride=1, groups=1, bias=True):
    return nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)


class Block(nn.Module):
    """[N, c_in, H, W] → [N, c_out, H/stride, W/stride]: three convolutions beside a shortcut."""

    def __init__(self, arch, c_in, c_out, stride, drop_rate, layer_scale_init):
        super().__init__()
        inside = c_out * arch.expansion if arch.inverted else c_out // arch.expansion
        at = c_in if arch.depthwise_first else inside  # the channels that the spatial convolution works on
        spatial = (at, at, arch.kernel_size, stride, at if arch.depthwise else arch.groups)
        enter, leave = (c_in, inside, 1), (inside, c_out, 1)
        plan = (spatial, enter, leave) if arch.depthwise_first else (enter, spatial, leave)

        layers = []
        for place, shape in zip(LAYERS, plan, strict=True):
            normalized = place in arch.normalize_after
            layers.append(conv(*shape, bias=not normalized or arch.norm == "layer"))
            if normalized:
                layers.append(norm(arch, shape[1]))
            if place in arch.activate_after:
                layers.append(activation(arch))
        if arch.layer_scale:
            layers.append(Scale(c_out, layer_scale_init))
        layers.append(StochasticDepth(drop_rate, mode="row"))

        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Identity()
        if stride > 1 or c_in != c_out:
            self.shortcut = nn.Sequential(conv(c_in, c_out, 1, stride, bias=arch.norm == "layer"), norm(arch, c_out))
        self.after_addition = activation(arch) if "addition" in arch.activate_after else nn.Identity()

    def forward(self, x):
        return self.after_addition(self.shortcut(x) + self.residual(x))


class ResNet(nn.Module):
    """[N, 3, H, W] → [N, num_classes]: stem, stages of blocks, head."""

    def __init__(self, arch, num_classes, stochastic_depth, layer_scale_init):
        super().__init__()
        self.arch = arch
        self.smallest_input = (arch.patch_size if arch.stem == "patchify" else 4) * 2 ** (len(arch.depths) - 1)
        separate = arch.downsampling == "separate"
        blocks_in_all = sum(arch.depths)
        drop_rates = (stochastic_depth * index / max(1, blocks_in_all - 1) for index in range(blocks_in_all))

        channels = arch.width
        self.stem = stem(arch)
        self.transitions = nn.ModuleList()
        self.stages = nn.ModuleList()
        for stage, depth in enumerate(arch.depths):
            width = arch.stream(stage)
            stride = 1 if stage == 0 else 2
            transition = nn.Identity()
            if separate and stride == 2:
                transition = nn.Sequential(norm(arch, channels), nn.Conv2d(channels, width, kernel_size=2, stride=2))
                channels, stride = width, 1
            blocks = []
            for _ in range(depth):
                blocks.append(Block(arch, channels, width, stride, next(drop_rates), layer_scale_init))
                channels, stride = width, 1
            self.transitions.append(transition)
            self.stages.append(nn.Sequential(*blocks))
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            norm(arch, channels) if separate else nn.Identity(),
            nn.Flatten(),
            nn.Linear(channels, num_classes),
        )

    def forward(self, x):
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < self.smallest_input:
            raise InputError(
                f"The network got {list(x.shape)}; it takes pictures as [N, 3, H, W] with H and W of at least "
                f"{self.smallest_input} pixels."
            )
        x = self.stem(x)
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            x = stage(transition(x))
        return self.head(x)


def stem(arch):
    """[N, 3, H, W] → [N, width, H/4, W/4], or H/patch_size for a patchify stem."""
    bias = arch.norm == "layer"
    if arch.stem == "patchify":
        layers = [nn.Conv2d(3, arch.width, arch.patch_size, stride=arch.patch_size, bias=bias), norm(arch, arch.width)]
    else:
        layers = [conv(3, arch.width, 7, stride=2, bias=bias), norm(arch, arch.width)]
    if "addition" in arch.activate_after:
        layers.append(activation(arch))
    if arch.stem == "resnet":
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return nn.Sequential(*layers)


def build(architecture, num_classes=1000, stochastic_depth=0.0, layer_scale_init=1e-6):
    """The network of an ``Architecture``, with fresh weights.

    Args:
        num_classes: length of the output.
        stochastic_depth: drop rate of the last block; it grows linearly from 0 at the first.
        layer_scale_init: first value of the layer scale, where the architecture has one.

    Sources: ResNet, He et al. 2015 (the stride on the 3×3, as in torchvision); ConvNeXt, Liu et al. 2022, arXiv
        2201.03545.
    """
    network = ResNet(architecture, num_classes, stochastic_depth, layer_scale_init)
    initialize(network)
    return network


def initialize(network, scheme="truncated_normal"):
    """Draw new convolution and linear weights; their biases become 0.

    ``"truncated_normal"`` has a standard deviation of 0.02 everywhere, as in the code of the paper; ``"fan_out"`` keeps
    the
    variance of the gradients, as in torchvision's ResNet; ``"fan_in"`` that of the activations.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if scheme == "truncated_normal":
                nn.init.trunc_normal_(module.weight, std=0.02)
            else:
                nn.init.kaiming_normal_(module.weight, mode=scheme, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def load_torchvision_weights(network, state_dict):
    """Copy the weights of torchvision's ``resnet50`` or ``convnext_tiny`` (or a relative of other depth) into the
    road's end of the same shape.

    Raises:
        WeightsError: the weights are of another network.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        if not isinstance(tensor, torch.Tensor):
            continue  # a checkpoint with more than weights in it; the comparison below refuses it
        ours = name
        for pattern, replacement in _RESNET_NAMES if "fc.weight" in state_dict else _CONVNEXT_NAMES:
            ours, found = re.subn(pattern, replacement, name)
            if found:
                break
        # torchvision's ConvNeXt block has linear layers where ours has 1×1 convolutions.
        renamed[ours] = tensor[:, :, None, None] if tensor.ndim == 2 and "residual" in ours else tensor
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    given = {name: tensor.shape for name, tensor in renamed.items()}
    if given != expected:
        wrong = sorted(name for name in given.keys() | expected.keys() if given.get(name) != expected.get(name))
        raise WeightsError(
            f"These weights do not fit the network: {len(wrong)} of {len(expected)} tensors differ, the first is "
            f"{wrong[0]}; "
            "step 0 takes torchvision's resnet50, step 11 its convnext_tiny, each with the same number of classes."
        )
    network.load_state_dict(renamed)


def _resnet_place(match):
    stage, block, kind, layer, rest = match.groups()
    return f"stages.{int(stage) - 1}.{block}.residual.{3 * (int(layer) - 1) + (kind == 'bn')}.{rest}"


def _convnext_stage(match):
    # torchvision counts stem, stage, transition, stage, transition … in one list.
    index, block, rest = match.groups()
    if int(index) % 2 == 0:
        return f"transitions.{int(index) // 2}.{block}.{rest}"
    layer, _, what = rest.removeprefix("block.").partition(".")
    place = {"0": "0.", "2": "1.", "3": "2.", "5": "4.", "layer_scale": "5.factor"}.get(layer)
    if place is None:
        return match[0]
    return f"stages.{int(index) // 2}.{block}.residual.{place}{what}"


_RESNET_NAMES = (
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^fc\.", "head.3."),
    (r"^layer(\d)\.(\d+)\.(conv|bn)(\d)\.(.+)$", _resnet_place),
    (r"^layer(\d)\.(\d+)\.downsample\.", lambda match: f"stages.{int(match[1]) - 1}.{match[2]}.shortcut."),
)
_CONVNEXT_NAMES = (
    (r"^features\.0\.", "stem."),
    (r"^classifier\.0\.", "head.1."),
    (r"^classifier\.2\.", "head.3."),
    (r"^features\.(\d+)\.(\d+)\.(.+)$", _convnext_stage),
)
