import pytest

from convnext_lessons.classroom.session import open_lesson, repeat
from convnext_lessons.runs.significance import compare_runs
from convnext_lessons.system.devices import choose_device
from convnext_lessons.runs.recipe import RecipeError
from convnext_lessons.runs.recipes import POCKET
from convnext_lessons.runs.records import RunStore
from convnext_lessons.model.roadmap import architecture_after


def test_a_lesson_opens_with_plain_words(capsys):
    device, recipe, images = open_lesson(step=4)
    printed = capsys.readouterr().out
    assert "FAST MODE" in printed and images.note in printed
    assert "One training run of step 4 will take about" in printed
    if device.type == "cpu":
        assert recipe is POCKET and "no GPU found" in printed


def test_the_scale_can_be_chosen(capsys):
    assert open_lesson(step=4, scale="lesson")[1].name == "lesson"
    assert 'open_lesson(step=4, scale="pocket") trains like them' in capsys.readouterr().out
    with pytest.raises(RecipeError, match="There is no recipe 'huge'; there are pocket, lesson, paper"):
        open_lesson(step=4, scale="huge")


def test_several_seeds_of_before_and_after(capsys):
    runs = repeat(architecture_after(3), architecture_after(4), choose_device("cpu"), seeds=2)
    assert [(run["step"], run["seed"]) for run in runs] == [("3", 0), ("4", 0), ("3", 1), ("4", 1)]
    assert len(RunStore().runs()) == 4
    printed = capsys.readouterr().out
    assert printed.count("step 4, seed") == 2
    assert repr(compare_runs(runs)) in printed


def test_without_a_gpu_nobody_waits_for_seeds(capsys):
    assert repeat(architecture_after(3), architecture_after(4), choose_device("cpu")) == []
    assert "seeds=3" in capsys.readouterr().out


def test_a_gpu_gets_three_seeds(monkeypatch):
    tried = []
    run = type("Run", (), {"record": {"seconds": 1.0, "status": "complete", "step": "3"}})
    monkeypatch.setattr("convnext_lessons.classroom.compare_runs", lambda runs: "")
    monkeypatch.setattr("convnext_lessons.classroom.train", lambda what, images, device: tried.append(what) or run())
    repeat(architecture_after(3), architecture_after(4), type("Device", (), {"type": "cuda"})())
    assert [(what.step, what.seed) for what in tried] == [(step, seed) for seed in range(3) for step in ("3", "4")]


def test_networks_beside_the_road_are_told_apart(capsys):
    wider = architecture_after(3).change(width=80)
    repeat(wider, wider.change(kernel_size=5), choose_device("cpu"), seeds=1)
    assert "before  " in capsys.readouterr().out


def test_the_stop_button_stops_all_seeds(stopped_at_the_second_step):
    assert repeat(architecture_after(3), architecture_after(4), choose_device("cpu"), seeds=3) == []
    assert len(RunStore().runs()) == 1
