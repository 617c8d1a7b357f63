import itertools
import statistics

import nbformat
import pytest

from convnext_lessons import reference
from convnext_lessons.model.cost import Latency
from convnext_lessons.classroom.notebooks import find_lesson
from convnext_lessons.system.settings import reference_folder
from convnext_lessons.runs.recipes import POCKET, REHEARSAL
from convnext_lessons.runs.records import SCHEMA, Experiment, RunStore, make_experiment, reference_runs
from convnext_lessons.experiments.collections import COLLECTIONS, GEOMETRIES, PILOT, TRIALS, VARIANTS, CollectionError, choose, make, make_times, missing, pocket_runs, summarize, pilot_table
from convnext_lessons.runs.records import read_times
from convnext_lessons.model.roadmap import architecture_after, step_of


@pytest.fixture
def ledger(tmp_path):
    return RunStore(tmp_path / "collection.jsonl")


def stored(variant, what):
    return {"schema": SCHEMA, "variant": variant, "settings": what.settings()}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_at_first_everything_is_missing(name, ledger):
    assert missing(name, ledger) == COLLECTIONS[name]()


@pytest.mark.parametrize("name", COLLECTIONS)
def test_no_run_is_made_twice(name):
    assert len(set(COLLECTIONS[name]())) == len(COLLECTIONS[name]())


@pytest.mark.parametrize("name", COLLECTIONS)
def test_what_is_stored_is_no_longer_missing(name, ledger):
    everything = COLLECTIONS[name]()
    for done, (variant, what) in enumerate(everything[:3], start=1):
        ledger.append(stored(variant, what))
        assert missing(name, ledger) == everything[done:]


def test_a_run_of_another_seed_is_still_missing(ledger):
    (variant, what), *_ = everything = pocket_runs()
    ledger.append(stored(variant, type(what)(what.architecture, what.recipe, seed=999)))
    assert missing("pocket", ledger) == everything


def test_unknown_collection_is_refused(ledger, refuses):
    with refuses(CollectionError, "'nonsense'", "pocket"):
        missing("nonsense", ledger)
    with refuses(CollectionError, "'nonsense'"):
        make("nonsense", ledger=ledger)


@pytest.mark.parametrize("name", reference.ON_GPU)
def test_what_wants_a_gpu_is_not_made_on_the_cpu(name, ledger, refuses):
    with refuses(CollectionError, name, "reference gpu"):
        make(name, ledger=ledger)


def test_a_whole_collection_makes_nothing(ledger, monkeypatch):
    pair = pocket_runs()[0]
    monkeypatch.setitem(COLLECTIONS, "pocket", lambda: [pair])
    monkeypatch.setattr(reference, "load_images", pytest.fail)
    ledger.append(stored(*pair))
    make("pocket", ledger=ledger, progress=pytest.fail)
    assert len(ledger.runs()) == 1


@pytest.mark.parametrize(
    ("status", "fast", "kept"), [("complete", False, 1), ("interrupted", False, 0), ("complete", True, 0)]
)
def test_only_whole_runs_are_kept(ledger, status, fast, kept):
    tagged = reference.Tagged(ledger.path, "the variant")
    tagged.append({"schema": SCHEMA, "status": status, "fast": fast})
    assert [run["variant"] for run in ledger.runs()] == ["the variant"] * kept


def test_a_cut_down_run_never_becomes_a_reference(ledger):
    variant, what = pocket_runs()[0]
    assert f"step {what.step}" in reference._one(variant, what, ledger.path)
    assert ledger.runs() == []


def test_summary_by_hand():
    values = {("a", "0"): (0.1, 0.3), ("a", "8"): (0.2, 0.6), ("b", "0"): (0.5,)}
    runs = [
        {"variant": variant, "step": step, "accuracy": accuracy}
        for (variant, step), accuracies in values.items()
        for accuracy in accuracies
    ]
    pilot_table = summarize(runs)
    assert pilot_table["a"]["steps"] == {"0": [0.1, 0.3], "8": [0.2, 0.6]}
    assert pilot_table["a"]["mean"] == pytest.approx(0.3)
    assert pilot_table["a"]["spread"] == pytest.approx(0.05**0.5)
    assert (pilot_table["b"]["mean"], pilot_table["b"]["spread"]) == (0.5, None)


def test_a_step_that_a_variant_leaves_alone_has_the_runs_of_the_base():
    values = [(reference.BASE, "0", 0.1), (reference.BASE, "11", 0.2), ("variant", "11", 0.5)]
    pilot_table = summarize([{"variant": variant, "step": step, "accuracy": value} for variant, step, value in values])
    assert pilot_table["variant"]["steps"] == {"11": [0.5], "0": [0.1]}
    assert pilot_table["variant"]["mean"] == pytest.approx(0.3)
    assert pilot_table[reference.BASE]["mean"] == pytest.approx(0.15)


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


def test_times_are_medians_of_rounds(tmp_path, monkeypatch):
    spent = itertools.count(1)
    monkeypatch.setattr(reference, "reference_folder", lambda: tmp_path)
    monkeypatch.setattr(reference, "build", lambda architecture: None)
    monkeypatch.setattr(
        reference,
        "latency",
        lambda network, training: Latency(float(next(spent)), {}, {}, "a device", 2, 4, training),
    )
    make_times(rounds=3, progress=lambda words: None)
    kept = read_times()
    # Rounds of 24 measurements, forward before training: the middle one is the second round's.
    assert kept["forward"]["0"] == 25 and kept["training"]["11"] == 48
    assert kept["device"] == {"name": "a device", "threads": 2} and kept["batch_size"] == 4


# What is stored, held against what the course says of it --------------------------------------------------------------

COLLECTED = [(name, run) for name in COLLECTIONS for run in reference_runs(name)]


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_stored_collection_is_whole(name):
    assert missing(name, RunStore(reference_folder() / f"{name}.jsonl")) == []
    assert len(reference_runs(name)) == len(COLLECTIONS[name]())


@pytest.mark.parametrize(
    "run", [run for _, run in COLLECTED], ids=[f"{name}-{i}" for i, (name, _) in enumerate(COLLECTED)]
)
def test_a_stored_run_is_what_it_says(run):
    what = Experiment.from_settings(run["settings"])
    assert (what.step, what.seed, what.recipe.name) == (run["step"], run["seed"], run["recipe"])
    assert run["status"] == "complete" and not run["fast"]
    assert run["images"]["note"] == "Imagenette v2, squashed to 160×160"
    assert run["accuracy"] == run["curve"][-1]["accuracy"]
    assert (
        run["curve"][-1]["pictures"] == what.recipe.epochs * (9469 // what.recipe.batch_size) * what.recipe.batch_size
    )
    assert {"torch", "torchvision", "python"} <= run["versions"].keys()
    assert run["device"]["threads"] == 1


def test_the_pocket_recipe_is_the_one_that_the_pilot_chose():
    chosen = choose(summarize(reference_runs("pilot")))
    assert PILOT.change(**{**GEOMETRIES, **VARIANTS}[chosen]).change(name="pocket") == POCKET


def test_the_data_readme_prints_what_the_runs_say():
    page = (reference_folder().parent / "README.md").read_text()
    assert pilot_table(reference_runs("pilot")) in page
    for run in reference_runs("pace"):
        assert f"{run['seconds']:.0f} s" in page and run["device"]["threads"] == 2


def test_the_jump_at_8_and_the_fall_behind_it_hold_in_every_variant():
    for found in summarize(reference_runs("pilot")).values():
        means = {step: statistics.fmean(values) for step, values in found["steps"].items()}
        assert means["8"] > max(means["6"], means["11"])


def test_the_choice_is_the_smallest_spread_within_a_point_of_the_best():
    summary = {
        "best": {"mean": 0.60, "spread": 0.02},
        "near": {"mean": 0.595, "spread": 0.01},
        "far": {"mean": 0.58, "spread": 0.001},
    }
    assert choose(summary) == "near"


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
