"""Is a learner's whole network the published one? Its weights are loaded, and every layer's output is compared; the
first layer that differs is named."""

import copy
from typing import Any

import torch
from torch import nn

from convnext_lessons.classroom.exercises import TO_DO
from convnext_lessons.system.errors import in_a_line

TOLERANCE = 1e-9  # of the largest number that a layer puts out, in float64


def check_layers(yours: nn.Module | None, theirs: nn.Module, pictures: torch.Tensor) -> str:
    """Load another network's weights into the learner's, and compare what every layer gets and gives, and the outputs.

    Weights go over in the order in which the layers are done with their work, so that names play no part; a linear
    layer is as good as a 1×1 convolution, and channels may come first or last. Both networks are compared in evaluation
    mode, as copies in float64.

    Args:
        yours: the learner's network, which keeps the weights if they fit; None where the exercise still waits for it.
        theirs: such as torchvision's ``convnext_tiny()``.
        pictures: [N, 3, H, W].

    Returns:
        One sentence that begins with "Still to do", "Not yet" or "Well done".
    """
    if yours is None:
        return TO_DO
    if not isinstance(yours, nn.Module):
        return f"Not yet: this is of type {type(yours).__name__}; make it a network, such as ConvNeXt()."
    whose = "torchvision" if type(theirs).__module__.startswith("torchvision.") else "the other network"
    try:
        mine, others = _parameters(yours, pictures), _parameters(theirs, pictures)
        fault = _load(mine, others, whose)
        if fault is None:
            # A layer's counterpart is the one that holds the same weights.
            partner = {name.rpartition(".")[0]: own.rpartition(".")[0] for own, name in zip(mine, others, strict=True)}
            fault, compared = _compare(yours, theirs, pictures, partner, whose)
    except (Exception, SystemExit) as error:  # whatever a half-finished network raises is part of the answer
        fault = f"it does not run ({in_a_line(error)})"
    if fault:
        return f"Not yet: {fault}."
    return f"Well done: with {whose}'s weights {compared} layers, one after the other, and all outputs are equal."


def _load(mine, others, whose):
    """Copy parameters; where one does not fit, a sentence about the first, and nothing is copied."""
    for number, ((my_name, own), (name, given)) in enumerate(zip(mine.items(), others.items(), strict=False), start=1):
        if _without_ones(own) != _without_ones(given):
            return (
                f"tensor {number} of the weights is {my_name} {list(own.shape)}, where {whose} has {name} "
                f"{list(given.shape)}; is a layer missing, one too many, of another size, or never called"
            )
    if len(mine) != len(others):
        more = list(max(mine, others, key=len))[min(len(mine), len(others))]
        return f"it has {len(mine)} tensors of weights, {whose} has {len(others)}; {more} has no counterpart"
    with torch.no_grad():
        for own, given in zip(mine.values(), others.values(), strict=True):
            own.copy_(given.reshape(own.shape))
    return None


def _compare(yours, theirs, pictures, partner, whose):
    """(a sentence about the first difference or None, how many layers were compared)"""
    mine, my_outputs = _run(yours, pictures)
    others, outputs = _run(theirs, pictures)
    before, compared = None, 0
    for name, (given, put_out) in others.items():
        own = partner.get(name)
        if own not in mine:
            continue  # not called as a module of its own, such as a norm inside a larger one
        my_name = f"{own} ({type(yours.get_submodule(own)).__name__})"
        got, gave = mine[own]
        if not _same(got, given):
            return f"{my_name} gets another input than {whose}'s {name}; {_place(before)}", compared
        if not _same(gave, put_out):
            other = in_a_line(theirs.get_submodule(name))
            return f"{my_name} is the first layer that differs: from an equal input it makes another output than " + (
                f"{whose}'s {name}, which is {other}; yours is {in_a_line(yours.get_submodule(own))}"
            ), compared
        before, compared = my_name, compared + 1
    if not _same(my_outputs, outputs):
        return f"the outputs differ; {_place(before)}", compared
    return None, compared


def _place(before):
    if before is None:
        return "look at what your network does with the pictures first"
    return f"all is equal up to {before}, so look at what comes behind it: activation, scale, addition, order"


def _run(network, pictures):
    """What goes in and out of each layer, by name and in the order of the calls; and the network's outputs."""
    network = copy.deepcopy(network).double().eval()
    seen = {}

    def keep(name, inputs, output):
        # Copies, since a later layer may work in place.
        seen.setdefault(name, (inputs[0].clone(), output.clone()))

    _hook(network, nn.Conv2d | nn.Linear | nn.LayerNorm, keep)
    with torch.no_grad():
        return seen, network(pictures.double())


def _hook(network, kinds, keep):
    """Call ``keep(name, inputs, output)`` after every call of a module of such kinds."""

    def hook(name):
        def after(module, inputs, output):
            keep(name, inputs, output)  # whatever a hook returns would replace the output

        return after

    for name, module in network.named_modules():
        if isinstance(module, kinds):
            module.register_forward_hook(hook(name))


def _same(mine: Any, theirs: torch.Tensor) -> bool:
    """Whether two tensors hold the same numbers, channels first or last."""
    if not isinstance(mine, torch.Tensor) or mine.numel() != theirs.numel():
        return False
    mine, theirs = mine.squeeze(), theirs.squeeze()
    ways = [mine, *(mine.movedim(*ends) for ends in ((-1, -3), (-3, -1)) if mine.ndim >= 3)]
    close = TOLERANCE * theirs.abs().max()
    return any(way.shape == theirs.shape and bool(((way - theirs).abs() <= close).all()) for way in ways)


def _parameters(network, pictures):
    """{name: parameter}, in the order in which the modules that hold them are done: a block's own come after those of
    its layers. What is never called as a module, such as weights that are used by themselves, counts to the one around
    it."""
    done = {}
    copied = copy.deepcopy(network).double().eval()
    _hook(copied, nn.Module, lambda name, inputs, output: done.setdefault(name, len(done)))
    with torch.no_grad():
        copied(pictures.double())

    def turn(name):
        while (name := name.rpartition(".")[0]) not in done:
            pass
        return done[name]

    return dict(sorted(network.named_parameters(), key=lambda item: turn(item[0])))


def _without_ones(tensor):
    return [length for length in tensor.shape if length != 1]
