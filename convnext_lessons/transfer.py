"""The road's ends with torchvision's published weights: classify what they were trained for, and tune a new head."""

import contextlib
import io
import socket

import torch
from torch import nn
from torchvision.models import ConvNeXt_Tiny_Weights, ResNet50_Weights

from convnext_lessons.images import CLASSES
from convnext_lessons.machine import CourseError, fast_mode
from convnext_lessons.network import build, load_torchvision_weights
from convnext_lessons.roadmap import architecture_after

# The two ends, and ResNet-50 twice: as it was trained once, and with torchvision's modern training.
PUBLISHED = {
    "ResNet-50, original training": ("0", ResNet50_Weights.IMAGENET1K_V1),
    "ResNet-50, modern training": ("0", ResNet50_Weights.IMAGENET1K_V2),
    "ConvNeXt-T": ("11", ConvNeXt_Tiny_Weights.IMAGENET1K_V1),
}
# Where Imagenette's ten classes are among ImageNet's thousand; their folders' names sort in the same order.
PLACES = dict(zip(CLASSES.values(), (0, 217, 482, 491, 497, 566, 569, 571, 574, 701), strict=True))
SECONDS_WITHOUT_ANSWER = 10
WEIGHT_DECAY = 1e-3  # of the new head


class TransferError(CourseError):
    """Weights or pictures that a transfer cannot work with."""


def published(name):
    """One of ``PUBLISHED`` as the road's own network, in evaluation mode; fetched once, about 100 MB.

    Raises:
        TransferError: it cannot be fetched.
    """
    step, weights = PUBLISHED[name]
    if fast_mode():
        raise TransferError("Fast mode fetches nothing.")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_ANSWER)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network; or another checksum
        raise TransferError(
            f"The weights of {name} cannot be fetched ({error}): connect to the internet once, and run this again."
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
    network = build(architecture_after(step))
    load_torchvision_weights(network, state)
    return network.eval()


@torch.no_grad()
def features(network, batches):
    """What a network makes of pictures before its last layer.

    Args:
        batches: (pictures, labels), as ``loading.Validation`` gives them.

    Returns:
        (features [N, C], labels [N])
    """
    body = _without_last_layer(network).eval()
    found = [(body(pictures), labels) for pictures, labels in batches]
    return torch.cat([vectors for vectors, _ in found]), torch.cat([labels for _, labels in found])


def untouched(network, vectors, classes):
    """What the network itself says to the features of pictures, as places in ``classes``; -1 for another of its
    thousand classes.

    Raises:
        TransferError: a class is none of ImageNet's.
    """
    strangers = [name for name in classes if name not in PLACES]
    if strangers:
        raise TransferError(
            f"{', '.join(strangers)}: no classes that the published weights know; classify Imagenette's pictures."
        )
    with torch.no_grad():
        said = network.head[-1](vectors).argmax(1)
    answers = torch.full_like(said, -1)
    for place, name in enumerate(classes):
        answers[said == PLACES[name]] = place
    return answers


def tuned_head(vectors, labels, classes):
    """A new last layer for ``classes`` classes, fitted to features while the rest of the network stays as it is.

    Logistic regression with a little weight decay: the whole set at once, so that nothing is drawn at random.
    """
    head = nn.Linear(vectors.shape[1], classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(vectors), labels) + WEIGHT_DECAY * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return head


def _without_last_layer(network):
    body = nn.Sequential(network.stem)
    for transition, stage in zip(network.transitions, network.stages, strict=True):
        body.extend([transition, stage])
    return body.extend(network.head[:-1])
