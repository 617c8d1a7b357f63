import json
import math
from dataclasses import replace

import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision.models import convnext_tiny

from convnext_lessons.data import ImagesError, Validation, load_images, open_images, stand_in, validation_batches
from convnext_lessons.model import WeightsError, architecture_after, build
from convnext_lessons.runs import POCKET, REHEARSAL, Experiment, make_experiment
from convnext_lessons.training import (
    CheckpointError,
    TrainedNetwork,
    TransferError,
    evaluate,
    fine_tuning,
    load_run,
    open_trained,
    save_trained,
    train,
)
from convnext_lessons.training.trained import PUBLISHED, label_map, prepare_picture

CPU = torch.device("cpu")
CLASSES = tuple("abcdefghij")


def made(step=11, classes=CLASSES, recipe=POCKET):
    torch.manual_seed(1)
    recipe = recipe.change(width_factor=1 / 8)
    network = build(architecture_after(step).thinner(1 / 8), len(classes), layer_scale_init=1.0).eval()
    return TrainedNetwork(network, classes, make_experiment(step, recipe), "made here")


def same(one, other):
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


@pytest.fixture
def folder(tmp_path):
    """train/ and val/ with two classes of four pictures each, red and blue, in no particular size."""
    for split in ("train", "val"):
        for name, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for number in range(4):
                picture = Image.new("RGB", (40 + number, 50), colour)
                picture.save(tmp_path / "pictures" / split / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    ("trained_in", "asked", "judged_in"),
    [
        ("float32", None, torch.float32),
        ("bfloat16", None, None),
        (None, None, None),
        ("float32", torch.float16, torch.float16),
    ],
)
def test_what_was_trained_in_float32_is_judged_in_it(monkeypatch, trained_in, asked, judged_in):
    seen = []
    monkeypatch.setattr(
        "convnext_lessons.training.trained.evaluate",
        lambda network, batches, device, process, precision: seen.append(precision),
    )
    images = stand_in(32, train_count=4, val_count=4)
    replace(made(classes=images.classes), precision=trained_in).evaluate(images, precision=asked)
    assert seen == [judged_in]


# A run, and what it leaves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [POCKET, REHEARSAL])
def test_a_run_is_opened_by_its_folder_and_by_its_weights(recipe, tmp_path):
    images = stand_in(32, 64, 40)
    run = train(make_experiment(11, recipe), images, device="cpu", folder=tmp_path / "run")
    for place in (tmp_path / "run", tmp_path / "run" / "weights.safetensors"):
        trained = open_trained(place, "cpu")
        assert same(run.network, trained.network)  # the averaged weights, where there are some
        assert not trained.network.training
        assert trained.classes == images.classes
        assert trained.experiment.settings() == run.record["settings"]
    experiment, network = load_run(tmp_path / "run", "cpu")
    assert same(network, run.network)
    assert experiment.settings() == run.record["settings"]


def test_a_finished_run_writes_its_weights_again_where_they_are_missing(tmp_path):
    images = stand_in(32, 64, 40)
    train(make_experiment(11, POCKET), images, device="cpu", folder=tmp_path / "run")
    (tmp_path / "run" / "weights.safetensors").unlink()
    run = train(make_experiment(11, POCKET), images, device="cpu", folder=tmp_path / "run")
    assert same(open_trained(tmp_path / "run" / "weights.safetensors", "cpu").network, run.network)


def test_a_folder_without_a_run_is_refused(tmp_path, refuses):
    with refuses(CheckpointError, "last.pt"):
        open_trained(tmp_path)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 6, 11])
def test_a_file_holds_the_network_its_classes_and_its_experiment(step, tmp_path):
    trained = made(step)
    save_trained(trained, tmp_path / "x.safetensors")
    again = open_trained(tmp_path / "x.safetensors", "cpu")
    assert same(trained.network, again.network)
    assert (again.classes, again.experiment) == (trained.classes, trained.experiment)


@pytest.mark.parametrize(("step", "names"), [(11, "features.0.0.weight"), (0, "conv1.weight"), (6, "stem.0.weight")])
def test_an_end_of_the_road_is_saved_under_torchvisions_names_and_the_rest_under_ours(step, names, tmp_path):
    save_trained(made(step), tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert names in file.keys()  # noqa: SIM118 – it is no dictionary
        assert json.loads(file.metadata()["convnext_lessons"])["classes"] == list(CLASSES)


def test_a_saved_file_loads_in_torchvision_and_timm(tmp_path):
    recipe = POCKET.change(width_factor=1.0)
    ours = TrainedNetwork(build(architecture_after(11), 10).eval(), CLASSES, make_experiment(11, recipe), "here")
    pictures = torch.randn(1, 3, 64, 64)
    theirs = convnext_tiny(num_classes=10).eval(), timm.create_model("convnext_tiny", num_classes=10).eval()
    for network, family in zip(theirs, ("torchvision", "timm"), strict=True):
        save_trained(ours, tmp_path / "x.safetensors", family)
        network.load_state_dict(load_file(tmp_path / "x.safetensors"))
        with torch.no_grad():
            torch.testing.assert_close(network(pictures), ours.network(pictures), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_other_peoples_files_are_opened(suffix, tmp_path):
    theirs = timm.create_model("convnext_tiny", num_classes=7).eval()
    if suffix == ".pth":
        torch.save({"model": theirs.state_dict()}, tmp_path / "x.pth")
    else:
        save_file(theirs.state_dict(), tmp_path / "x.safetensors")
    trained = open_trained(tmp_path / f"x{suffix}", "cpu")
    assert trained.classes == tuple(f"class {number}" for number in range(7))
    assert torch.equal(trained.network.stem[0].weight, theirs.stem[0].weight)


def test_a_thousand_outputs_are_imagenets(tmp_path):
    with torch.device("meta"):
        state = build(architecture_after(0)).state_dict()
    torch.save({name: torch.zeros(tensor.shape) for name, tensor in state.items()}, tmp_path / "x.pt")
    with pytest.raises(WeightsError):
        open_trained(tmp_path / "x.pt")  # our own names say nothing of which network it is, and step 11 is assumed
    torch.save(timm.create_model("resnet50").state_dict(), tmp_path / "x.pt")
    assert open_trained(tmp_path / "x.pt", "cpu").classes[:2] == ("tench", "goldfish")


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x05cposix\nsystem\n"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_what_is_no_file_of_weights_is_refused(content, suffix, tmp_path, refuses):
    (tmp_path / f"x{suffix}").write_bytes(content)
    with refuses(TransferError, "no readable file of weights"):
        open_trained(tmp_path / f"x{suffix}")


def test_a_file_of_another_network_is_refused(tmp_path, refuses):
    torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), tmp_path / "x.pt")
    with refuses(WeightsError, "do not fit"):
        open_trained(tmp_path / "x.pt")


def test_what_is_neither_is_refused(refuses):
    with refuses(TransferError, "nowhere", "resnet50", "convnext-t"):
        open_trained("nowhere")


@pytest.mark.parametrize(("name", "resized"), [("resnet50", 256), ("resnet50-modern", 232), ("convnext-t", 236)])
def test_published_networks_see_pictures_as_torchvision_shows_them(name, resized, monkeypatch):
    tiny = build(architecture_after(11).thinner(1 / 16))
    monkeypatch.setattr("convnext_lessons.training.trained.load_pretrained", lambda title: tiny)
    trained = open_trained(name, "cpu")
    assert (trained.recipe.validation_size, trained.recipe.interpolation) == (224, "bilinear")
    assert round(224 / trained.recipe.evaluation_share) == resized
    assert len(trained.classes) == 1000
    assert PUBLISHED[name] in trained.source


# Use ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [POCKET, REHEARSAL])
def test_a_picture_is_prepared_as_validation_prepares_it(recipe, folder, full_mode):
    recipe = recipe.change(image_size=32)
    images = open_images(recipe, str(folder), print)
    expected = next(iter(Validation(images, recipe, torch.device("cpu"))))[0][0]
    assert torch.equal(prepare_picture(recipe, folder / "val" / "blue" / "0.png"), expected)


def test_predictions_are_the_networks_own(folder):
    trained = made(classes=("blue", "red", "green"))
    picture = folder / "val" / "red" / "1.png"
    (found,) = trained.predict([picture], top=2)
    with torch.no_grad():
        expected = trained.network(trained.prepare(picture)[None])[0].softmax(0)
    assert [name for name, _ in found] == [trained.classes[label] for label in expected.argsort(descending=True)[:2]]
    assert [share for _, share in found] == pytest.approx(sorted(expected.tolist(), reverse=True)[:2])
    assert math.isclose(sum(share for _, share in trained.predict([picture])[0]), 1, rel_tol=1e-5)


def test_a_picture_that_cannot_be_read_is_refused(tmp_path, refuses):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with refuses(ImagesError, "x.png"):
        made().predict([tmp_path / "x.png"])


def test_scores_are_those_of_its_own_classes(folder, full_mode):
    trained = made(classes=("red", "green", "blue"))  # other places than in the folder
    images = load_images(str(folder), trained.recipe.validation_size)
    labels = torch.tensor([2, 0])[images.val_labels]
    batches = [(pictures, labels) for pictures, _ in validation_batches(images)]
    assert trained.evaluate(images) == evaluate(trained.network, batches, CPU)


def test_unknown_classes_are_told(refuses):
    with refuses(TransferError, "1 of the 2 classes", "zebra", "red"):
        label_map(("red", "blue"), ("red", "zebra"))


def test_imagenettes_classes_have_their_places_in_the_thousand():
    thousand = tuple(f"name {number}" for number in range(1000))
    assert label_map(thousand, ("tench", "parachute")).tolist() == [0, 701]
    assert label_map(thousand, tuple(reversed(thousand))).tolist() == list(range(1000))


# Going on from it -----------------------------------------------------------------------------------------------------


def test_fine_tuning_begins_with_the_given_weights_and_a_new_head(tmp_path):
    weights = made(classes=("x", "y"))
    experiment = fine_tuning(weights, POCKET.change(learning_rate=1e-12, final_learning_rate=0.0), seed=3)
    assert experiment.recipe.width_factor == 1 / 8
    run = train(experiment, stand_in(32, 64, 40), device="cpu", weights=weights)
    body = {name: tensor for name, tensor in weights.network.state_dict().items() if not name.startswith("head.3")}
    own = run.network.state_dict()
    assert all(torch.allclose(tensor, own[name], atol=1e-6) for name, tensor in body.items())
    assert len(own["head.3.bias"]) == 10
    assert run.record["weights"] == "made here"


def test_the_head_is_kept_where_the_classes_are_the_same():
    images = stand_in(32, 64, 40)
    weights = made(classes=images.classes)
    experiment = fine_tuning(weights, POCKET.change(learning_rate=1e-12, final_learning_rate=0.0))
    run = train(experiment, images, device="cpu", weights=weights)
    assert torch.allclose(run.network.head[-1].weight, weights.network.head[-1].weight, atol=1e-6)


def test_a_run_from_other_weights_is_another_run(tmp_path, refuses):
    images = stand_in(32, 64, 40)
    first = made()
    train(fine_tuning(first, POCKET), images, device="cpu", weights=first, folder=tmp_path / "run")
    with torch.no_grad():
        first.network.stem[0].weight[0, 0, 0, 0] += 1
    with refuses(CheckpointError, "weights"):
        train(fine_tuning(first, POCKET), images, device="cpu", weights=first, folder=tmp_path / "run")
    with refuses(CheckpointError, "weights"):
        train(fine_tuning(first, POCKET), images, device="cpu", folder=tmp_path / "run")


def test_weights_of_another_architecture_are_refused(refuses):
    weights = made(0)
    experiment = Experiment(architecture_after(11), weights.recipe)
    with refuses(WeightsError, "do not fit"):
        train(experiment, stand_in(32, 64, 40), device="cpu", weights=weights)


def test_training_again_from_the_same_weights_gives_the_same_bits():
    images, weights = stand_in(32, 64, 40), made()
    one, other = (train(fine_tuning(weights, POCKET), images, device="cpu", weights=weights) for _ in range(2))
    assert same(one.network, other.network)
