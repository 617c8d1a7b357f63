from dataclasses import fields

import pytest

from convnext_lessons.architecture import RESNET50, Architecture
from convnext_lessons.roadmap import (
    LABELS,
    START,
    STEPS,
    SWIN_T,
    UnknownStep,
    architecture_after,
    label_of,
    paper_after,
)

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
SLUGS = (
    "stage_ratio",
    "patchify_stem",
    "depthwise_convolution",
    "inverted_bottleneck",
    "depthwise_first",
    "large_kernel",
    "gelu",
    "fewer_activations",
    "fewer_norms",
    "layer_norm",
    "separate_downsampling",
)
CHANGES = [change for step in STEPS for change in step.changes]
ALTERNATIVES = [(step, change) for step in STEPS for change in step.alternatives]


@pytest.mark.parametrize("label", TABLE_10)
def test_the_papers_figures(label):
    paper = paper_after(label)
    assert (paper.accuracy, paper.spread, paper.gmacs) == TABLE_10[label]


@pytest.mark.parametrize(("whole", "part"), [("3", "3b"), ("6", "6b"), ("11", "11b")])
def test_a_step_is_reported_by_its_last_change(whole, part):
    assert paper_after(whole) == paper_after(part)
    assert architecture_after(whole) == architecture_after(part)


def test_the_paper_reports_nothing_before_the_layer_scale():
    assert paper_after("11a") is None


def test_both_ends_of_the_comparison():
    assert paper_after(0) == START
    assert (SWIN_T.accuracy, SWIN_T.gmacs) == (81.30, 4.50)


def test_eleven_steps_in_order():
    assert [step.number for step in STEPS] == list(range(1, 12))
    assert tuple(step.slug for step in STEPS) == SLUGS


def test_only_steps_three_and_eleven_are_two_changes():
    assert {step.number: len(step.changes) for step in STEPS if len(step.changes) != 1} == {3: 2, 11: 2}


def test_every_label_is_there():
    assert sorted(LABELS) == sorted([*TABLE_10, "3", "6", "11a", "11b"])


def test_each_change_names_one_field_and_moves_it():
    architecture = RESNET50
    names = {field.name for field in fields(Architecture)}
    for change in CHANGES:
        assert change.field in names
        after = architecture.change(**{change.field: change.value})
        assert set(after.differences(architecture)) == {change.field}, change.label
        architecture = after


def test_every_field_is_changed_once():
    assert len({change.field for change in CHANGES}) == len(CHANGES) == 13


@pytest.mark.parametrize(("step", "other"), ALTERNATIVES, ids=[change.label for _, change in ALTERNATIVES])
def test_an_alternative_stands_in_the_place_of_the_change(step, other):
    chosen = step.changes[-1]
    differences = architecture_after(other.label).differences(architecture_after(step.number))
    assert differences == {chosen.field: (other.value, chosen.value)}


def test_the_walk_ends_at_convnext():
    architecture = RESNET50
    for change in CHANGES:
        architecture = architecture.change(**{change.field: change.value})
        assert architecture == architecture_after(change.label)
    assert architecture == architecture_after(11)


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


@pytest.mark.parametrize("number", range(12))
def test_a_step_may_be_named_by_number_or_text(number):
    assert label_of(number) == label_of(str(number)) == str(number)
    assert architecture_after(number) is architecture_after(str(number))


@pytest.mark.parametrize("step", [12, -1, "3c", "", None, True, 4.5, "eleven"])
def test_unknown_step_is_refused(step, refuses):
    with refuses(UnknownStep, repr(step), "3a"):
        architecture_after(step)
