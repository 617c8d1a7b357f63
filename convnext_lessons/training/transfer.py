"""The road's ends with torchvision's published weights: classify what they were trained for, and fit a new head."""

import contextlib
import io
import socket
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torchvision.models import ConvNeXt_Tiny_Weights, ResNet50_Weights

from convnext_lessons.data.augmentation import Batch
from convnext_lessons.data.datasets import IMAGENETTE
from convnext_lessons.model.network import ResNet, build
from convnext_lessons.model.pretrained import load_torchvision_weights
from convnext_lessons.model.roadmap import PAPER_STEPS, architecture_after
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import fast_mode

# The two ends, and ResNet-50 twice: as it was trained once, and with torchvision's modern training.
PRETRAINED = {
    "ResNet-50, original training": (0, ResNet50_Weights.IMAGENET1K_V1),
    "ResNet-50, modern training": (0, ResNet50_Weights.IMAGENET1K_V2),
    "ConvNeXt-T": (PAPER_STEPS[-1], ConvNeXt_Tiny_Weights.IMAGENET1K_V1),
}

# Where Imagenette's ten classes are among ImageNet's thousand; their folders' names sort in the same order.
IMAGENET_LABELS = dict(zip(IMAGENETTE.classes.values(), (0, 217, 482, 491, 497, 566, 569, 571, 574, 701), strict=True))

SECONDS_WITHOUT_ANSWER = 10
WEIGHT_DECAY = 1e-3  # of the new head


class TransferError(CourseError):
    """Weights or pictures that a transfer cannot work with."""


def load_pretrained(name: str) -> ResNet:
    """One of ``PRETRAINED`` as the road's own network, in evaluation mode; downloaded once, about 100 MB.

    Raises:
        TransferError: there is no such name, or it cannot be downloaded.
    """
    if not isinstance(name, str) or name not in PRETRAINED:
        raise TransferError(f"There are no weights {name!r}; there are {', '.join(PRETRAINED)}.")
    step, weights = PRETRAINED[name]
    if fast_mode():
        raise TransferError("Fast mode downloads nothing.")
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_ANSWER)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network; or another checksum
        raise TransferError(
            f"The weights of {name} cannot be downloaded ({error}): connect to the internet once, and run this again."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    network = build(architecture_after(step))
    load_torchvision_weights(network, state)
    return network.eval()


@torch.no_grad()
def extract_features(network: ResNet, batches: Iterable[Batch]) -> Batch:
    """What a network makes of pictures before its last layer.

    Args:
        batches: (pictures, labels), such as ``data.Validation``.

    Returns:
        (features [N, C], labels [N])
    """
    body = _without_last_layer(network).eval()
    found = [(body(pictures), labels) for pictures, labels in batches]
    return torch.cat([features for features, _ in found]), torch.cat([labels for _, labels in found])


def pretrained_predictions(network: ResNet, features: torch.Tensor, classes: Sequence[str]) -> torch.Tensor:
    """The classes that a pretrained network's own last layer gives to features [N, C]: indices into ``classes`` [N], -1
    for another of its thousand classes.

    Raises:
        TransferError: a class is none of Imagenette's ten, whose labels in ImageNet are known here.
    """
    unknown = [name for name in classes if name not in IMAGENET_LABELS]
    if unknown:
        raise TransferError(
            f"{', '.join(unknown)}: no classes that the pretrained weights know; classify Imagenette's pictures."
        )
    with torch.no_grad():
        labels = network.head[-1](features).argmax(1)
    predictions = torch.full_like(labels, -1)
    for index, name in enumerate(classes):
        predictions[labels == IMAGENET_LABELS[name]] = index
    return predictions


def linear_probe(features: torch.Tensor, labels: torch.Tensor, classes: int) -> nn.Linear:
    """A new last layer for ``classes`` classes, fitted to features [N, C] while the rest of the network stays as it is.

    Logistic regression with a little weight decay: the whole set at once, so that nothing is drawn at random.
    """
    head = nn.Linear(features.shape[1], classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(features), labels) + WEIGHT_DECAY * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return head


def _without_last_layer(network):
    body = nn.Sequential(network.stem)
    for transition, stage in zip(network.transitions, network.stages, strict=True):
        body.extend([transition, stage])
    return body.extend(network.head[:-1])
