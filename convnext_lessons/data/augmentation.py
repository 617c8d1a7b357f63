"""Batches out of images in memory: cropped, flipped, standardized, as functions of seed, epoch and index."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from convnext_lessons.data.in_memory import Images
    from convnext_lessons.runs.recipe import Recipe

FAST_IMAGE_SIZE = 32  # in fast mode; the smallest that four stages can take
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's weights expect them

Batch = tuple[torch.Tensor, torch.Tensor]  # pictures [N, 3, H, W] and labels [N], or [N, classes] once mixed


def standardize(pictures: torch.Tensor) -> torch.Tensor:
    """[N, 3, H, W] with values from 0 to 255 → float with ImageNet's mean at 0 and its standard deviation at 1."""
    mean, std = _mean_and_std(pictures.device)
    return (pictures.float() - mean).div_(std).contiguous(memory_format=torch.channels_last)


@functools.cache  # a GPU would be waited for each time they are sent there
def _mean_and_std(device):
    return tuple(torch.tensor(values, device=device).view(3, 1, 1) * 255 for values in (MEAN, STD))


class Augmentation:
    """Random resized crops and flips for one epoch, drawn for every picture from seed, epoch and its index in the set.

    So neither the order of the batches nor an interruption changes what a picture looks like in its epoch.
    """

    def __init__(self, count: int, seed: int, epoch: int, crop_scale: float):
        draw = torch.rand(count, 5, generator=torch.Generator().manual_seed(2 * _mix(seed, epoch)))
        area = crop_scale + (1 - crop_scale) * draw[:, 0]
        stretch = ((2 * draw[:, 1] - 1) * math.log(4 / 3)).exp().sqrt()
        width, height = (area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)
        flip = 1 - 2 * (draw[:, 4] < 0.5).float()
        # One affine map a picture, from the crop's coordinates to the whole picture's, both from -1 to 1.
        self.maps = torch.zeros(count, 2, 3)
        self.maps[:, 0, 0], self.maps[:, 1, 1] = width * flip, height
        self.maps[:, 0, 2], self.maps[:, 1, 2] = (2 * draw[:, 2] - 1) * (1 - width), (2 * draw[:, 3] - 1) * (1 - height)

    def __call__(self, pictures: torch.Tensor, indices: torch.Tensor, size: int) -> torch.Tensor:
        """uint8 pictures [B, 3, S, S] with their ``indices`` [B] in the set → standardized [B, 3, size, size]."""
        maps = self.maps[indices].to(pictures.device)
        grid = functional.affine_grid(maps, (len(indices), 3, size, size), align_corners=False)
        return standardize(
            functional.grid_sample(pictures.float(), grid, padding_mode="reflection", align_corners=False)
        )


def epoch_order(count: int, recipe: Recipe, seed: int, epoch: int) -> torch.Tensor:
    """The indices of an epoch's pictures, shuffled as a function of seed and epoch; a rest smaller than a batch is left
    out. A batch holds all repetitions of its pictures, the first of each before the second ones, so that neighbours,
    which are mixed, are different pictures."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(2 * _mix(seed, epoch) + 1))
    if recipe.repeats > 1:
        order = order[: math.ceil(count / recipe.repeats)].repeat_interleave(recipe.repeats)
    order = order[: count - count % recipe.batch_size]
    if recipe.repeats > 1:
        repetition = torch.arange(len(order)).remainder(recipe.repeats).view(-1, recipe.batch_size)
        order = order.view(-1, recipe.batch_size).gather(1, repetition.argsort(dim=1, stable=True)).flatten()
    return order


def training_batches(
    images: Images,
    recipe: Recipe,
    seed: int,
    epoch: int,
    first: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Batch]:
    """Yield (pictures, labels) of one epoch, shuffled and augmented as functions of seed and epoch.

    Args:
        first: the batch to begin with.
        rank, world_size: whose local batches they are, see ``Recipe.local_batches``.
    """
    augment = Augmentation(len(images.train), seed, epoch, recipe.crop_scale)
    order = epoch_order(len(images.train), recipe, seed, epoch).view(-1, recipe.batch_size)
    for batch in order[first:]:
        for positions in recipe.local_batches(rank, world_size):
            indices = batch[positions.start : positions.stop : positions.step]
            here = indices.to(images.train.device)
            yield augment(images.train[here], indices, recipe.size_in(epoch)), images.train_labels[here]


def validation_batches(images: Images, batch_size: int = 256, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
    """Yield (pictures, labels) of the validation set, in order; every rank gets its share, and no picture comes
    twice."""
    shares = (tensor[rank::world_size].split(batch_size) for tensor in (images.val, images.val_labels))
    for pictures, labels in zip(*shares, strict=True):
        yield standardize(pictures), labels


def seed_of(*numbers: object) -> int:
    """A seed for torch from any plain values: the same for the same ones, unrelated for others."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=4).digest())


def _mix(seed, epoch):
    return seed * 100_003 + epoch
