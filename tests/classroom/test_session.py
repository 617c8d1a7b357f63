from dataclasses import replace

import pytest
from PIL import Image

from convnext_lessons.classroom import open_lesson, repeat, session
from convnext_lessons.data import ImagesError, stand_in
from convnext_lessons.model import architecture_after
from convnext_lessons.runs import POCKET, Recipe, RecipeError, RunStore, compare_runs
from convnext_lessons.system import choose_device

CPU = choose_device("cpu")
TINY = Recipe("pocket", image_size=32, width_factor=1 / 16, epochs=1, batch_size=4, learning_rate=4e-3)


@pytest.fixture
def images():
    return stand_in(32, train_count=64, val_count=40)


@pytest.fixture
def loaded(monkeypatch):
    """What ``load_images`` is asked for, as (source, size); it gives what is asked for."""
    asked, load_images = [], session.load_images

    def spy(source, size):
        asked.append((source, size))
        return load_images(source, size)

    monkeypatch.setattr(session, "load_images", spy)
    return asked


@pytest.fixture
def folder(tmp_path, full_mode):
    """Images of one's own: two classes, eight to train and four to validate."""
    for split, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                path = tmp_path / "pets" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.effect_noise((40, 36 + number), 90).convert("RGB").save(path)
    return tmp_path / "pets"


def test_a_lesson_opens_with_plain_words(capsys):
    device, recipe, images = open_lesson(step=4)
    printed = capsys.readouterr().out
    assert "FAST MODE" in printed and images.note in printed
    assert "One training run of step 4 will take about" in printed
    if device.type == "cpu":
        assert recipe is POCKET and "no GPU found" in printed


def test_the_time_is_that_of_the_epochs_that_are_trained(monkeypatch, capsys):
    monkeypatch.setattr(session, "estimate_seconds", lambda experiment, *_: 100.0 * experiment.recipe.epochs)
    open_lesson(step=11, scale="rehearsal", epochs=2)
    assert "The 2 epochs that you train will take about 200 seconds here." in capsys.readouterr().out
    open_lesson(step=11, scale="rehearsal")
    assert "One training run of step 11 will take about 1600 seconds here." in capsys.readouterr().out


def test_the_scale_can_be_chosen(capsys):
    assert open_lesson(step=4, scale="lesson")[1].name == "lesson"
    assert 'open_lesson(step=4, scale="pocket") trains like them' in capsys.readouterr().out
    with pytest.raises(RecipeError, match="There is no recipe 'huge'; there are pocket, lesson, paper"):
        open_lesson(step=4, scale="huge")


@pytest.mark.parametrize("source", [None, "imagewoof", "stand-in"])
def test_a_lesson_takes_the_images_that_it_is_asked_for(source, loaded):
    open_lesson(step=4, source=source)
    assert loaded == [(source, POCKET.image_size)]


def test_a_lesson_may_take_a_folder_of_ones_own(folder, loaded, monkeypatch, capsys):
    monkeypatch.setattr(session, "recipe_of", lambda scale: TINY)
    _, _, images = open_lesson(step=4, source=folder)
    assert loaded == [(folder, TINY.image_size)]
    assert (images.source, images.classes) == (str(folder), ("cat", "dog"))
    assert "Pictures: pets, 8 to train and 4 to validate." in capsys.readouterr().out


def test_images_that_nobody_knows_are_refused(full_mode, refuses):
    with refuses(ImagesError, "'imagenot'"):
        open_lesson(step=4, source="imagenot")


# Several seeds --------------------------------------------------------------------------------------------------------


def test_several_seeds_of_before_and_after(images, capsys):
    runs = repeat(architecture_after(3), architecture_after(4), images, CPU, seeds=2)
    assert [(run["step"], run["seed"]) for run in runs] == [("3", 0), ("4", 0), ("3", 1), ("4", 1)]
    assert len(RunStore().runs()) == 4
    printed = capsys.readouterr().out
    assert printed.count("step 4, seed") == 2
    assert repr(compare_runs(runs)) in printed


def test_without_a_gpu_nobody_waits_for_seeds(images, capsys):
    assert repeat(architecture_after(3), architecture_after(4), images, CPU) == []
    assert "seeds=3" in capsys.readouterr().out


def test_a_gpu_gets_three_seeds(images, monkeypatch):
    tried = []
    run = type("Run", (), {"record": {"seconds": 1.0, "status": "complete", "step": "3"}})
    monkeypatch.setattr(session, "compare_runs", lambda runs: "")
    monkeypatch.setattr(session, "train", lambda experiment, images, device: tried.append(experiment) or run())
    repeat(architecture_after(3), architecture_after(4), images, type("Device", (), {"type": "cuda"})())
    assert [(experiment.step, experiment.seed) for experiment in tried] == [
        (step, seed) for seed in range(3) for step in ("3", "4")
    ]
    assert {experiment.recipe for experiment in tried} == {POCKET}


def test_networks_beside_the_road_are_told_apart(images, capsys):
    wider = architecture_after(3).change(width=80)
    repeat(wider, wider.change(kernel_size=5), images, CPU, seeds=1)
    assert "before  " in capsys.readouterr().out


def test_the_stop_button_stops_all_seeds(images, stopped_at_the_second_step):
    assert repeat(architecture_after(3), architecture_after(4), images, CPU, seeds=3) == []
    assert len(RunStore().runs()) == 1


def test_seeds_are_trained_on_the_lessons_own_data_set(folder, loaded, monkeypatch):
    monkeypatch.setattr(session, "recipe_of", lambda scale: TINY.change(image_size=48))
    monkeypatch.setattr(session, "POCKET", TINY)
    device, _, images = open_lesson(step=4, source=folder)
    assert images.size == 48
    records = repeat(architecture_after(3), architecture_after(4), images, device, seeds=1)
    assert loaded == [(folder, 48), (str(folder), TINY.image_size)]
    assert [record["images"] for record in records] == [
        {"source": str(folder), "note": "pets", "train": 8, "val": 4}
    ] * 2


@pytest.mark.parametrize("source", ["imagenette", "imagewoof", "stand-in"])
def test_seeds_are_trained_on_the_data_set_that_the_lesson_names(source, images, monkeypatch):
    asked, trained_on = [], []
    small = replace(images, size=POCKET.image_size)
    run = type("Run", (), {"record": {"seconds": 1.0, "status": "complete", "step": "3"}})
    monkeypatch.setattr(session, "load_images", lambda *arguments: asked.append(arguments) or small)
    monkeypatch.setattr(session, "train", lambda experiment, images, device: trained_on.append(images) or run())
    monkeypatch.setattr(session, "compare_runs", lambda runs: "")
    repeat(architecture_after(3), architecture_after(4), replace(images, source=source), CPU, seeds=1)
    assert asked == [(source, POCKET.image_size)]
    assert len(trained_on) == 2 and all(each is small for each in trained_on)
