import statistics

import nbformat
import pytest
import torch

from convnext_lessons.classroom.notebooks import find_lesson
from convnext_lessons.experiments import collections
from convnext_lessons.experiments.collections import (
    BASE,
    COLLECTIONS,
    GEOMETRIES,
    ON_GPU,
    PILOT,
    PILOT_SEEDS,
    PILOT_STEPS,
    TRIALS,
    VARIANTS,
    CollectionError,
    CollectionStore,
    choose_variant,
    make_collection,
    make_search,
    missing_runs,
    pilot_table,
    pocket_runs,
    summarize_pilot,
)
from convnext_lessons.model import architecture_after, step_of
from convnext_lessons.runs import (
    POCKET,
    REHEARSAL,
    Experiment,
    RunStore,
    make_experiment,
    reference_runs,
)
from convnext_lessons.runs.records import SCHEMA
from convnext_lessons.system import DeviceError, reference_folder
from convnext_lessons.training import Run


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "collection.jsonl")


def stored(variant, experiment):
    return {"schema": SCHEMA, "variant": variant, "settings": experiment.settings()}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_at_first_everything_is_missing(name, store):
    assert missing_runs(name, store) == COLLECTIONS[name]()


@pytest.mark.parametrize("name", COLLECTIONS)
def test_no_run_is_made_twice(name):
    assert len(set(COLLECTIONS[name]())) == len(COLLECTIONS[name]())


@pytest.mark.parametrize("name", COLLECTIONS)
def test_what_is_stored_is_no_longer_missing(name, store):
    everything = COLLECTIONS[name]()
    for done, (variant, experiment) in enumerate(everything[:3], start=1):
        store.append(stored(variant, experiment))
        assert missing_runs(name, store) == everything[done:]


def test_a_run_of_another_seed_is_still_missing(store):
    (variant, experiment), *_ = everything = pocket_runs()
    store.append(stored(variant, Experiment(experiment.architecture, experiment.recipe, seed=999)))
    assert missing_runs("pocket", store) == everything


def test_unknown_collection_is_refused(store, refuses):
    with refuses(CollectionError, "'nonsense'", "pocket"):
        missing_runs("nonsense", store)
    with refuses(CollectionError, "'nonsense'"):
        make_collection("nonsense", store=store)


@pytest.mark.parametrize("name", ON_GPU)
def test_what_wants_a_gpu_is_not_made_on_the_cpu(name, store, refuses):
    with refuses(CollectionError, name, "reference gpu"):
        make_collection(name, store=store)


def test_a_whole_collection_makes_nothing(store, monkeypatch):
    pair = pocket_runs()[0]
    monkeypatch.setitem(COLLECTIONS, "pocket", lambda: [pair])
    monkeypatch.setattr(collections, "load_images", pytest.fail)
    store.append(stored(*pair))
    make_collection("pocket", store=store, progress=pytest.fail)
    assert len(store.runs()) == 1


@pytest.mark.parametrize(
    ("status", "fast", "kept"), [("complete", False, 1), ("interrupted", False, 0), ("complete", True, 0)]
)
def test_only_whole_runs_are_kept(store, status, fast, kept):
    collection = CollectionStore(store.path, "the variant")
    collection.append({"schema": SCHEMA, "status": status, "fast": fast})
    assert [run["variant"] for run in store.runs()] == ["the variant"] * kept


def test_a_cut_down_run_never_becomes_a_reference(store):
    variant, experiment = pocket_runs()[0]
    assert f"step {experiment.step}" in collections._make_one(variant, experiment, store.path, "cpu")
    assert store.runs() == []


def test_runs_are_float32_on_every_device(store, monkeypatch):
    asked = {}

    def train(experiment, images, device, store, options):
        asked.update(device=device, precision=options.precision, tf32=torch.backends.cudnn.allow_tf32)
        return Run({"accuracy": 0.5, "seconds": 1.0, "status": "complete", "step": "0", "seed": 0, "curve": []}, None)

    monkeypatch.setattr(collections, "train", train)
    collections._make_one(*pocket_runs()[0], store.path, "cuda")
    assert asked == {"device": "cuda", "precision": torch.float32, "tf32": False}


def test_fast_mode_makes_no_reference(store, refuses, monkeypatch):
    monkeypatch.setattr(collections, "load_images", pytest.fail)
    with refuses(CollectionError, "Fast mode"):
        make_collection("pocket", store=store)
    with refuses(CollectionError, "Fast mode"):
        make_search(store=store)


def test_a_device_that_is_not_here_is_refused_before_anything_is_decoded(full_mode, store, monkeypatch, refuses):
    monkeypatch.setattr(collections, "load_images", pytest.fail)
    with refuses(DeviceError, "'cuda:7'"):
        make_collection("pocket", device="cuda:7", store=store)


def test_summary_by_hand():
    values = {("a", "0"): (0.1, 0.3), ("a", "8"): (0.2, 0.6), ("b", "0"): (0.5,)}
    runs = [
        {"variant": variant, "step": step, "accuracy": accuracy}
        for (variant, step), accuracies in values.items()
        for accuracy in accuracies
    ]
    summary = summarize_pilot(runs)
    assert summary["a"]["steps"] == {"0": [0.1, 0.3], "8": [0.2, 0.6]}
    assert summary["a"]["mean"] == pytest.approx(0.3)
    assert summary["a"]["spread"] == pytest.approx(0.05**0.5)
    assert (summary["b"]["mean"], summary["b"]["spread"]) == (0.5, None)


def test_a_step_that_a_variant_leaves_alone_has_the_runs_of_the_base():
    values = [(BASE, "0", 0.1), (BASE, "11", 0.2), ("variant", "11", 0.5)]
    summary = summarize_pilot(
        [{"variant": variant, "step": step, "accuracy": value} for variant, step, value in values]
    )
    assert summary["variant"]["steps"] == {"11": [0.5], "0": [0.1]}
    assert summary["variant"]["mean"] == pytest.approx(0.3)
    assert summary[BASE]["mean"] == pytest.approx(0.15)


def test_the_pilots_table_begins_with_the_best_mean_and_marks_the_choice():
    runs = [
        {"variant": variant, "step": step, "accuracy": mean + seed * spread}
        for variant, mean, spread in (("far", 0.5, 0.0), ("near", 0.598, 0.01), ("best", 0.6, 0.02))
        for step in PILOT_STEPS
        for seed in PILOT_SEEDS
    ]
    table = pilot_table(runs)
    assert [row[0] for row in table.rows] == ["best", "near", "far"]
    assert table.rows[1] == ["near", "60.3", "0.7", *["60.3"] * len(PILOT_STEPS)]
    assert table.head == ("variant", "mean", "spread", "step 0", "step 6", "step 8", "step 11")
    assert [table.rows[index][0] for index in table.marked] == ["near"]


def test_trials_and_steps_of_the_road_are_told_apart():
    assert [step_of(architecture) for architecture in TRIALS.values()] == [None] * len(TRIALS)


def test_all_eight_subsets_have_runs():
    for field, whole, kept in (("activate_after", "7", "8"), ("normalize_after", "8", "9")):
        tried = {
            frozenset(getattr(architecture, field))
            for architecture in TRIALS.values()
            if architecture_after(whole).change(**{field: getattr(architecture, field)}) == architecture
        }
        tried |= {frozenset(getattr(architecture_after(step), field)) for step in (whole, kept)}
        assert len(tried) == 8


# What is stored, held against what the course says of it --------------------------------------------------------------

COLLECTED = [(name, run) for name in COLLECTIONS for run in reference_runs(name)]


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_stored_collection_is_whole(name):
    assert missing_runs(name, RunStore(reference_folder() / f"{name}.jsonl")) == []
    assert len(reference_runs(name)) == len(COLLECTIONS[name]())


@pytest.mark.parametrize(
    "run", [run for _, run in COLLECTED], ids=[f"{name}-{i}" for i, (name, _) in enumerate(COLLECTED)]
)
def test_a_stored_run_is_what_it_says(run):
    experiment = Experiment.from_settings(run["settings"])
    assert (experiment.step, experiment.seed, experiment.recipe.name) == (run["step"], run["seed"], run["recipe"])
    assert run["status"] == "complete" and not run["fast"]
    assert run["images"]["note"] == "Imagenette v2, squashed to 160×160"
    assert run["accuracy"] == run["curve"][-1]["accuracy"]
    assert (
        run["curve"][-1]["pictures"]
        == experiment.recipe.epochs * (9469 // experiment.recipe.batch_size) * experiment.recipe.batch_size
    )
    assert {"torch", "torchvision", "python"} <= run["versions"].keys()
    assert run["device"]["threads"] == 1


def test_the_pocket_recipe_is_the_one_that_the_pilot_chose():
    chosen = choose_variant(summarize_pilot(reference_runs("pilot")))
    assert PILOT.change(**{**GEOMETRIES, **VARIANTS}[chosen]).change(name="pocket") == POCKET


def test_the_data_readme_prints_what_the_runs_say():
    page = (reference_folder().parent / "README.md").read_text()
    assert pilot_table(reference_runs("pilot")).markdown() in page
    for run in reference_runs("pace"):
        assert f"{run['seconds']:.0f} s" in page and run["device"]["threads"] == 2


def test_the_jump_at_8_and_the_fall_behind_it_hold_in_every_variant():
    for found in summarize_pilot(reference_runs("pilot")).values():
        means = {step: statistics.fmean(values) for step, values in found["steps"].items()}
        assert means["8"] > max(means["6"], means["11"])


def test_the_choice_is_the_smallest_spread_within_a_point_of_the_best():
    summary = {
        "best": {"mean": 0.60, "spread": 0.02},
        "near": {"mean": 0.595, "spread": 0.01},
        "far": {"mean": 0.58, "spread": 0.001},
    }
    assert choose_variant(summary) == "near"


def test_the_page_and_lesson_12_tell_the_rehearsal_as_it_was():
    (run,) = reference_runs("rehearsal")
    assert (run["step"], run["status"], run["recipe"], run["processes"]) == ("11", "complete", "rehearsal", 2)
    assert Experiment.from_settings(run["settings"]) == make_experiment(11, REHEARSAL)
    last = run["curve"][-1]
    assert last["accuracy"] == run["accuracy"]
    page = (reference_folder().parent / "README.md").read_text()
    averaged, unaveraged = (f"{100 * last[name]:.1f} %" for name in ("accuracy", "accuracy_unaveraged"))
    assert f"{averaged} for the averaged weights" in page and f"({unaveraged} for the last ones)" in page
    cells = nbformat.read(find_lesson(12), as_version=4).cells
    lesson = " ".join(" ".join(cell.source.split()) for cell in cells)
    assert f"its {REHEARSAL.epochs} epochs took {run['seconds'] / 60:.0f} minutes" in lesson
    assert f"The rehearsal ends at {100 * run['accuracy']:.0f} % after {REHEARSAL.epochs} epochs" in lesson
