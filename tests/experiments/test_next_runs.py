import pytest

from convnext_lessons.experiments import next_runs as module
from convnext_lessons.experiments.collections import CollectionError
from convnext_lessons.experiments.designs import NEW_TRIALS, TAKE_AWAY, TRIALS
from convnext_lessons.experiments.next_runs import LADDER, make_next, next_recipes, next_runs
from convnext_lessons.experiments.search import START
from convnext_lessons.model import architecture_after, count, step_of
from convnext_lessons.runs.records import SCHEMA

MUON = START.change(name="pocket", algorithm="muon", initialization="lecun_normal", width_factor=1 / 8)
ADAMW = START.change(name="other", width_factor=1 / 8)


def test_nothing_is_made_before_the_search_is_over(monkeypatch, refuses):
    monkeypatch.setattr(module, "reference_runs", lambda name: [])
    with refuses(CollectionError, "search"):
        next_recipes()
    with refuses(CollectionError, "search"):
        make_next(progress=pytest.fail)


def test_recipes_have_the_names_of_their_collections(monkeypatch):
    monkeypatch.setattr(module, "chosen_recipes", lambda found: {"adamw": ADAMW, "muon": MUON})
    pocket, other = next_recipes()
    assert (pocket.name, pocket.algorithm, other.name, other.algorithm) == ("pocket", "adamw", "other", "muon")


@pytest.mark.parametrize("name", next_runs(MUON, ADAMW))
def test_no_run_is_made_twice(name):
    runs = next_runs(MUON, ADAMW)[name]
    assert len(set(runs)) == len(runs)


def test_every_network_has_whole_channels():
    for runs in next_runs(MUON, ADAMW).values():
        for _, experiment in runs:
            experiment.architecture.thinner(experiment.recipe.width_factor)


def test_the_road_is_made_by_both_recipes():
    runs = next_runs(MUON, ADAMW)
    by_chosen = {(experiment.step, experiment.seed) for _, experiment in runs["pocket"]}
    by_other = {(experiment.step, experiment.seed) for _, experiment in runs["other"]}
    assert len(by_chosen) == 17 * 5 and len(by_other) == 12 * 3 and by_other < by_chosen
    assert {experiment.recipe for _, experiment in runs["other"]} == {ADAMW}


def test_the_ladder_differs_in_epochs_and_regularisation_alone():
    ladder = next_runs(MUON, ADAMW)["ladder"]
    trained = {(variant, experiment.step) for variant, experiment in ladder if not variant.startswith("plain")}
    for epochs, steps in LADDER.items():
        assert {(f"{name}, {epochs} epochs", step) for name in ("lean", "regularised") for step in steps} <= trained
    for variant, experiment in ladder:
        recipe = experiment.recipe
        if variant.startswith("lean"):
            assert recipe.change(name="pocket", epochs=MUON.epochs) == MUON
        elif variant.startswith("regularised"):
            assert recipe.mixup == 0.8 and recipe.initialization == MUON.initialization
        else:
            assert (recipe.algorithm, recipe.weight_decay, experiment.step) == ("sgd", 1e-4, "0")
            assert recipe.initialization == MUON.initialization
    assert len(ladder) == 3 * 2 * (5 + 5 + 3) + 3 * 3 * 2


@pytest.mark.parametrize("number", [1, 2, *range(4, 12)])
def test_taking_a_step_away_undoes_its_changes_alone(number):
    without, convnext = TAKE_AWAY[f"without {number}"], architecture_after(11)
    changed = set(without.differences(convnext))
    assert changed == set(architecture_after(number).differences(architecture_after(number - 1)))
    assert step_of(without) == ("10" if number == 11 else None)


def test_step_3_cannot_be_taken_away():
    assert len(TAKE_AWAY) == 10
    dense = architecture_after(11).change(depthwise=False, width=64)
    assert round(count(dense).macs / 1e9, 1) == 13.3


def test_new_trials_cost_what_the_step_beside_them_costs():
    macs = {name: count(design).macs for name, design in NEW_TRIALS.items()}
    for names, step in (
        (("blocks 9, 3, 3, 3", "blocks 3, 3, 3, 9"), 1),
        (("4 groups, width 80",), 2),
        (("expansion 1, width 192", "expansion 2, width 136"), 4),
    ):
        for name in names:
            assert macs[name] == pytest.approx(count(architecture_after(step)).macs, rel=0.025)
    assert not set(NEW_TRIALS) & set(TRIALS)


def test_what_is_stored_is_not_made_again(tmp_path, monkeypatch):
    made = []

    def make_runs(runs, store, processes, device, progress):
        made.append((store.path.stem, len(runs)))
        for variant, experiment in runs:
            store.append({"schema": SCHEMA, "variant": variant, "settings": experiment.settings()})

    monkeypatch.setattr(module, "next_recipes", lambda: (MUON, ADAMW))
    monkeypatch.setattr(module, "reference_folder", lambda: tmp_path)
    monkeypatch.setattr(module, "make_runs", make_runs)
    make_next(progress=lambda words: None)
    assert [name for name, _ in made] == list(next_runs(MUON, ADAMW))
    assert {path.stem for path in (tmp_path / "next").iterdir() if path.suffix == ".jsonl"} == {
        name for name, _ in made
    }
    made.clear()
    make_next(progress=pytest.fail)
    assert made == []
