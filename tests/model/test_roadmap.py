from dataclasses import fields

import pytest

from convnext_lessons.model import (
    LAST_STEP,
    PAPER_STEPS,
    RESNET50,
    START,
    STEPS,
    SWIN_T,
    TITLES,
    Architecture,
    UnknownStep,
    architecture_after,
    paper_after,
    roadmap,
    step_of,
)
from convnext_lessons.model.roadmap import LABELS, Change, Step, label_of

# Liu et al., arXiv 2201.03545, Table 10: top-1 %, its spread over three seeds, GFLOPs.
TABLE_10 = {
    "0": (78.82, 0.07, 4.09),
    "1": (79.36, 0.07, 4.53),
    "2": (79.51, 0.18, 4.42),
    "3a": (78.28, 0.08, 2.35),
    "3b": (80.50, 0.02, 5.27),
    "4": (80.64, 0.03, 4.64),
    "5": (79.92, 0.08, 4.07),
    "6a": (80.35, 0.08, 4.10),
    "6b": (80.57, 0.14, 4.15),
    "6c": (80.57, 0.06, 4.21),
    "6d": (80.47, 0.11, 4.29),
    "7": (80.62, 0.14, 4.15),
    "8": (81.27, 0.06, 4.15),
    "9": (81.41, 0.09, 4.15),
    "10": (81.47, 0.09, 4.46),
    "11": (81.97, 0.06, 4.49),
}
CHANGES = [change for step in STEPS for change in step.changes]
ALTERNATIVES = [(step, change) for step in STEPS for change in step.alternatives]


@pytest.mark.parametrize("label", TABLE_10)
def test_the_papers_figures(label):
    paper = paper_after(label)
    assert (paper.accuracy, paper.spread, paper.gmacs) == TABLE_10[label]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.slug)
def test_a_step_is_reported_by_its_last_change(step):
    last = step.changes[-1].label
    assert paper_after(step.number) == paper_after(last) == step.paper
    assert architecture_after(step.number) == architecture_after(last)


def test_the_paper_reports_nothing_before_the_layer_scale():
    assert paper_after("11a") is None


def test_both_ends_of_the_comparison():
    assert paper_after(0) == START
    assert (SWIN_T.accuracy, SWIN_T.gmacs) == (81.30, 4.50)


def test_the_steps_are_numbered_in_order():
    assert [step.number for step in STEPS] == list(range(1, LAST_STEP + 1))
    assert [step.title for step in STEPS] == list(TITLES[1:])
    assert len({step.slug for step in STEPS}) == len(STEPS)


def test_every_label_is_there_once():
    steps = {"0", *(str(step.number) for step in STEPS)}
    parts = {change.label for change in (*CHANGES, *(other for _, other in ALTERNATIVES))}
    assert set(LABELS) == steps | parts
    assert len(LABELS) == len(set(LABELS))


def test_every_row_of_the_paper_is_on_the_road():
    assert set(TABLE_10) <= set(LABELS)
    assert {label for label in TABLE_10 if label.isdigit()} <= {"0", *map(str, PAPER_STEPS)}


def test_each_change_names_one_field_and_moves_it():
    architecture = RESNET50
    names = {field.name for field in fields(Architecture)}
    for change in CHANGES:
        assert change.field in names
        after = architecture.change(**{change.field: change.value})
        assert set(after.differences(architecture)) == {change.field}, change.label
        architecture = after


@pytest.mark.parametrize(("step", "other"), ALTERNATIVES, ids=[change.label for _, change in ALTERNATIVES])
def test_an_alternative_stands_in_the_place_of_the_change(step, other):
    chosen = step.changes[-1]
    differences = architecture_after(other.label).differences(architecture_after(step.number))
    assert differences == {chosen.field: (other.value, chosen.value)}


def test_the_changes_lead_from_resnet_to_the_last_step():
    architecture = RESNET50
    for change in CHANGES:
        architecture = architecture.change(**{change.field: change.value})
        assert architecture == architecture_after(change.label)
    assert architecture == architecture_after(LAST_STEP)


def test_convnext_tiny_field_by_field():
    assert architecture_after(11) == Architecture(
        depths=(3, 3, 9, 3),
        stem="patchify",
        depthwise=True,
        width=96,
        inverted=True,
        depthwise_first=True,
        kernel_size=7,
        activation="gelu",
        activate_after=("second",),
        normalize_after=("first",),
        norm="layer",
        downsampling="separate",
        layer_scale=True,
    )


@pytest.mark.parametrize("number", range(LAST_STEP + 1))
def test_a_step_may_be_named_by_number_or_text(number):
    assert label_of(number) == label_of(str(number)) == str(number)
    assert architecture_after(number) is architecture_after(str(number))


@pytest.mark.parametrize("step", [LAST_STEP + 1, -1, "3c", "", None, True, 4.5, "eleven"])
def test_unknown_step_is_refused(step, refuses):
    with refuses(UnknownStep, repr(step), "3a"):
        architecture_after(step)


@pytest.mark.parametrize("label", LABELS)
def test_an_architecture_of_the_road_is_found_by_its_shortest_label(label):
    found = step_of(architecture_after(label))
    assert architecture_after(found) == architecture_after(label)
    assert found == label or (found.isdigit() and not label.isdigit())


def test_an_architecture_beside_the_road_has_no_label():
    assert step_of(architecture_after(LAST_STEP).change(kernel_size=13)) is None


# A step of one's own --------------------------------------------------------------------------------------------------


@pytest.fixture
def own_step(monkeypatch):
    """One step more at the end of the road, of which the paper does not know."""
    number = LAST_STEP + 1
    step = Step(number, "wide_stem", "Wide stem", (Change(str(number), "patch_size", 8, None),))
    monkeypatch.setattr(roadmap, "STEPS", (*STEPS, step))
    monkeypatch.setattr(roadmap, "_STOPS", roadmap._walk())
    monkeypatch.setattr(roadmap, "LABELS", tuple(roadmap._STOPS))
    return step


def test_a_step_of_ones_own_has_no_numbers_of_the_paper(own_step):
    assert own_step.paper is None
    assert paper_after(own_step.number) is None


def test_a_step_of_ones_own_goes_on_from_the_last(own_step):
    after = architecture_after(own_step.number)
    assert after.differences(architecture_after(LAST_STEP)) == {"patch_size": (8, 4)}
    assert step_of(after) == str(own_step.number)


def test_the_papers_steps_are_those_that_it_reports_on():
    assert [step.number for step in STEPS if paper_after(step.number) is not None] == list(PAPER_STEPS)
