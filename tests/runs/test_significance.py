"""Statistics by hand, on made-up runs; then what the stored runs and the pages say of each other."""

import json
import statistics

import numpy as np
import pytest
from scipy import stats

from convnext_lessons.figures import show_gains
from convnext_lessons.model import LAST_STEP, PAPER_STEPS, STEPS, roadmap
from convnext_lessons.model.roadmap import Change, Step
from convnext_lessons.runs import (
    POCKET,
    SignificanceError,
    compare_groups,
    compare_runs,
    compare_steps,
    describe_group,
    describe_position,
    make_experiment,
    pooled_spread,
    records,
    reference_runs,
    resolvable_difference,
    significance,
)
from convnext_lessons.system import reference_folder


def run(step, seed, accuracy, recipe=POCKET, note="Imagenette v2", **changes):
    return {
        "step": step,
        "seed": seed,
        "accuracy": accuracy,
        "status": "complete",
        "fast": False,
        "device": {"precision": "float32"},
        "images": {"note": note, "train": 9469, "val": 3925},
        "settings": make_experiment(step, recipe, seed).settings(),
        **changes,
    }


def runs(recipe=POCKET, **groups):
    return [run(step[1:], seed, value, recipe) for step, values in groups.items() for seed, value in enumerate(values)]


def test_welch_by_hand():
    # Variances 4 and 16, over four runs each: the standard error is the root of 5, with 25 / (1/3 + 16/3) degrees.
    groups = {"a": [50 - 6**0.5, 50, 50, 50 + 6**0.5], "b": [60 - 24**0.5, 60, 60, 60 + 24**0.5]}
    (found,) = compare_groups(groups, [("b", "a")])
    freedom = 25 / (1 / 3 + 16 / 3)
    reach = stats.t.ppf(0.975, freedom) * 5**0.5
    assert found.points == pytest.approx(10)
    assert (found.low, found.high) == pytest.approx((10 - reach, 10 + reach))
    assert found.p == pytest.approx(2 * stats.t.sf(10 / 5**0.5, freedom))
    assert found.resolved


@pytest.mark.parametrize(
    ("p_values", "adjusted", "levels"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06], [0.05 / 3, 0.05 / 2, 0.05 / 2]),
        ([0.001, 0.02], [0.002, 0.02], [0.025, 0.05]),
        ([0.5, 0.9], [1.0, 1.0], [0.025, 0.025]),
        ([None, 0.04], [None, 0.04], [0.05, 0.05]),
        ([], [], []),
    ],
)
def test_holm_by_hand(p_values, adjusted, levels):
    found = significance._holm(p_values)
    assert found[0] == [None if p is None else pytest.approx(p) for p in adjusted]
    assert found[1] == pytest.approx(levels)


def test_holm_as_scipy_would():
    p_values = [0.2, 0.001, 0.04, 0.012, 0.013, 0.6, 0.03]
    order = sorted(p_values)
    rejected = 0
    while rejected < len(order) and order[rejected] <= 0.05 / (len(order) - rejected):
        rejected += 1
    adjusted = significance._holm(p_values)[0]
    assert [p < 0.05 for p in adjusted] == [p in order[:rejected] for p in p_values]


def test_an_interval_leaves_out_zero_exactly_where_the_difference_is_resolved():
    base = [50.0, 51.0, 49.5, 50.5, 50.2]
    groups = {"base": base} | {f"{shift}": [value + shift / 10 for value in base] for shift in range(-20, 21)}
    found = compare_groups(groups, [(name, "base") for name in groups if name != "base"])
    assert {each.resolved for each in found} == {True, False}
    for each in found:
        assert each.resolved == (each.low > 0 or each.high < 0)


def test_more_comparisons_make_intervals_wider():
    several = compare_runs(runs(s3=(0.50, 0.51, 0.52), s4=(0.6, 0.61, 0.63), s5=(0.50, 0.52, 0.51)))
    alone = compare_runs(runs(s3=(0.50, 0.51, 0.52), s4=(0.6, 0.61, 0.63)))
    assert several.differences[0].low < alone.differences[0].low < alone.differences[0].points


@pytest.mark.parametrize("values", [((0.1,), (0.5,)), ((0.1, 0.1), (0.1, 0.1))])
def test_without_spread_there_is_no_interval(values):
    (found,) = compare_runs(runs(s3=values[0], s4=values[1])).differences
    assert (found.low, found.high, found.p, found.resolved) == (None, None, None, False)
    assert "no interval: not resolved" in str(found)


def test_runs_compared_in_words():
    lines = repr(compare_runs(runs(s3=(0.10, 0.12), s11=(0.50, 0.52), s5=(0.10, 0.13)))).splitlines()
    assert lines[0] == "step 3   11.0 ± 1.4 % over 2 runs"
    assert lines[1].startswith("step 11  51.0 ± 1.4 % over 2 runs; +40.0 points, interval +")
    assert lines[1].endswith(": resolved") and lines[2].endswith(": not resolved")
    assert "Holm's method for 2 comparisons" in " ".join(lines[3:5])
    assert "With 2 seeds, a true difference of" in lines[5]
    assert max(map(len, lines[3:5])) <= 100


def test_nothing_to_compare_is_said():
    assert "cannot tell two networks apart" in repr(compare_runs([]))


def test_one_group_has_nothing_to_differ_from():
    assert repr(compare_runs(runs(s3=(0.5, 0.6)))) == "step 3  55.0 ± 7.1 % over 2 runs"


def test_a_variant_is_a_group_of_its_own():
    trial = run("1", 0, 0.5, variant="ratio alone")
    assert list(compare_runs([trial, run("1", 0, 0.5)]).groups) == ["ratio alone", "step 1"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (run("4", 1, 0.5, status="interrupted"), ["step 4", "seed 1", "interrupted"]),
        (run("4", 0, 0.5), ["two runs of step 4 with seed 0"]),
        (run("4", 1, 0.5, POCKET.change(image_size=96)), ["step 4 differ in", "recipe"]),
        (run("4", 1, 0.5, POCKET.change(width_factor=1 / 8)), ["step 4 differ in", "recipe"]),
        (run("4", 0, 0.5, POCKET.change(epochs=5)), ["step 4 differ in", "recipe"]),
        (run("4", 1, 0.5, device={"precision": "bfloat16"}), ["step 4 differ in", "number format"]),
        (run("4", 1, 0.5, note="another copy"), ["step 4 differ in", "pictures"]),
        (run("4", 1, 0.5, fast=True), ["step 4 differ in"]),
        (run("5", 0, 0.5), ["step 5", "no run with seed 1"]),
    ],
)
def test_what_must_not_be_averaged_is_refused(wrong, words, refuses):
    good = runs(s3=(0.5, 0.6), s4=(0.5,)) if wrong["step"] == "4" else runs(s3=(0.5, 0.6), s4=(0.5, 0.6))
    with refuses(SignificanceError, *words):
        compare_runs([*good, wrong])


def test_a_missing_seed_is_refused(refuses):
    with refuses(SignificanceError, "step 4 has no run with seed 1, 2"):
        compare_runs(runs(s3=(0.5, 0.6, 0.7), s4=(0.5,)))


def test_a_difference_with_two_causes_is_refused(refuses):
    other = POCKET.change(epochs=5)
    with refuses(SignificanceError, "step 3", "step 4", "two causes"):
        compare_runs(runs(s3=(0.5, 0.6)) + runs(other, s4=(0.5, 0.6)))
    one_network = [dict(each, variant="5 epochs") for each in runs(other, s3=(0.5, 0.6))]
    assert len(compare_runs(runs(s3=(0.5, 0.6)) + one_network).groups) == 2


def test_groups_on_other_pictures_are_refused(refuses):
    with refuses(SignificanceError, "different pictures"):
        compare_runs([run("3", 0, 0.5), run("4", 0, 0.5, note="another copy")])


def test_what_a_recipe_is_called_does_not_matter():
    assert len(compare_runs([run("3", 0, 0.5), run("3", 1, 0.5, POCKET.change(name="lean"))]).groups) == 1


def test_a_group_in_words():
    assert describe_group([50.0, 52.0]) == "51.0 ± 1.4 % over 2 runs"
    assert describe_group([50.0], "networks") == "50.0 % over 1 networks"


def test_a_new_run_among_stored_ones():
    stored = runs(s4=(0.58, 0.60, 0.62), s3=(0.1, 0.2))
    reach = stats.t.ppf(0.975, 2) * 2 * (4 / 3) ** 0.5
    expected = f"inside the {60 - reach:.1f} to {60 + reach:.1f} % expected of one more such run"
    assert describe_position(run("4", 9, 0.61), stored) == f"61.0 %, {expected}"
    assert ", below the " in describe_position(run("4", 9, 0.4), stored)
    assert ", above the " in describe_position(run("4", 9, 0.8), stored)


@pytest.mark.parametrize(
    "other",
    [
        run("5", 9, 0.5),
        run("4", 9, 0.5, note="stand-in"),
        run("4", 9, None),
        run("4", 9, 0.5, fast=True),
        run("4", 0, 0.58),  # a stored run once more; one other is left
    ],
)
def test_a_run_of_another_kind_has_no_position(other):
    assert describe_position(other, runs(s4=(0.58, 0.60))) is None


def test_pooled_spread_by_hand():
    # Variances 0.02 and 0.08, their mean 0.05.
    assert pooled_spread([[0.1, 0.3], [0.2, 0.6]]) == pytest.approx(0.05**0.5)
    assert pooled_spread([[0.1, 0.3], [0.9]]) == pytest.approx(0.02**0.5)
    assert pooled_spread([[0.1], [0.9]]) is None
    assert pooled_spread([]) is None


def test_what_can_be_resolved_as_in_a_textbook():
    # Cohen's tables: two groups of 17 find an effect of one standard deviation with a power of 0.8 at the level 0.05.
    assert resolvable_difference(1.0, 17) == pytest.approx(1.0, abs=0.01)
    assert resolvable_difference(2.0, 17) == pytest.approx(2 * resolvable_difference(1.0, 17))
    assert resolvable_difference(1.0, 5) > resolvable_difference(1.0, 10) > resolvable_difference(1.0, 20)
    assert resolvable_difference(1.0, 5, comparisons=11) > resolvable_difference(1.0, 5)


@pytest.mark.parametrize(("seeds", "comparisons"), [(2, 1), (3, 1), (5, 1), (5, 11), (10, 11)])
def test_so_many_seeds_find_it_four_times_out_of_five(seeds, comparisons):
    draw = np.random.default_rng(0)
    shift = resolvable_difference(1.0, seeds, comparisons)
    first, second = draw.normal(0, 1, (8000, seeds)), draw.normal(shift, 1, (8000, seeds))
    p_values = stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue
    assert np.mean(p_values < 0.05 / comparisons) == pytest.approx(0.8, abs=0.02)


def test_one_seed_resolves_nothing(refuses):
    with refuses(SignificanceError, "1 seeds", "at least 2"):
        resolvable_difference(1.0, 1)


# The steps of the paper -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [PAPER_STEPS[-1] + 1, -1, "3a", 4.5, None])
def test_a_step_beyond_the_papers_is_refused(step, refuses):
    with refuses(SignificanceError, repr(step), f"0 to {PAPER_STEPS[-1]}", "compare_runs"):
        compare_steps(step)


@pytest.mark.parametrize(
    ("gap", "words"), [((4,), "step 4;"), ((0, 5, PAPER_STEPS[-1]), f"step 0, 5, {PAPER_STEPS[-1]};")]
)
def test_steps_without_runs_are_refused(gap, words, monkeypatch, refuses):
    monkeypatch.setattr(significance, "reference_runs", lambda step: [] if step in gap else reference_runs(step=step))
    with refuses(SignificanceError, words, "make reference"):
        compare_steps(until=1)


def test_an_absent_collection_is_refused(tmp_path, monkeypatch, refuses):
    monkeypatch.setattr(records, "reference_folder", lambda: tmp_path)
    with refuses(SignificanceError, ", ".join(map(str, (0, *PAPER_STEPS))), "make reference"):
        compare_steps()


@pytest.fixture
def own_step(monkeypatch):
    """One step more at the end of the road, of which the paper does not know."""
    number = LAST_STEP + 1
    step = Step(number, "wide_stem", "Wide stem", (Change(str(number), "patch_size", 8, None),))
    monkeypatch.setattr(roadmap, "STEPS", (*STEPS, step))
    monkeypatch.setattr(roadmap, "_STOPS", roadmap._walk())
    monkeypatch.setattr(roadmap, "LABELS", tuple(roadmap._STOPS))
    return number


def test_stored_runs_of_a_step_of_ones_own_stay_out_of_the_family(own_step, tmp_path, monkeypatch, refuses):
    before = compare_steps()
    stored = (reference_folder() / "pocket.jsonl").read_text()
    more = [{"schema": records.SCHEMA, **run(str(own_step), seed, 0.5 + seed / 100)} for seed in range(5)]
    (tmp_path / "pocket.jsonl").write_text(stored + "".join(json.dumps(each) + "\n" for each in more))
    monkeypatch.setattr(records, "reference_folder", lambda: tmp_path)
    assert reference_runs(step=own_step) == more
    assert compare_steps() == before
    with refuses(SignificanceError, str(own_step)):
        compare_steps(own_step)


# What is stored -------------------------------------------------------------------------------------------------------


def test_the_papers_steps_are_one_family():
    found = compare_steps()
    assert (len(found.differences), found.until) == (len(PAPER_STEPS), PAPER_STEPS[-1])
    accuracies = {
        step: [100 * run["accuracy"] for run in sorted(reference_runs(step=step), key=lambda run: run["seed"])]
        for step in (0, *PAPER_STEPS)
    }
    assert found.groups == {f"step {step}": values for step, values in accuracies.items()}
    by_step = dict(zip(PAPER_STEPS, found.differences, strict=True))
    p_values = {}
    for step, difference in by_step.items():
        here, before = accuracies[step], accuracies[step - 1]
        assert (difference.name, difference.than) == (f"step {step}", f"step {step - 1}")
        assert difference.points == pytest.approx(statistics.fmean(here) - statistics.fmean(before))
        p_values[step] = stats.ttest_ind(here, before, equal_var=False).pvalue
    order = sorted(p_values, key=p_values.get)
    for rank, step in enumerate(order):
        expected = max(min(1.0, (len(order) - lower) * p_values[order[lower]]) for lower in range(rank + 1))
        assert by_step[step].p == pytest.approx(expected)


@pytest.mark.parametrize("until", [0, 4])
def test_fewer_steps_are_shown_and_all_are_compared(until):
    shown, whole = compare_steps(until), compare_steps()
    assert shown.until == until
    assert (shown.groups, shown.differences) == (whole.groups, whole.differences)


def test_the_pages_print_what_the_runs_say():
    page = (reference_folder().parent / "README.md").read_text()
    by_step = {}
    for run in reference_runs("pocket"):
        by_step.setdefault(run["step"], []).append(100 * run["accuracy"])
    for step, values in by_step.items():
        assert f"| {step} | {statistics.fmean(values):.1f} | {statistics.stdev(values):.1f} |" in page
    spread = pooled_spread(by_step.values())
    assert f"With a pooled spread of {spread:.2f} points" in page
    for seeds in (2, 3, 5, 10, 20):
        alone, among = resolvable_difference(spread, seeds), resolvable_difference(spread, seeds, len(PAPER_STEPS))
        assert f"| {seeds} | {alone:.1f} | {among:.1f} |" in page
    assert show_gains().markdown() in page
