import statistics

import pytest

from convnext_lessons import reference
from convnext_lessons.records import SCHEMA, Ledger
from convnext_lessons.reference import (
    COLLECTIONS,
    CollectionError,
    make,
    missing,
    pocket_runs,
    pooled_spread,
    summarize,
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "collection.jsonl")


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
    tagged = reference._Tagged(ledger.path, "the variant")
    tagged.append({"schema": SCHEMA, "status": status, "fast": fast})
    assert [run["variant"] for run in ledger.runs()] == ["the variant"] * kept


def test_a_cut_down_run_never_becomes_a_reference(ledger):
    variant, what = pocket_runs()[0]
    assert f"step {what.step}" in reference._one(variant, what, ledger.path)
    assert ledger.runs() == []


def test_pooled_spread_by_hand():
    # Variances 0.02 and 0.08, their mean 0.05.
    assert pooled_spread([[0.1, 0.3], [0.2, 0.6]]) == pytest.approx(0.05**0.5)


def test_pooled_spread_of_one_group_is_its_standard_deviation():
    values = [0.1, 0.4, 0.5, 0.9]
    assert pooled_spread([values]) == pytest.approx(statistics.stdev(values))


def test_groups_of_one_say_nothing_about_spread():
    assert pooled_spread([[0.1, 0.3], [0.9]]) == pytest.approx(0.02**0.5)
    assert pooled_spread([[0.1], [0.9]]) is None
    assert pooled_spread([]) is None


def test_summary_by_hand():
    values = {("a", "0"): (0.1, 0.3), ("a", "8"): (0.2, 0.6), ("b", "0"): (0.5,)}
    runs = [
        {"variant": variant, "step": step, "accuracy": accuracy}
        for (variant, step), accuracies in values.items()
        for accuracy in accuracies
    ]
    table = summarize(runs)
    assert table["a"]["steps"] == {"0": [0.1, 0.3], "8": [0.2, 0.6]}
    assert table["a"]["mean"] == pytest.approx(0.3)
    assert table["a"]["spread"] == pytest.approx(0.05**0.5)
    assert (table["b"]["mean"], table["b"]["spread"]) == (0.5, None)


def test_a_step_that_a_variant_leaves_alone_has_the_runs_of_the_base():
    values = [(reference.BASE, "0", 0.1), (reference.BASE, "11", 0.2), ("variant", "11", 0.5)]
    table = summarize([{"variant": variant, "step": step, "accuracy": value} for variant, step, value in values])
    assert table["variant"]["steps"] == {"11": [0.5], "0": [0.1]}
    assert table["variant"]["mean"] == pytest.approx(0.3)
    assert table[reference.BASE]["mean"] == pytest.approx(0.15)
