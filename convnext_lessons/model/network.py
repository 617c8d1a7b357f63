"""The shared ResNet module: every network from ResNet-50 to ConvNeXt-T, out of one block and one loop over the stages.

What the paper leaves open is decided here, the same way at every step: the stem and every shortcut convolution keep a
norm; the stem ends in an activation for as long as the additions do; a convolution has a bias unless a BatchNorm
follows.
"""

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from convnext_lessons.model.architecture import LAYERS, Architecture, ArchitectureError
from convnext_lessons.system.errors import CourseError


class InputError(CourseError, ValueError):
    """A batch of pictures that the network cannot take."""


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of [N, C, H, W], at each position by itself; in mixed precision its output keeps the
    number format of its input."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._normalize(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _normalize(self, x):
        if x.dtype == self.weight.dtype:
            return super().forward(x)
        # Autocast would write float32, twice the bytes, for a 1×1 convolution that takes x's format again. Means and
        # variances are computed in float32 either way.
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


class LayerScale(nn.Module):
    """Layer scale: one learnt factor for each channel. In mixed precision it brings the stream back to float32: at
    bfloat16, a stream near 1 would not change by what a factor of 1e-6 leaves."""

    def __init__(self, channels: int, init: float):
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels, 1, 1), init))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def norm(arch: Architecture, channels: int) -> nn.Module:
    return LayerNorm2d(channels) if arch.norm == "layer" else nn.BatchNorm2d(channels)


def activation(arch: Architecture) -> nn.Module:
    return nn.GELU() if arch.activation == "gelu" else nn.ReLU(inplace=True)


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)


class Block(nn.Module):
    """[N, c_in, H, W] → [N, c_out, H/stride, W/stride]: three convolutions beside a shortcut."""

    def __init__(
        self, arch: Architecture, c_in: int, c_out: int, stride: int, drop_rate: float, layer_scale_init: float
    ):
        super().__init__()
        inside = c_out * arch.expansion if arch.inverted else c_out // arch.expansion
        # Each convolution as the arguments of ``conv``: channels in and out, kernel, stride, groups.
        channels = c_in if arch.depthwise_first else inside
        spatial = (channels, channels, arch.kernel_size, stride, channels if arch.depthwise else arch.groups)
        enter, leave = (c_in, inside, 1), (inside, c_out, 1)
        order = (spatial, enter, leave) if arch.depthwise_first else (enter, spatial, leave)

        layers = []
        for position, arguments in zip(LAYERS, order, strict=True):
            normalized = position in arch.normalize_after
            layers.append(conv(*arguments, bias=not normalized or arch.norm == "layer"))
            if normalized:
                layers.append(norm(arch, arguments[1]))
            if position in arch.activate_after:
                layers.append(activation(arch))
        if arch.layer_scale:
            layers.append(LayerScale(c_out, layer_scale_init))
        layers.append(StochasticDepth(drop_rate, mode="row"))

        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Identity()
        if stride > 1 or c_in != c_out:
            self.shortcut = nn.Sequential(conv(c_in, c_out, 1, stride, bias=arch.norm == "layer"), norm(arch, c_out))
        self.after_addition = activation(arch) if "addition" in arch.activate_after else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.residual(x)
        y += self.shortcut(x)  # in place: one tensor less to write and to read
        return self.after_addition(y)


class ResNet(nn.Module):
    """[N, 3, H, W] → [N, num_classes]: stem, stages of blocks, head.

    ``transitions[i]`` stands before stage i: nothing, or the separate downsampling layer of ConvNeXt (others call the
    list ``downsample_layers``).

    Raises:
        InputError: in ``forward``, the pictures are too small or no pictures at all.
    """

    def __init__(self, arch: Architecture, num_classes: int, stochastic_depth: float, layer_scale_init: float):
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < self.smallest_input:
            raise InputError(
                f"The network got {list(x.shape)}; it takes pictures as [N, 3, H, W] with H and W of at least "
                f"{self.smallest_input} pixels."
            )
        x = self.stem(x)
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            x = stage(transition(x))
        return self.head(x)


def stem(arch: Architecture) -> nn.Sequential:
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


def build(
    architecture: Architecture,
    num_classes: int = 1000,
    stochastic_depth: float = 0.0,
    layer_scale_init: float = 1e-6,
) -> ResNet:
    """The network of an ``Architecture``, with fresh weights.

    Args:
        num_classes: length of the output.
        stochastic_depth: drop rate of the last block; it grows linearly from 0 at the first.
        layer_scale_init: first value of the layer scale, where the architecture has one.

    Raises:
        ArchitectureError: it is no architecture, or there are no classes.

    Sources: ResNet, He et al. 2015 (the stride on the 3×3, as in torchvision); ConvNeXt, Liu et al. 2022,
        arXiv 2201.03545.
    """
    if not isinstance(architecture, Architecture):
        raise ArchitectureError(f"{architecture!r} is no architecture; give one, such as architecture_after(11).")
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise ArchitectureError(f"num_classes is {num_classes!r}; say a whole number of at least 1.")
    network = ResNet(architecture, num_classes, stochastic_depth, layer_scale_init)
    initialize(network)
    return network


def initialize(network: nn.Module, scheme: str = "truncated_normal") -> None:
    """Draw new convolution and linear weights; their biases become 0.

    ``"truncated_normal"`` has a standard deviation of 0.02 everywhere, as in the code of the paper; ``"fan_out"`` keeps
    the variance of the gradients, as in torchvision's ResNet; ``"fan_in"`` that of the activations.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if scheme == "truncated_normal":
                nn.init.trunc_normal_(module.weight, std=0.02)
            else:
                nn.init.kaiming_normal_(module.weight, mode=scheme, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
