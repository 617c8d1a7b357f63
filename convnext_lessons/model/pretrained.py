"""Other people's names for the same weights: torchvision's, for the two ends of the road."""

from collections.abc import Mapping

import torch

from convnext_lessons.model.network import ResNet
from convnext_lessons.model.roadmap import STEPS, architecture_after
from convnext_lessons.system.errors import CourseError

_ENDS = (architecture_after(0), architecture_after(STEPS[-1].number))


class WeightsError(CourseError, ValueError):
    """Weights that do not belong to the network."""


def load_torchvision_weights(network: ResNet, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Copy the weights of torchvision's ``resnet50`` or ``convnext_tiny`` (or a relative of other depth) into the end
    of the road with the same shape.

    Raises:
        WeightsError: the weights are of another network.
    """
    own = network.state_dict()
    names = {_torchvision_name(name, network): name for name in own}
    renamed = {}
    for name, tensor in state_dict.items():
        if not isinstance(tensor, torch.Tensor):
            continue  # a checkpoint with more than weights in it; the comparison below refuses it
        name = names.get(name, name)
        # torchvision's ConvNeXt block has linear layers where ours has 1×1 convolutions.
        is_linear = tensor.ndim == 2 and name in own and own[name].ndim == 4
        renamed[name] = tensor[:, :, None, None] if is_linear else tensor
    expected = {name: tensor.shape for name, tensor in own.items()}
    given = {name: tensor.shape for name, tensor in renamed.items()}
    if given != expected:
        wrong = sorted(name for name in given.keys() | expected.keys() if given.get(name) != expected.get(name))
        raise WeightsError(
            f"These weights do not fit the network: {len(wrong)} of {len(expected)} tensors differ, the first is "
            f"{wrong[0]}; step 0 takes torchvision's resnet50, step 11 its convnext_tiny, each with the same number of "
            "classes."
        )
    network.load_state_dict(renamed)


def save_torchvision_weights(network: ResNet) -> dict[str, torch.Tensor]:
    """The weights of an end of the road under torchvision's names, for its ``resnet50`` or ``convnext_tiny``.

    Raises:
        WeightsError: the network is no end of the road (at any depth and width): torchvision has no names for its
            layers.
    """
    arch = network.arch
    if not any(arch.change(depths=end.depths, width=end.width) == end for end in _ENDS):
        raise WeightsError("torchvision has no network like this one; save step 0 or step 11.")
    renamed = {}
    for name, tensor in network.state_dict().items():
        theirs = _torchvision_name(name, network)
        # torchvision's ConvNeXt block has linear layers where ours has 1×1 convolutions.
        is_linear = ".block." in theirs and tensor.shape[2:] == (1, 1)
        renamed[theirs] = tensor[:, :, 0, 0] if is_linear else tensor
    return renamed


def _torchvision_name(name, network):
    """torchvision's name of one of our tensors; our own where it has none."""
    part, _, rest = name.partition(".")
    name_of = _convnext_name if network.arch.downsampling == "separate" else _resnet_name
    return name_of(part, rest) or name


def _resnet_name(part, rest):
    if part in ("stem", "head"):
        index, kind = rest.split(".", 1)
        module = {("stem", "0"): "conv1", ("stem", "1"): "bn1", ("head", "3"): "fc"}.get((part, index))
        return module and f"{module}.{kind}"
    stage, block, path, index, kind = rest.split(".", 4)
    if path == "shortcut":
        return f"layer{int(stage) + 1}.{block}.downsample.{index}.{kind}"
    number, position = divmod(int(index), 3)  # convolution, norm and activation take turns
    return f"layer{int(stage) + 1}.{block}.{('conv', 'bn')[position]}{number + 1}.{kind}" if position < 2 else None


# torchvision's positions in a block: depthwise, norm, two linear layers around the activation, and the layer scale.
_CONVNEXT_BLOCK = {"0": "block.0", "1": "block.2", "2": "block.3", "4": "block.5"}


def _convnext_name(part, rest):
    if part == "stem":
        return f"features.0.{rest}"
    if part == "head":
        index, kind = rest.split(".", 1)
        return {"1": f"classifier.0.{kind}", "3": f"classifier.2.{kind}"}.get(index)
    if part == "transitions":
        # torchvision counts stem, stage, transition, stage, transition … in one list.
        stage, layer = rest.split(".", 1)
        return f"features.{2 * int(stage)}.{layer}"
    stage, block, path, index, kind = rest.split(".", 4)
    if path != "residual":
        return None
    layer = "layer_scale" if kind == "factor" else f"{_CONVNEXT_BLOCK.get(index)}.{kind}"
    return f"features.{2 * int(stage) + 1}.{block}.{layer}"
