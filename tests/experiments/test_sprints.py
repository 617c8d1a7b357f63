import statistics

import pytest
import torch

from convnext_lessons.data import stand_in
from convnext_lessons.experiments import sprints
from convnext_lessons.experiments.collections import CollectionError
from convnext_lessons.experiments.sprints import LIMITS, SprintError, make_sprints, sprint_runs
from convnext_lessons.runs import Experiment, RunStore, reference_runs
from convnext_lessons.runs.records import SCHEMA
from convnext_lessons.system import reference_folder


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "sprints.jsonl")


@pytest.fixture
def pretended(monkeypatch, full_mode):
    """``train`` is asked for the first run, and takes as long as one says."""
    asked = []

    def run(experiment, images, device, store, options):
        asked.append((experiment, options.precision))
        record = {
            "schema": SCHEMA,
            "status": "complete",
            "fast": False,
            "settings": experiment.settings(),
            "seconds": 61.0,
        }
        store.append(record)
        return type("Run", (), {"record": record})()

    monkeypatch.setattr(sprints, "load_images", lambda *_: stand_in(64, 8, 8))
    monkeypatch.setattr(sprints, "train", run)
    return asked


def test_a_run_that_takes_too_long_is_not_kept(store, pretended, refuses):
    with refuses(SprintError, "61 seconds", "60", "not kept"):
        make_sprints(store, progress=lambda words: None)
    assert store.runs() == []


def test_what_is_there_is_not_made_again(store, pretended):
    everything = sprint_runs()
    for name, experiment in everything:
        if name == "60 seconds":
            store.append({"schema": SCHEMA, "variant": name, "settings": experiment.settings()})
    make_sprints(store, progress=lambda words: None)
    assert pretended == [(experiment, torch.bfloat16) for name, experiment in everything if name == "300 seconds"]
    assert len(store.runs()) == len(everything)


def test_fast_mode_measures_nothing(store, refuses):
    with refuses(CollectionError, "CONVNEXT_LESSONS_FAST"):
        make_sprints(store)


# What is stored -------------------------------------------------------------------------------------------------------


def test_the_stored_sprints_are_whole_and_in_time():
    stored = reference_runs("sprints")
    assert {(run["variant"], Experiment.from_settings(run["settings"])) for run in stored} == set(sprint_runs())
    limits = {recipe.name: limit for recipe, limit in LIMITS.items()}
    for run in stored:
        assert run["seconds"] <= limits[run["recipe"]] and run["device"]["type"] == "cpu"
        assert run["images"]["note"] == "Imagenette v2, squashed to 160×160" and not run["fast"]
        assert run["accuracy"] == run["curve"][-1]["accuracy"]


def test_the_page_tells_the_sprints_as_they_were():
    words = " ".join((reference_folder().parent / "README.md").read_text().split())
    for name in ("60 seconds", "300 seconds"):
        values = [100 * run["accuracy"] for run in reference_runs("sprints") if run["variant"] == name]
        assert f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f} %" in words
