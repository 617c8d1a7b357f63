import dataclasses
import re
import socket
import urllib.error

import nbformat
import pytest
import torch
from torchvision.models import ConvNeXt_Tiny_Weights, convnext_tiny, resnet50

from convnext_lessons.classroom.notebooks import find_lesson
from convnext_lessons.data import IMAGENETTE, stand_in, validation_batches
from convnext_lessons.model import LAST_STEP, PAPER_STEPS, architecture_after, build
from convnext_lessons.training import (
    PRETRAINED,
    TransferError,
    extract_features,
    linear_probe,
    load_pretrained,
    pretrained_predictions,
)
from convnext_lessons.training.transfer import IMAGENET_LABELS

CLASSES = tuple(IMAGENETTE.classes.values())


def test_imagenettes_classes_are_found_among_the_thousand():
    for _, weights in PRETRAINED.values():
        names = {name: weights.meta["categories"][label] for name, label in IMAGENET_LABELS.items()}
        assert names == {name: {"springer": "English springer"}.get(name, name) for name in CLASSES}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build(architecture_after(LAST_STEP).thinner(1 / 16)).eval()


@pytest.mark.parametrize(("name", "module"), [("ConvNeXt-T", convnext_tiny), ("ResNet-50, modern training", resnet50)])
def test_pretrained_weights_go_into_the_roads_ends(name, module, full_mode, monkeypatch):
    theirs = module(weights=None).eval()
    given = {}

    def download(url, **settings):
        given.update(settings, url=url)
        return theirs.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    ours = load_pretrained(name)
    pictures = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(pictures), theirs(pictures), rtol=1e-3, atol=1e-4)
    assert given["weights_only"] and given["check_hash"]


@pytest.mark.parametrize("error", [urllib.error.URLError("no route to host"), RuntimeError("invalid hash value")])
def test_weights_that_cannot_be_downloaded_are_told(error, full_mode, monkeypatch, refuses):
    def fail(*_, **__):
        raise error

    before = socket.getdefaulttimeout()
    monkeypatch.setattr(ConvNeXt_Tiny_Weights, "get_state_dict", fail)
    with refuses(TransferError, "ConvNeXt-T", "cannot be downloaded", str(error), "internet"):
        load_pretrained("ConvNeXt-T")
    assert socket.getdefaulttimeout() == before


def test_fast_mode_downloads_nothing(refuses):
    with refuses(TransferError, "Fast mode downloads nothing"):
        load_pretrained("ConvNeXt-T")


@pytest.mark.parametrize("step", [0, LAST_STEP])
def test_features_are_what_the_last_layer_reads(step):
    network = build(architecture_after(step).thinner(1 / 16)).eval()
    images = stand_in(32, 10, 20)
    features, labels = extract_features(network, validation_batches(images))
    assert torch.equal(labels, images.val_labels)
    with torch.no_grad():
        whole = torch.cat([network(pictures) for pictures, _ in validation_batches(images)])
        torch.testing.assert_close(network.head[-1](features), whole)


def test_another_class_of_the_thousand_is_a_wrong_prediction(network):
    features = torch.eye(network.head[-1].in_features)[:3]
    with torch.no_grad():
        network.head[-1].bias.zero_()
        network.head[-1].weight.zero_()
        network.head[-1].weight[701, 0] = 1  # parachute
        network.head[-1].weight[0, 1] = 1  # tench
        network.head[-1].weight[3, 2] = 1  # a shark, none of the ten
    assert pretrained_predictions(network, features, CLASSES).tolist() == [9, 0, -1]


def test_predictions_of_other_classes_are_refused(network, refuses):
    with refuses(TransferError, "disc", "Imagenette"):
        pretrained_predictions(network, torch.zeros(1, network.head[-1].in_features), ("tench", "disc"))


def test_a_head_is_fitted_to_what_it_is_shown():
    torch.manual_seed(0)
    centres = 3 * torch.randn(4, 16)
    labels = torch.arange(200) % 4
    features = centres[labels] + torch.randn(200, 16)
    head, again = (linear_probe(features[:100], labels[:100], 4) for _ in range(2))
    assert (head(features[100:]).argmax(1) == labels[100:]).float().mean() > 0.95
    assert torch.equal(head.weight, again.weight)


def test_every_name_has_its_end_of_the_road():
    assert {step for step, _ in PRETRAINED.values()} == {0, PAPER_STEPS[-1]}
    assert IMAGENET_LABELS.keys() == set(CLASSES)


def lesson_cell():
    cells = nbformat.read(find_lesson(12), as_version=4).cells
    (source,) = (cell.source for cell in cells if cell.cell_type == "code" and "linear_probe" in cell.source)
    return source


def test_without_a_connection_the_lessons_cell_shows_what_is_published(capsys):
    # Fast mode downloads nothing either.
    exec(lesson_cell(), {"torch": torch, "images": stand_in(32, 10, 10)})
    *published, last = capsys.readouterr().out.splitlines()
    assert len(published) == len(PRETRAINED) and all("torchvision publishes" in line for line in published)
    assert last.startswith("No weights here. With a connection, this cell")


def test_the_lessons_cell_judges_and_fits_a_new_head(monkeypatch, capsys):
    # Lesson 12's own code, on thin networks with weights made here and on shapes that bear Imagenette's names.
    shapes = stand_in(32, 60, 60)
    named = dataclasses.replace(shapes, classes=CLASSES)
    networks = {name: build(architecture_after(step).thinner(1 / 16)).eval() for name, (step, _) in PRETRAINED.items()}
    monkeypatch.setattr("convnext_lessons.training.load_pretrained", networks.get)
    monkeypatch.setattr("convnext_lessons.data.in_memory.load_images", lambda source, size: named)
    source, count = re.subn(r"160, \{.*?\}", r"32, {'train': 4, 'val': 4}", lesson_cell())
    assert count == 1
    exec(source, {"torch": torch, "images": named})
    lines = capsys.readouterr().out.splitlines()
    published, judged = lines[: len(PRETRAINED)], lines[len(PRETRAINED) :]
    for line, name, accuracy in zip(published, PRETRAINED, (76.13, 80.858, 82.52), strict=True):
        assert line == f"{name}: torchvision publishes {accuracy} %"
    for line, name in zip(judged, PRETRAINED, strict=True):
        assert re.fullmatch(rf"{name}: untouched \d+\.\d%, new head \d+\.\d% of 40 pictures", line)
