"""How well a network classifies: over batches of pictures, exactly, also where several processes share them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from convnext_lessons.data.augmentation import Batch
from convnext_lessons.system.distributed import SINGLE_PROCESS, Process


class Scores(NamedTuple):
    """Over all pictures: the share whose first answer is right, the share whose first five hold the right one, and the
    mean cross-entropy, which no recipe smooths here."""

    accuracy: float
    top5: float
    loss: float


def precision_for(device: torch.device) -> torch.dtype:
    """The number format of the forward pass: bfloat16 where a GPU has units for it, float16 on older ones, float32
    on the CPU."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    process: Process = SINGLE_PROCESS,
    precision: torch.dtype | None = None,
) -> Scores:
    """Score a network on (pictures, labels) batches; every rank brings its own, and all get the scores over all.

    Args:
        precision: of the forward pass; ``precision_for`` the device unless given.
    """
    return evaluate_together([network], batches, device, process, precision)[0]


@torch.no_grad()
def evaluate_together(
    networks: Sequence[nn.Module],
    batches: Iterable[Batch],
    device: torch.device,
    process: Process = SINGLE_PROCESS,
    precision: torch.dtype | None = None,
) -> list[Scores]:
    """The same for several networks, which see each batch one after the other: pictures are read once."""
    precision = precision or precision_for(device)
    were_training = [network.training for network in networks]
    for network in networks:
        network.eval()
    # Sums stay on the device, so that a GPU need not be waited for.
    sums = torch.zeros(len(networks), 3, dtype=torch.float64, device=device)
    count = 0
    for pictures, labels in batches:
        for row, network in zip(sums, networks, strict=True):
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                outputs = network(pictures)
            row += _sums(outputs.float(), labels)
        count += len(labels)
    for network, was_training in zip(networks, were_training, strict=True):
        network.train(was_training)
    *totals, count = process.all_reduce_sum(*sums.flatten().tolist(), count)
    return [Scores(*(total / count for total in totals[start : start + 3])) for start in range(0, len(totals), 3)]


def _sums(outputs, labels):
    """How many first answers are right, how many of the first five, and the summed cross-entropy, [3]."""
    first = outputs.argmax(1) == labels
    five = outputs.topk(min(5, outputs.shape[1])).indices == labels[:, None]
    return torch.stack([first.sum(), five.sum(), functional.cross_entropy(outputs, labels, reduction="sum")])
