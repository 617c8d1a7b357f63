"""A network's layers in words, read off its modules."""

from dataclasses import dataclass

import torch
from torch import nn
from torchvision.ops import StochasticDepth

from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.network import LayerNorm2d, LayerScale, build


@dataclass(frozen=True)
class Row:
    """One layer of a diagram, read off its module.

    Attributes:
        name: dotted, inside the network.
        kind: ``"spatial"``, ``"pointwise"``, ``"norm"``, ``"activation"``, ``"scale"`` or ``"other"``.
        words: what stands beside it.
        c_in, c_out: channels; None where the module does not tell, as an activation.
        strips: how many groups its channels fall into.
    """

    name: str
    kind: str
    words: str
    c_in: int | None
    c_out: int | None
    strips: int = 1


def describe_layers(module: nn.Module, name: str = "") -> list[Row]:
    """The layers inside a module as ``Row``s, in the order in which they were registered."""
    found = []
    for child_name, child in module.named_modules():
        if next(child.children(), None) is None:
            row = _row(child, ".".join(filter(None, (name, child_name))))
            if row:
                found.append(row)
    return found


def _row(module, name):
    match module:
        case nn.Conv2d():
            kernel, stride = module.kernel_size[0], module.stride[0]
            c_in, c_out, groups = module.in_channels, module.out_channels, module.groups
            channels = f"{c_in}" if c_in == c_out else f"{c_in} → {c_out}"
            kind = "depthwise" if groups == c_in > 1 else "conv" if groups == 1 else f"conv in {groups} groups"
            words = f"{kernel}×{kernel} {kind}, {channels}" + (f", stride {stride}" if stride > 1 else "")
            words += " + bias" if module.bias is not None else ""
            return Row(name, "pointwise" if kernel == 1 else "spatial", words, c_in, c_out, groups)
        case nn.Linear():
            words = f"linear, {module.in_features} → {module.out_features}"
            return Row(name, "pointwise", words, module.in_features, module.out_features)
        case nn.BatchNorm2d():
            return Row(name, "norm", "BatchNorm", module.num_features, module.num_features)
        case LayerNorm2d():
            return Row(name, "norm", "LayerNorm", *module.normalized_shape, *module.normalized_shape)
        case nn.ReLU() | nn.GELU():
            return Row(name, "activation", type(module).__name__, None, None)
        case LayerScale():
            return Row(name, "scale", "layer scale", len(module.factor), len(module.factor))
        case nn.MaxPool2d():
            words = f"{module.kernel_size}×{module.kernel_size} max-pool, stride {module.stride}"
            return Row(name, "other", words, None, None)
        case StochasticDepth():
            return Row(name, "other", f"stochastic depth, {module.p:g}", None, None) if module.p else None
        case nn.Identity() | nn.Flatten():
            return None
    return Row(name, "other", type(module).__name__, None, None)


def build_on_meta(model: Architecture | nn.Module) -> nn.Module:
    """A network to look at: an ``Architecture``'s without weights, or the one that is given."""
    if not isinstance(model, Architecture):
        return model
    with torch.device("meta"):  # a drawing needs no weights
        return build(model)
