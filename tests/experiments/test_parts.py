import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from convnext_lessons.data import open_images
from convnext_lessons.experiments import parts
from convnext_lessons.experiments.parts import measure_parts
from convnext_lessons.model import LAST_STEP
from convnext_lessons.runs import PAPER, make_experiment

PARTS = ["decode", "crop and flip", "alter", "collate and send", "standardize and erase", "train"]


@pytest.fixture
def images(tmp_path, full_mode):
    for split in ("train", "val"):
        (tmp_path / "set" / split / "a").mkdir(parents=True)
        for number in range(3):
            Image.effect_noise((64, 48), 90).save(tmp_path / "set" / split / "a" / f"{number}.jpg")
    return open_images(PAPER, str(tmp_path / "set"))


def measured(images, recipe=None):
    experiment = make_experiment(LAST_STEP, recipe or PAPER.fast().change(width_factor=1 / 16))
    return measure_parts(images, experiment, "cpu", pictures=4, rounds=2, step_size=2, seconds=0.01)


def test_every_part_of_a_pictures_way_is_measured(images):
    found = measured(images)
    assert list(found) == PARTS
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())


def test_a_part_is_measured_by_the_picture(images, monkeypatch):
    clock = [0.0]

    def slow(pixels):
        clock[0] += 0.002
        return pixels

    monkeypatch.setattr(parts.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(parts, "_split", lambda transform: (lambda pixels: torch.zeros(3, 32, 32).byte(), slow))
    monkeypatch.setattr(parts, "measure_step_rate", lambda experiment, device, size, seconds: 20.0)
    found = measured(images)
    assert found["alter"] == pytest.approx([2.0, 2.0]) and found["decode"] == [0.0, 0.0]
    assert found["train"] == [50.0, 50.0]


@pytest.mark.parametrize("augmentation", ["crops", "rand_augment", "trivial_augment"])
def test_the_two_halves_of_a_transform_are_the_whole(augmentation):
    transform = PAPER.change(augmentation=augmentation).training_transform()
    cut, alter = parts._split(transform)
    picture = torch.randint(0, 256, (3, 300, 260), dtype=torch.uint8)
    results = []
    for steps in (transform, v2.Compose([cut, alter])):
        torch.manual_seed(3)
        results.append(steps(picture))
    assert torch.equal(*results)
    assert any(isinstance(step, v2.RandomResizedCrop) for step in cut.transforms)
