"""What the lessons print and say of stored runs, computed once more from the runs."""

import re
import statistics

import nbformat
import pytest

from convnext_lessons.classroom.notebooks import find_lesson, list_lessons
from convnext_lessons.figures import show_gains
from convnext_lessons.model import PAPER_STEPS, architecture_after, paper_after
from convnext_lessons.runs import (
    compare_groups,
    compare_runs,
    compare_steps,
    group_name,
    reference_runs,
    stored_time_ratio,
    validated_points,
)
from convnext_lessons.system import reference_folder

# "step 4  59.1 ± 0.9 % over 5 runs" in what a cell prints, "step 4: 59.1 ± 0.9 % over 5 stored runs" beside a plot.
TOLD = re.compile(r"(?:^|; |: )([\w ,+-]+?):? +(\d+\.\d) ± (\d+\.\d) % over (\d+) (?:stored )?runs", re.M)


def stored_groups():
    groups = {}
    for run in (run for name in ("pocket", "trials", "budgets") for run in reference_runs(name)):
        groups.setdefault(group_name(run), []).append(100 * run["accuracy"])
    return groups


def printed(number):
    """Everything that a lesson's committed results say in words."""
    for cell in nbformat.read(find_lesson(number), as_version=4).cells:
        for output in cell.get("outputs", []):
            yield output.get("text") or output.get("data", {}).get("text/plain", "")


def prose(number):
    cells = nbformat.read(find_lesson(number), as_version=4).cells
    return " ".join(" ".join(cell.source.split()) for cell in cells if cell.cell_type == "markdown")


def group_called(name, groups, number):
    """The stored group of a name. The pictures of lessons 08 and 09 call the designs by the places of what they keep,
    and 08's puts memory beside."""
    name = re.sub(r" \d+ MB,$", "", name)
    if name in groups:
        return name
    if number == 9:
        return {"first": "step 9", "first + second + third": "step 8"}.get(name, f"norms {name}")
    return {"second": "step 8", "first + second + addition": "step 7"}.get(name, f"activations {name}")


@pytest.mark.parametrize("number", range(len(list_lessons()) - 1))
def test_every_mean_and_spread_in_a_lesson_is_a_stored_one(number):
    groups = stored_groups()
    found = [match for words in printed(number) for match in TOLD.findall(words)]
    assert found
    for name, mean, spread, count in found:
        values = groups[group_called(name.strip(), groups, number)]
        assert (mean, spread, int(count)) == (
            f"{statistics.fmean(values):.1f}",
            f"{statistics.stdev(values):.1f}",
            len(values),
        )


@pytest.mark.parametrize("number", PAPER_STEPS)
def test_every_lesson_shows_the_road_so_far(number):
    assert repr(show_gains(until=number)) in list(printed(number))


@pytest.mark.parametrize("number", PAPER_STEPS)
def test_every_time_on_a_page_is_the_stored_one(number):
    """Measured while a page is made, a time would depend on what else the machine does at that moment."""
    stored = stored_time_ratio(architecture_after(number - 1), architecture_after(number))
    shown = [words for words in printed(number) if "time of a training step" in words]
    graded = [words for words in shown if f"points for step {number}" in words or "Nothing was predicted" in words]
    assert graded and all(str(stored) in words for words in graded)
    drawn = [words for words in shown if words.startswith("Cost of ")]
    assert drawn and (number == 3 or all(f"time of a training step {stored}." in words for words in drawn))


# What the lessons say in prose, each sentence with what makes it true -------------------------------------------------


def mean(name):
    return statistics.fmean(stored_groups()[name])


def compared(first, *others):
    """The differences of groups of stored runs from the first, corrected together."""
    names = (first, *others)
    runs = [run for name in ("pocket", "trials", "budgets") for run in reference_runs(name)]
    chosen = [run for name in names for run in runs if group_name(run) == name]
    return {found.name: found for found in compare_runs(chosen).differences}


def resolved(step):
    return compare_steps().differences[step - 1].resolved


def test_01_one_side_of_four():
    assert "these runs resolve one: at Swin's shares, two more blocks cost accuracy" in prose(1)
    groups = stored_groups()
    sides = [
        ("step 1", "ratio alone"),
        ("compute alone", "step 0"),
        ("ratio alone", "step 0"),
        ("step 1", "compute alone"),
    ]
    found = compare_groups(groups, sides)
    assert [side.resolved for side in found] == [True, False, False, False] and found[0].points < 0
    assert "the whole step is not resolved" in prose(1) and not resolved(1)


def test_02_07_what_cannot_be_told_apart():
    assert "In our short runs, too, the two stems cannot be told apart." in prose(2) and not resolved(2)
    assert "Both differences, the paper's and ours, lie within their noise." in prose(7) and not resolved(7)


def test_03_depthwise_alone():
    words = "alone it loses more than noise explains, and with the width that loss is gone"
    found = compared("step 2", "step 3a", "step 3")
    assert words in prose(3)
    assert found["step 3a"].resolved and found["step 3a"].points < 0 < found["step 3"].points


def test_05_the_valley():
    assert "Our short runs drop, too, and by more than noise explains." in prose(5)
    assert resolved(5) and compare_steps().differences[4].points < 0


def test_06_only_kernel_11():
    assert "One difference is resolved: 11 is *worse*." in prose(6)
    found = compared("step 6", "step 5", "step 6a", "step 6c", "step 6d")
    assert [name for name, each in found.items() if each.resolved] == ["step 6d"]
    assert found["step 6d"].points < 0


def test_08_the_switches():
    page = prose(8)
    after = {
        "": mean("activations addition") - mean("activations nowhere"),
        "first": mean("activations first + addition") - mean("activations first"),
        "second": mean("activations second + addition") - mean("step 8"),
        "both": mean("step 7") - mean("activations first + second"),
    }
    assert "is worth almost sixteen points" in page and 15.5 < after[""] < 16
    assert "it *costs* three to eight" in page
    assert [round(-after[name]) for name in ("second", "first", "both")] == [3, 5, 8]
    eight = [name for name in stored_groups() if name.startswith("activations")] + ["step 7"]
    found = compared("step 8", *eight)["activations first"]
    assert "*first* is two points ahead of *second*" in page and round(found.points) == 2 and found.resolved
    assert not compared("activations first", "activations first + second")["activations first + second"].resolved


def test_09_the_norms():
    page = prose(9)
    assert "the step loses more than ten points" in page and compare_steps().differences[8].high < -10
    assert "step 9 is four points behind step 8 after one epoch and twelve after four" in page
    for epoch, points in ((0, 4), (3, 12)):
        eight, nine = (
            statistics.fmean(validated_points(run)[epoch]["accuracy"] for run in reference_runs(step=step))
            for step in (8, 9)
        )
        assert round(100 * (eight - nine)) == points
    assert "The third norm beside the first does not help" in page and mean("norms first + third") < mean("step 9")


def test_10_the_exchange():
    page = prose(10)
    assert "The stored runs of the thin copy lose about two points. That is more than noise explains" in page
    assert resolved(10) and round(compare_steps().differences[9].points) == -2
    assert "two of five seeds still give every picture the same class, the others reach 19 to 26 %" in page
    values = sorted(stored_groups()["ResNet-50 with LayerNorm"])
    assert values[0] == values[1] and [round(value) for value in values[2:]] == [19, 25, 26]


def test_00_the_budgets():
    found = {
        epochs: compared(*(f"{name} training, {epochs} epochs" for name in ("lean", "plain", "modern")))
        for epochs in (4, 16)
    }
    assert "AdamW pays from the first epochs" in prose(0)
    assert "What makes the task harder costs points at both budgets, though the gap narrows." in prose(0)
    for by_name in found.values():
        assert all(each.resolved and each.points < 0 for each in by_name.values())
    gaps = [-found[epochs][f"modern training, {epochs} epochs"].points for epochs in (4, 16)]
    assert gaps[0] > gaps[1]


def test_the_front_page_counts_what_is_resolved():
    page = " ".join((reference_folder().parent.parent / "README.md").read_text().split())
    assert "Five of the eleven steps are resolved by these runs; 4, 5 and 8 have the paper's sign, 9 and 10 do" in page
    agree = {}
    for step, found in enumerate(compare_steps().differences, start=1):
        if found.resolved:
            paper = paper_after(step).accuracy - paper_after(step - 1).accuracy
            agree.setdefault(paper * found.points > 0, []).append(step)
    assert agree == {True: [4, 5, 8], False: [9, 10]}
