"""Pictures one by one: what a loader's process makes of each, and what is left for the device, once a batch.

A process cuts, turns and colours, in uint8: four times smaller to send than float. The device makes numbers of them,
standardizes them, and puts noise into the rectangles that are erased. All of it is drawn from a picture's own seed, so
that neither its batch nor the number of processes changes what becomes of it.
"""

from collections.abc import Callable

import torch
from torchvision.transforms import v2

from convnext_lessons.data.augmentation import Batch, standardize

# Pictures uint8 [N, 3, H, W], labels [N], and rectangles int64 [N, 5]: top, left, height, width, and the noise's seed.
RawBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class PictureTransform:
    """A transform of one picture as a function of the picture and a seed; torch's own generator stays where it was.

    Args:
        transform: of a picture, to uint8 [3, H, W].
        erasing: probability that a rectangle is erased; see ``Recipe``.
    """

    def __init__(self, transform: Callable, erasing: float = 0.0):
        self.transform, self.erasing = transform, erasing
        self._rectangles = v2.RandomErasing(value=0)  # with noise it would draw that here, too

    def __call__(self, picture, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(uint8 [3, H, W], rectangle int64 [5]); a rectangle of zeros erases nothing."""
        # The CPU's generator alone: torch.manual_seed also notes for each GPU where it was called from, some 170 µs a
        # picture.
        before = torch.default_generator.get_state()
        torch.default_generator.manual_seed(seed)
        try:
            pixels = self.transform(picture)
            return pixels, self._draw_rectangle(pixels)
        finally:
            torch.default_generator.set_state(before)

    def _draw_rectangle(self, pixels):
        if torch.rand(()) < self.erasing:
            drawn = self._rectangles.make_params([pixels])
            if drawn["v"] is not None:  # else none of ten fitted into the picture
                return torch.tensor([*(drawn[name] for name in "ijhw"), torch.randint(2**31, ()).item()])
        return torch.zeros(5, dtype=torch.int64)


def finish(batch: RawBatch, device: torch.device) -> Batch:
    """What a network takes, on the device: pictures standardized, and noise of mean 0 and deviation 1 where they are
    erased."""
    pictures, labels, rectangles = batch
    pictures = standardize(pictures.to(device, non_blocking=True))
    generator = torch.Generator(device)
    for picture, (top, left, height, width, seed) in zip(pictures, rectangles.tolist(), strict=True):
        if height:
            generator.manual_seed(seed)
            noise = torch.randn(3, height, width, generator=generator, device=device)
            picture[:, top : top + height, left : left + width] = noise
    return pictures, labels.to(device, non_blocking=True)
