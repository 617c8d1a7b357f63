"""Checks for what a learner writes: is a module's output the same, is a value right? If not, what is different."""

import contextlib
import copy
from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import Any

import torch
from torch import nn
from torchvision.ops import StochasticDepth

# What tells two layers of a kind apart, in the order in which a mistake is best understood.
_FIELDS = (
    "in_channels",
    "out_channels",
    "in_features",
    "out_features",
    "kernel_size",
    "stride",
    "dilation",
    "padding",
    "padding_mode",
    "groups",
    "num_features",
    "normalized_shape",
    "eps",
    "num_groups",
    "approximate",
)


TO_DO = "Still to do: replace None."


def check(yours: nn.Module | None, expected: nn.Module, shape: Sequence[int]) -> str:
    """Whether a module computes what the course's does: weights copied over, in training mode, on random input.

    The copies are taken in float64, so that an accuracy of 1e-9 means something; how the module is written is its
    author's affair, and only where it computes something else are its layers compared, to say what is wrong.

    Args:
        yours: the learner's module; None where the exercise still waits for it.
        expected: the shared module's.
        shape: of the input, such as ``[2, 96, 14, 14]``.

    Returns:
        One sentence that begins with "Still to do", "Not yet" or "Well done".
    """
    if yours is None:
        return TO_DO
    if not isinstance(yours, nn.Module):
        return f"Not yet: this is of type {type(yours).__name__}; make it an nn.Module, such as nn.Sequential(…)."
    torch.manual_seed(0)
    pictures = torch.randn(*shape, dtype=torch.float64)
    expected = _randomize(_copy(expected))
    wanted = expected(pictures)
    try:
        mine = _copy(yours)
        same_weights = _give_weights(mine, expected)
        fault = _find_output_fault(mine(pictures), wanted, same_weights)
    except (Exception, SystemExit) as error:  # whatever a half-finished module raises is part of the answer
        fault = f"it does not run ({_in_words(error)})."
    if fault is None:
        return "Well done: with the same weights it computes the same as the shared module."
    return _describe_difference(yours, expected) or f"Not yet: {fault}"


def _find_output_fault(output, wanted, same_weights):
    if output is None:
        return "its forward returns nothing; is a return missing?"
    if not isinstance(output, torch.Tensor):
        return f"its forward returns {type(output).__name__}, and should return a tensor."
    if output.shape != wanted.shape:
        return f"its output is {list(output.shape)}, and should be {list(wanted.shape)}."
    if same_weights and torch.allclose(output.to(wanted.dtype), wanted, rtol=1e-9, atol=1e-9):
        return None
    return "the layers are right, and the output is another; look at their order and at forward."


def _describe_difference(yours, expected):
    try:
        return _difference(yours, expected)
    except Exception:  # a module without super().__init__() has no layers to look at
        return None


def _in_words(error):
    with contextlib.suppress(Exception):  # an error of a learner's own may have no words
        return shorten(next(iter(str(error).splitlines()), ""), 200, placeholder=" …") or type(error).__name__
    return type(error).__name__


def check_value(
    yours: Any,
    expected: Any | Callable[[Any], str | None],
    tolerance: float = 0.0,
    done: str | Callable[[Any], str] = "that is right.",
) -> str:
    """Whether a number, a tuple, a tensor or a text is what it should be.

    Args:
        yours: the learner's value; None where the exercise still waits for it.
        expected: the right value, or a function that looks at ``yours`` and returns what is wrong with it, None where
            nothing is. Whatever that function raises is part of the answer.
        tolerance: how far a number may be away.
        done: what to say of the right value, or a function of it that says so.

    Returns:
        One sentence that begins with "Still to do", "Not yet" or "Well done".
    """
    if yours is None:
        return TO_DO
    find_fault = expected if callable(expected) else lambda value: _find_difference(value, expected, tolerance)
    try:
        fault = find_fault(yours)
    except Exception as error:  # a half-finished value may break anything
        fault = f"it cannot be used ({_in_words(error)})."
    if fault:
        return f"Not yet: {fault}"
    return f"Well done: {done(yours) if callable(done) else done}"


def _find_difference(value, expected, tolerance):
    if isinstance(expected, torch.Tensor):
        if not isinstance(value, torch.Tensor) or value.shape != expected.shape:
            found = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return f"a tensor of shape {list(expected.shape)} is wanted, and this is {found}."
        furthest = (value.detach().double() - expected.double()).abs().max().item()
        return None if furthest <= tolerance else f"the values differ by up to {furthest:.3g}."
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"a number is wanted, and this is of type {type(value).__name__}."
        return (
            None if abs(value - expected) <= tolerance else f"{value:g} is too {'low' if value < expected else 'high'}."
        )
    if isinstance(value, type(expected)) and value == expected:
        return None
    return f"{' '.join(repr(value).split())[:80]} is not it."


def _copy(module):
    return copy.deepcopy(module).double().train()


def _randomize(module):
    """Draw all weights, biases and scales anew: a bias of 0 or a scale of 1e-6 would hide what is missing."""
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(torch.randn_like(tensor) * (tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 1.0))
    return module


@torch.no_grad()
def _give_weights(module, source):
    """Copy parameters in their order; False where number or size do not agree."""
    mine, theirs = (list(_parameters(side)) for side in (module, source))
    if [tensor.numel() for tensor in mine] != [tensor.numel() for tensor in theirs]:
        return False
    for own, given in zip(mine, theirs, strict=True):
        own.copy_(given.reshape(own.shape))
    return True


def _parameters(module):
    """A module's parameters, its children's before its own: a layer scale is written as the block's own and comes
    last."""
    for child in module.children():
        yield from _parameters(child)
    yield from module.parameters(recurse=False)


def _layers(module):
    """The layers that compute something, in order."""
    found = []
    for layer in module.modules():
        silent = isinstance(layer, nn.Identity) or (isinstance(layer, StochasticDepth | nn.Dropout) and layer.p == 0)
        if next(layer.children(), None) is None and not silent:
            found.append(layer)
    return found


def _difference(yours, expected):
    """A sentence about the first layer that differs; None where none does."""
    mine, theirs = _layers(yours), _layers(expected)
    for number, (layer, wanted) in enumerate(zip(mine, theirs, strict=False), start=1):
        name, wanted_name = _kind(layer), _kind(wanted)
        layer_words = f"Not yet: layer {number} ({name})"
        if name == "Linear" and getattr(wanted, "kernel_size", None) == (1, 1):
            # A linear layer at every position is a 1×1 convolution.
            mine_from, mine_to = layer.in_features, layer.out_features
            from_, to = wanted.in_channels, wanted.out_channels
            if (mine_from, mine_to) != (from_, to):
                return f"{layer_words}: it goes from {mine_from} to {mine_to}, expected {from_} to {to}."
            continue
        if name != wanted_name:
            return f"Not yet: layer {number} is {name}, expected {wanted_name}."
        for field in _FIELDS:
            is_now, should = getattr(layer, field, None), getattr(wanted, field, None)
            if is_now != should:
                return f"{layer_words}: {field} is {_short(is_now)}, expected {_short(should)}."
        if (getattr(layer, "bias", None) is None) != (getattr(wanted, "bias", None) is None):
            has = "no bias" if layer.bias is None else "a bias"
            return f"{layer_words} has {has}, expected {'one' if layer.bias is None else 'none'}."
    if len(mine) != len(theirs):
        return f"Not yet: {len(mine)} layer{'' if len(mine) == 1 else 's'}, expected {len(theirs)}."
    return None


def _kind(layer):
    """The class of torch's that a layer is of: ours and a learner's LayerNorm over channels are both a LayerNorm."""
    return next(kind.__name__ for kind in type(layer).__mro__ if kind.__module__.startswith(("torch.", "torchvision.")))


def _short(value):
    """(3, 3) as 3."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
