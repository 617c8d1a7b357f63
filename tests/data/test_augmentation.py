import pytest
import torch
import torchvision
from torchvision.transforms import v2

from convnext_lessons.data import MEAN, STD, Images, standardize, training_batches, validation_batches
from convnext_lessons.data.augmentation import Augmentation
from convnext_lessons.runs.recipe import Recipe

RECIPE = Recipe("test", image_size=32, width_factor=1 / 8, epochs=4, batch_size=32, learning_rate=4e-3)

pytestmark = pytest.mark.usefixtures("full_mode")


def test_standardize_is_torchvisions_normalize():
    pictures = torch.randint(0, 256, (4, 3, 9, 9), dtype=torch.uint8)
    preset = torchvision.models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1.transforms()
    theirs = v2.Normalize(preset.mean, preset.std)(pictures.float() / 255)
    torch.testing.assert_close(standardize(pictures), theirs)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_standardize_leaves_its_images(dtype):
    pictures = torch.full((2, 3, 4, 4), 100, dtype=dtype).contiguous(memory_format=torch.channels_last)
    standardize(pictures)
    assert pictures.eq(100).all()


SIDE = 80


def ramps(count):
    """Pictures that tell where they were cut: red is the column, green the row, blue constant."""
    picture = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    picture[0] = torch.arange(SIDE)
    picture[1] = torch.arange(SIDE)[:, None]
    picture[2] = 99
    return picture.expand(count, 3, SIDE, SIDE)


def crops_of(count, seed=0, epoch=0, crop_scale=0.35, size=64):
    """Left, right, top and bottom edges of the crops, from 0 to 1, as the pictures themselves tell them."""
    which = torch.arange(count)
    out = Augmentation(count, seed, epoch, crop_scale)(ramps(count), which, size)
    mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (MEAN, STD))
    out = out * std + mean
    columns, rows = out[:, 0].mean(1), out[:, 1].mean(2)
    # From the middle half, which no border can bend, to the edges; a pixel's value is its left edge.
    edges = []
    for line in (columns, rows):
        slope = (line[:, 48] - line[:, 16]) / 32
        middle = (line[:, 48] + line[:, 16]) / 2 + 0.5
        edges += [(middle - 32.5 * slope) / SIDE, (middle + 31.5 * slope) / SIDE]
    return out, edges


def test_crops_stay_inside_their_image():
    out, edges = crops_of(400)
    assert min(edge.min() for edge in edges) > -1e-3
    assert max(edge.max() for edge in edges) < 1 + 1e-3
    torch.testing.assert_close(out[:, 2], torch.full_like(out[:, 2], 99))


def test_crops_keep_at_least_their_share_and_nearly_their_shape():
    _, (left, right, top, bottom) = crops_of(400, crop_scale=0.35)
    width, height = (right - left).abs(), bottom - top
    area, shape = width * height, width / height
    assert area.min() > 0.35 - 1e-3
    assert area.max() > 0.8
    assert 3 / 4 - 1e-3 < shape.min() < 0.8
    assert 1.25 < shape.max() < 4 / 3 + 1e-3


def test_crops_move_about():
    _, (left, right, top, bottom) = crops_of(400)
    assert ((left + right) / 2).std() > 0.05
    assert ((top + bottom) / 2).std() > 0.05


def test_about_half_of_the_crops_are_flipped_and_none_stands_on_its_head():
    _, (left, right, top, bottom) = crops_of(400)
    assert 150 < (right < left).sum() < 250
    assert (bottom > top).all()


def test_a_crop_of_everything_is_the_image():
    pictures = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    augment = Augmentation(6, 0, 0, crop_scale=1.0)
    whole = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    augment.maps = whole.expand(6, 2, 3)
    torch.testing.assert_close(augment(pictures, torch.arange(6), 16), standardize(pictures), atol=1e-4, rtol=1e-4)
    augment.maps = whole * torch.tensor([[-1.0], [1.0]]).expand(2, 3)
    augment.maps = augment.maps.expand(6, 2, 3)
    mirrored = standardize(pictures.flip(-1))
    torch.testing.assert_close(augment(pictures, torch.arange(6), 16), mirrored, atol=1e-4, rtol=1e-4)


def test_an_image_is_augmented_alike_in_any_batch():
    pictures = torch.randint(0, 256, (10, 3, 20, 20), dtype=torch.uint8)
    augment = Augmentation(10, 1, 2, 0.35)
    together = augment(pictures, torch.arange(10), 16)
    for which in (torch.tensor([7, 2, 5]), torch.tensor([9])):
        torch.testing.assert_close(augment(pictures[which], which, 16), together[which])


def test_augmentation_is_a_function_of_seed_and_epoch():
    draw = [Augmentation(10, seed, epoch, 0.35).maps for seed, epoch in ((1, 2), (1, 2), (1, 3), (2, 2))]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert not torch.equal(draw[0], draw[3])


def test_augmentation_does_not_touch_torchs_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(training_batches(numbered(10), RECIPE.change(batch_size=4), 0, 0))
    assert torch.equal(torch.get_rng_state(), before)


def numbered(count):
    """Pictures whose label is their place in the data set, and whose red is their label."""
    pictures = torch.zeros(count, 3, 40, 40, dtype=torch.uint8)
    pictures[:, 0] = torch.arange(count).view(-1, 1, 1)
    labels = torch.arange(count)
    return Images("numbers", "numbers", tuple(map(str, labels.tolist())), 32, pictures, labels, pictures, labels)


def test_training_batches_take_each_image_at_most_once():
    batches = list(training_batches(numbered(50), RECIPE.change(batch_size=8), 0, 0))
    assert [tuple(pictures.shape) for pictures, _ in batches] == [(8, 3, 32, 32)] * 6
    labels = torch.cat([labels for _, labels in batches])
    assert len(labels.unique()) == len(labels) == 48


def test_training_batches_keep_images_and_labels_together():
    for pictures, labels in training_batches(numbered(50), RECIPE.change(batch_size=8), 0, 0):
        red = pictures[:, 0].mean((1, 2)) * 255 * STD[0] + 255 * MEAN[0]
        torch.testing.assert_close(red, labels.float(), atol=1e-3, rtol=0)


def order_of(seed, epoch):
    batches = training_batches(numbered(50), RECIPE.change(batch_size=8), seed, epoch)
    return torch.cat([labels for _, labels in batches]).tolist()


def test_the_order_is_a_function_of_seed_and_epoch():
    assert order_of(1, 2) == order_of(1, 2)
    assert len({tuple(order_of(*place)) for place in ((1, 2), (1, 3), (2, 2), (2, 3))}) == 4
    assert order_of(1, 2) != sorted(order_of(1, 2))


def test_a_data_set_smaller_than_a_batch_gives_no_batch():
    assert list(training_batches(numbered(5), RECIPE.change(batch_size=8), 0, 0)) == []


def test_validation_batches_are_the_whole_set_in_order():
    batches = list(validation_batches(numbered(50), batch_size=20))
    assert [len(labels) for _, labels in batches] == [20, 20, 10]
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(50))
    torch.testing.assert_close(torch.cat([pictures for pictures, _ in batches]), standardize(numbered(50).val))
