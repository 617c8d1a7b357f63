import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from convnext_lessons.data import MEAN, STD, open_images, standardize, training_stream
from convnext_lessons.data.alterations import PictureTransform, finish
from convnext_lessons.runs.recipes import PAPER
from convnext_lessons.system.distributed import Process

CPU = torch.device("cpu")
# Nothing but noise changes a picture, so that what differs from the plain one is what was erased.
RECIPE = PAPER.change(
    image_size=32,
    epochs=2,
    batch_size=8,
    local_batch_size=None,
    warmup_epochs=1,
    augmentation="crops",
    crop_scale=1.0,
    erasing=0.5,
)


def unchanged(pixels):
    return pixels


def raw(pixels, count, erasing=1.0, first_seed=0):
    """A raw batch of the same picture ``count`` times, each with a seed of its own."""
    transform = PictureTransform(unchanged, erasing)
    pictures, rectangles = zip(*(transform(pixels, first_seed + number) for number in range(count)), strict=True)
    return torch.stack(pictures), torch.arange(count), torch.stack(rectangles)


def test_numbers_are_those_of_torchvisions_transforms():
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    pictures, labels = finish((pixels, torch.arange(4), torch.zeros(4, 5, dtype=torch.int64)), CPU)
    theirs = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    torch.testing.assert_close(pictures, theirs(pixels), rtol=1e-5, atol=1e-6)
    assert labels.tolist() == [0, 1, 2, 3] and pictures.is_contiguous(memory_format=torch.channels_last)


def test_a_loader_sends_small_numbers():
    pixels, rectangle = PictureTransform(RECIPE.training_transform(), 1.0)(Image.new("RGB", (48, 40)), 0)
    assert (pixels.shape, pixels.dtype, rectangle.shape) == ((3, 32, 32), torch.uint8, (5,))


def test_as_many_pictures_are_erased_as_the_recipe_says_over_areas_as_torchvisions():
    grey = torch.full((3, 64, 64), 100, dtype=torch.uint8)
    pictures, _ = finish(raw(grey, 2000, erasing=0.25), CPU)
    shares = (pictures != standardize(grey[None])).any(1).float().mean((1, 2))
    erased = shares[shares > 0]
    assert len(erased) / 2000 == pytest.approx(0.25, abs=0.03)
    # torchvision draws from 2 % to 33 % of the area; what does not fit into the picture is drawn anew.
    theirs = v2.RandomErasing(1.0, value=0)
    torch.manual_seed(0)
    sizes = [(p["h"] * p["w"]) / 64**2 for p in (theirs.make_params([grey]) for _ in range(500)) if p["v"] is not None]
    assert erased.mean().item() == pytest.approx(np.mean(sizes), abs=0.02)
    assert erased.min() > 0.015 and erased.max() < 0.34


def test_what_is_erased_becomes_noise_of_mean_0_and_deviation_1():
    grey = torch.full((3, 64, 64), 255, dtype=torch.uint8)  # far from 0 once it is standardized
    pictures, _ = finish(raw(grey, 200), CPU)
    noise = pictures[pictures != standardize(grey[None])]
    assert noise.mean().abs() < 0.01 and noise.std() == pytest.approx(1, abs=0.01)
    (first, second), _ = finish(
        (torch.stack([grey] * 2), torch.arange(2), torch.tensor([[9, 9, 9, 9, 0], [9] * 5])), CPU
    )
    assert not torch.equal(first, second)


def test_erasing_depends_on_a_pictures_seed_alone():
    grey = torch.full((3, 64, 64), 100, dtype=torch.uint8)
    together, _ = finish(raw(grey, 6), CPU)
    torch.manual_seed(77)
    alone, _ = finish(raw(grey, 1, first_seed=4), CPU)
    assert torch.equal(alone[0], together[4]) and not torch.equal(alone[0], together[3])


def test_a_seed_decides_everything_and_torchs_generator_stays():
    transform = PictureTransform(v2.RandomCrop(8), 1.0)
    picture, before = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8), torch.get_rng_state()
    one, same, other = (transform(picture, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, one, same)) and not any(map(torch.equal, one, other))


def test_a_picture_too_thin_for_any_rectangle_stays_whole():
    line = torch.full((3, 1, 64), 100, dtype=torch.uint8)
    pictures, _ = finish(raw(line, 20), CPU)
    assert torch.equal(pictures, standardize(line[None]).expand(20, 3, 1, 64))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_erase_as_one_process_would(grey, world_size):
    images = open_images(RECIPE, str(grey))

    def stream(rank=0, world_size=1, first=0, workers=0):
        process = Process(rank, world_size)
        return [pictures for pictures, _ in training_stream(images, RECIPE, 0, first, CPU, process, workers)]

    whole = stream()
    plain = [
        pictures for pictures, _ in training_stream(images, RECIPE.change(erasing=0.0), 0, 0, CPU, Process(0, 1), 0)
    ]
    changed = [(one != other).flatten(1).any(1).tolist() for one, other in zip(whole, plain, strict=True)]
    assert 0.2 < np.mean(changed) < 0.8
    for rank in range(world_size):
        for batch, share in zip(whole, stream(rank, world_size), strict=True):
            assert torch.equal(share, batch[rank::world_size])
    for batch, again in zip(whole[4:], stream(first=4, workers=2), strict=True):
        assert torch.equal(again, batch)
