"""Other people's names for the same weights: torchvision's, timm's and the authors', for the two ends of the road."""

from collections.abc import Mapping

import torch

from convnext_lessons.model.network import ResNet
from convnext_lessons.model.roadmap import PAPER_STEPS, architecture_after
from convnext_lessons.system.errors import CourseError

_ENDS = (architecture_after(0), architecture_after(PAPER_STEPS[-1]))  # ResNet-50 and ConvNeXt-T

# How each family names the parts of its ConvNeXt: stem, transition and block before the layer's own name, then the
# layers of a block by their position in ours, the layer scale, and the two layers of the head.
_CONVNEXT = {
    "torchvision": {
        "stem": "features.0.{layer}",
        "transition": "features.{before_stage}.{layer}",
        "block": "features.{in_stage}.{block}",
        "layers": {"0": "block.0", "1": "block.2", "2": "block.3", "4": "block.5"},
        "scale": "layer_scale",
        "head": {"1": "classifier.0", "3": "classifier.2"},
    },
    "timm": {
        "stem": "stem.{layer}",
        "transition": "stages.{stage}.downsample.{layer}",
        "block": "stages.{stage}.blocks.{block}",
        "layers": {"0": "conv_dw", "1": "norm", "2": "mlp.fc1", "4": "mlp.fc2"},
        "scale": "gamma",
        "head": {"1": "head.norm", "3": "head.fc"},
    },
    "authors": {
        "stem": "downsample_layers.0.{layer}",
        "transition": "downsample_layers.{stage}.{layer}",
        "block": "stages.{stage}.{block}",
        "layers": {"0": "dwconv", "1": "norm", "2": "pwconv1", "4": "pwconv2"},
        "scale": "gamma",
        "head": {"1": "norm", "3": "head"},
    },
}
FAMILIES = tuple(_CONVNEXT)


class WeightsError(CourseError, ValueError):
    """Weights that do not belong to the network."""


def load_weights(network: ResNet, state_dict: Mapping[str, torch.Tensor], new_head: bool = False) -> None:
    """Copy weights into a network: under the course's own names into any; for an end of the road, at any depth and
    width, also under torchvision's, timm's or the authors' names.

    Args:
        state_dict: names and tensors, or a checkpoint that holds them as ``"model"`` or ``"state_dict"``.
        new_head: leave the last layer as it is, such as for other classes.

    Raises:
        WeightsError: the weights are of another network; it is then as it was.
    """
    state = weights_in(state_dict)
    own = network.state_dict()
    all_names = (_names(network, family) for family in (None, *FAMILIES))
    names = max(all_names, key=lambda names: len(names.keys() & state.keys()))
    renamed = {names.get(name, name): tensor for name, tensor in state.items()}
    # Others have linear layers where ours has 1×1 convolutions, and layer scales without the two axes of a map.
    for name in renamed.keys() & own.keys():
        if _without_ones(renamed[name]) == _without_ones(own[name]):
            renamed[name] = renamed[name].reshape(own[name].shape)
    if new_head:
        last = f"head.{len(network.head) - 1}."
        renamed |= {name: tensor for name, tensor in own.items() if name.startswith(last)}
    _check_shapes(renamed, own)
    network.load_state_dict(renamed)


def load_torchvision_weights(network: ResNet, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Copy the weights of torchvision's ``resnet50`` or ``convnext_tiny`` (or a relative of other depth) into the end
    of the road with the same shape.

    Raises:
        WeightsError: the weights are of another network.
    """
    load_weights(network, state_dict)


def save_weights(network: ResNet, family: str = "torchvision") -> dict[str, torch.Tensor]:
    """The weights of an end of the road under the names of a family: torchvision's, timm's or the authors'.

    Raises:
        WeightsError: the network is no end of the road (at any depth and width), so that nobody has names for its
            layers; or there is no such family.
    """
    if family not in FAMILIES:
        raise WeightsError(f"There are no names '{family}' for weights; there are {', '.join(FAMILIES)}.")
    if not is_end(network):
        raise WeightsError(f"{family} has no network like this one; save step 0 or step {PAPER_STEPS[-1]}.")
    named = {}
    for theirs, name in _names(network, family).items():
        tensor = network.state_dict()[name]
        if network.arch.depthwise_first and tensor.shape[2:] == (1, 1):
            tensor = tensor[:, :, 0, 0]  # a ConvNeXt's linear layer
        if name.endswith("factor") and family != "torchvision":
            tensor = tensor.flatten()
        named[theirs] = tensor
    return named


def save_torchvision_weights(network: ResNet) -> dict[str, torch.Tensor]:
    """The weights of an end of the road under torchvision's names, for its ``resnet50`` or ``convnext_tiny``.

    Raises:
        WeightsError: the network is no end of the road (at any depth and width): torchvision has no names for its
            layers.
    """
    return save_weights(network, "torchvision")


def is_end(network: ResNet) -> bool:
    """Whether a network is an end of the road at any depth and width, so that others have names for its layers."""
    return any(network.arch == _end_like(network, end) for end in _ENDS)


def _end_like(network, end):
    return end.change(depths=network.arch.depths, width=network.arch.width)


def weights_in(content: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, or of the checkpoint around one, as ``load_weights`` looks for them.

    Raises:
        WeightsError: there are none.
    """
    if isinstance(content, Mapping):
        for key in ("model", "state_dict"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
        tensors = {name: tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}
        if tensors:
            return tensors
    raise WeightsError("There are no weights in that; they are names with a tensor each, as state_dict() gives them.")


def _check_shapes(given, own):
    wrong = [
        name
        for name in sorted(given.keys() | own.keys(), key=str)
        if name not in given or name not in own or given[name].shape != own[name].shape
    ]
    if wrong:
        raise WeightsError(
            f"These weights do not fit the network: {len(wrong)} of {len(own)} tensors differ, the first is "
            f"{wrong[0]}; step 0 takes a resnet50, step {PAPER_STEPS[-1]} a convnext_tiny, each with the same number "
            "of classes."
        )


def _without_ones(tensor):
    return [length for length in tensor.shape if length != 1]


def _names(network, family):
    """{a family's name: ours} for all tensors of a network; None stands for our own names, and what a family has no
    name for is left under ours."""
    name_of = _convnext_name if network.arch.downsampling == "separate" else _resnet_name
    names = {}
    for name in network.state_dict():
        part, _, rest = name.partition(".")
        names[(family and name_of(part, rest, family)) or name] = name
    return names


def _resnet_name(part, rest, _):
    """The name in a ResNet, which torchvision and timm share."""
    if part in ("stem", "head"):
        index, kind = rest.split(".", 1)
        module = {("stem", "0"): "conv1", ("stem", "1"): "bn1", ("head", "3"): "fc"}.get((part, index))
        return module and f"{module}.{kind}"
    stage, block, path, index, kind = rest.split(".", 4)
    if path == "shortcut":
        return f"layer{int(stage) + 1}.{block}.downsample.{index}.{kind}"
    number, position = divmod(int(index), 3)  # convolution, norm and activation take turns
    return f"layer{int(stage) + 1}.{block}.{('conv', 'bn')[position]}{number + 1}.{kind}" if position < 2 else None


def _convnext_name(part, rest, family):
    naming = _CONVNEXT[family]
    if part == "stem":
        return naming["stem"].format(layer=rest)
    if part == "head":
        index, kind = rest.split(".", 1)
        return index in naming["head"] and f"{naming['head'][index]}.{kind}"
    stage, rest = rest.split(".", 1)
    # torchvision counts stem, stage, transition, stage, transition … in one list.
    places = {"stage": stage, "before_stage": 2 * int(stage), "in_stage": 2 * int(stage) + 1}
    if part == "transitions":
        return naming["transition"].format(layer=rest, **places)
    block, path, index, kind = rest.split(".", 3)
    if path != "residual":
        return None
    layer = naming["scale"] if kind == "factor" else f"{naming['layers'].get(index)}.{kind}"
    return f"{naming['block'].format(block=block, **places)}.{layer}"
