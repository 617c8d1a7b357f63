"""What is measured on a GPU, on the CPU: the same code on thin networks and rendered pictures."""

import itertools
import json
import os
import signal

import pytest

from convnext_lessons.data import stand_in
from convnext_lessons.experiments import gpu
from convnext_lessons.experiments.collections import ON_GPU, CollectionError
from convnext_lessons.experiments.gpu import make_on_gpu, make_rates
from convnext_lessons.model import LAST_STEP
from convnext_lessons.runs import Recipe, RunStore, make_experiment
from convnext_lessons.system import DeviceError, choose_device, data_folder
from convnext_lessons.training import TrainingError, train

TINY = Recipe("tiny", image_size=32, width_factor=1 / 16, epochs=2, batch_size=8, learning_rate=4e-3)


@pytest.fixture
def small(monkeypatch, full_mode, tmp_path):
    """Two runs a collection on a few small pictures; the folder that they go to."""
    monkeypatch.setattr(gpu, "load_images", lambda *_: stand_in(32, train_count=64, val_count=40))
    monkeypatch.setattr(gpu, "make_rates", lambda images, device, folder, progress: (folder / "gpu.json").touch())
    for place, name in enumerate(ON_GPU):
        runs = [(name, make_experiment(step, TINY, place)) for step in (0, 2)]
        monkeypatch.setitem(ON_GPU, name, lambda runs=runs: runs)
    folder = tmp_path / "stored"
    folder.mkdir()
    return folder


def stored(folder):
    return [(run["variant"], run["step"]) for name in ON_GPU for run in RunStore(folder / f"{name}.jsonl").runs()]


def test_everything_is_made_once(small, monkeypatch):
    said = []
    assert make_on_gpu(10, "cpu", small, said.append) == 0
    everything = [(name, step) for name in ON_GPU for step in ("0", "2")]
    assert stored(small) == everything and said[-1] == "Everything is there."
    assert not list((data_folder() / "runs").iterdir())
    monkeypatch.setattr(gpu, "train", pytest.fail)
    assert make_on_gpu(10, "cpu", small, said.append) == 0
    assert stored(small) == everything


def stopping(monkeypatch, how, at=4):
    """``how()`` is called as a run tells its so-manyeth point, counted over all runs."""
    points = itertools.count()

    def stopped(*args, **settings):
        return train(*args, report=lambda _: how() if next(points) == at else None, **settings)

    monkeypatch.setattr(gpu, "train", stopped)


def losses(curve):
    return [point["loss"] for point in curve]


def test_a_run_that_was_under_way_goes_on_where_it_was(small, monkeypatch):
    whole = train(
        make_experiment(0, TINY, 0), stand_in(32, train_count=64, val_count=40), "cpu", store=RunStore(small / "x")
    )
    stopping(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert make_on_gpu(10, "cpu", small, lambda words: None) == 4
    assert stored(small) == [] and len(list((data_folder() / "runs").iterdir())) == 1
    assert make_on_gpu(10, "cpu", small, lambda words: None) == 0
    first = RunStore(small / "lesson.jsonl").runs()[0]
    assert losses(first["curve"]) == losses(whole.record["curve"])


def test_a_wish_to_leave_at_the_very_end_of_a_run_is_heard(small, monkeypatch):
    in_a_run = len(train(make_experiment(0, TINY), stand_in(32, train_count=64, val_count=40), "cpu").record["curve"])
    stopping(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM), at=in_a_run - 1)
    assert make_on_gpu(10, "cpu", small, lambda words: None) == 3
    assert len(stored(small)) == 1


def test_a_finished_run_that_was_not_stored_is_stored(small, monkeypatch):
    append = gpu.CollectionStore.append
    monkeypatch.setattr(gpu.CollectionStore, "append", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_on_gpu(10, "cpu", small, lambda words: None)
    monkeypatch.setattr(gpu.CollectionStore, "append", append)
    assert make_on_gpu(10, "cpu", small, lambda words: None) == 0
    assert len(stored(small)) == 4


def test_a_run_that_fails_does_not_stop_the_others(small, monkeypatch):
    def failing(experiment, *args, **settings):
        if experiment.seed == 0 and experiment.step == "0":
            raise TrainingError("The loss is no number.")
        return train(experiment, *args, **settings)

    said = []
    monkeypatch.setattr(gpu, "train", failing)
    assert make_on_gpu(10, "cpu", small, said.append) == 1
    assert len(stored(small)) == 3 and "step 0, seed 0, lesson: The loss is no number." in said


def test_fast_mode_measures_nothing(small, monkeypatch, refuses):
    monkeypatch.setenv("CONVNEXT_LESSONS_FAST", "1")
    with refuses(CollectionError, "CONVNEXT_LESSONS_FAST"):
        make_on_gpu(10, "cpu", small)


def test_time_is_up_before_the_first_run(small):
    said = []
    assert make_on_gpu(0, "cpu", small, said.append) == 4
    assert "4 runs are left" in said[-1] and stored(small) == []


def test_without_a_gpu_it_says_so(small, monkeypatch, refuses):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with refuses(DeviceError, "'cuda'"):
        make_on_gpu(folder=small)


def test_rates_of_fed_and_of_waiting_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "LESSON", TINY)
    images = stand_in(32, train_count=64, val_count=40)
    make_rates(images, choose_device("cpu"), tmp_path, lambda words: None, rounds=1, seconds=0.01)
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert kept["device"]["precision"] == "float32" and kept["batch_size"] == TINY.batch_size
    assert list(kept["rates"]) == ["0", "3", str(LAST_STEP)]
    for rates in kept["rates"].values():
        assert rates["synthetic"] > 0 and rates["pictures"] > 0
