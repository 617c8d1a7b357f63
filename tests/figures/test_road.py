import math

import numpy as np
import pytest

from convnext_lessons.figures import draw_flops_and_time, draw_road, draw_summary, road
from convnext_lessons.figures.palette import CHANGED_WORDS
from convnext_lessons.figures.road import AREA, free_places
from convnext_lessons.model import (
    COSTS,
    LAST_STEP,
    PAPER_STEPS,
    STEPS,
    TITLES,
    UnknownStep,
    architecture_after,
    count,
    paper_after,
    roadmap,
)
from convnext_lessons.model.roadmap import Change, Step
from convnext_lessons.runs import reference_runs, stored_time_ratio

LAST_TITLE = f"{PAPER_STEPS[-1]} {TITLES[PAPER_STEPS[-1]]}"  # of the paper


def notes(plot):
    """Texts inside the panels of a plot."""
    return [text.get_text() for panel in plot.figure.axes for text in panel.texts]


def without_paper(last):
    """Whether the paper says nothing, for every step from 0 to the last."""
    return [paper_after(number) is None for number in range(last + 1)]


def told(plot, title):
    """What a summary's sentence says of a step."""
    (words,) = [part for part in plot.alt.rstrip(".").split("; ") if part.split(". ")[-1].startswith(f"{title}: ")]
    return words.split(f"{title}: ")[1]


def test_the_road_shows_where_the_reader_stands(is_drawn):
    assert draw_road(4).png() != draw_road(5).png()
    assert is_drawn(draw_road())
    assert "you are here" in notes(draw_road(4)) and "you are here" not in notes(draw_road())


def test_where_the_reader_stands_is_written_off_the_curve():
    for step, side in ((0, 1), (4, 1), (5, -1), (6, 1), (LAST_STEP, 1)):  # step 5 alone falls
        (words,) = [text for text in draw_road(step).figure.axes[0].texts if text.get_text() == "you are here"]
        assert words.xyann[1] * side > 0


def test_the_road_says_the_papers_accuracy_and_our_count_of_every_step():
    words = draw_road().alt
    for step in (0, *PAPER_STEPS):
        assert (
            f"step {step} {paper_after(step).accuracy} %, {count(architecture_after(step)).macs / 1e9:.2f} G" in words
        )
    assert "step 11 81.97 %, 4.46 G" in words


def test_the_road_can_end_before_its_answers():
    assert "step 4" not in draw_road(here=3, until=3).alt
    assert draw_road(here=3, until=3).png() != draw_road(here=3).png()


def test_a_step_that_is_not_on_the_road_is_refused(refuses):
    with refuses(UnknownStep, str(LAST_STEP + 1)):
        draw_road(here=LAST_STEP + 1)


def test_the_summary_shows_every_step(is_drawn):
    plot = draw_summary()
    assert is_drawn(plot)
    for number in (0, *PAPER_STEPS):
        assert told(plot, f"{number} {TITLES[number]}").startswith(f"paper {paper_after(number).accuracy} %, here ")
    for words in ("0 ResNet-50: paper 78.82 %", "8 Fewer activations: paper 81.27 %"):
        assert words in plot.alt
    # The paper's accuracies, ours, the time of a training step, and each cost between them.
    assert len(plot.figure.axes) == 3 + len(COSTS)


def test_the_summary_gives_times_two_digits_and_bars_no_lines():
    paper, ours, *_, training = draw_summary().figure.axes
    assert all(len(text.get_text().split(".")[1]) == 2 for text in training.texts)
    lines = [panel.get_ygridlines()[0].get_visible() for panel in (paper, ours, training)]
    assert lines == [True, True, False]


def test_the_summary_takes_the_time_of_a_step_in_turns_with_the_first():
    plot = draw_summary()
    for number in range(LAST_STEP + 1):
        time = stored_time_ratio(architecture_after(0), architecture_after(number))
        assert told(plot, f"{number} {TITLES[number]}").endswith(f"training time {time}")


def test_flops_and_time_shows_every_network(is_drawn):
    plot = draw_flops_and_time()
    assert is_drawn(plot)
    assert len(plot.figure.axes) == len(COSTS)
    for words in ("step 0 4.089 × 10⁹, 25.56 × 10⁶", "step 3 5.268 × 10⁹", "step 11 4.456 × 10⁹"):
        assert words in plot.alt
    for panel in plot.figure.axes:
        assert [text.get_text() for text in panel.texts] == [str(step) for step in range(LAST_STEP + 1)]
        medians = panel.containers[0].lines[0].get_ydata()
        assert medians[4] == stored_time_ratio(architecture_after(0), architecture_after(4)).median


# What is not known stays empty ----------------------------------------------------------------------------------------


@pytest.fixture
def own_step(monkeypatch):
    """One step more at the end of the road, of which neither the paper nor the stored runs and times know."""
    number = LAST_STEP + 1
    step = Step(number, "wide_stem", "Wide stem", (Change(str(number), "patch_size", 8, None),))
    monkeypatch.setattr(roadmap, "STEPS", (*STEPS, step))
    monkeypatch.setattr(roadmap, "_STOPS", roadmap._walk())
    monkeypatch.setattr(roadmap, "LABELS", tuple(roadmap._STOPS))
    monkeypatch.setattr(road, "_NAMES", [*road._NAMES, f"{number} {step.title}"])
    return step


def test_the_road_draws_a_step_that_the_paper_lacks_and_leaves_its_accuracy_blank(own_step, is_drawn):
    plot = draw_road(here=own_step.number, until=own_step.number)
    macs = count(architecture_after(own_step.number)).macs / 1e9
    assert is_drawn(plot)
    assert plot.alt.endswith(f"step {own_step.number} {macs:.2f} G.")
    top, bottom = plot.figure.axes
    accuracies = top.containers[0].lines[0].get_ydata()
    assert [math.isnan(value) for value in accuracies] == without_paper(own_step.number)
    assert "you are here" not in notes(plot)  # there is no point to stand on
    bar = bottom.patches[own_step.number]
    assert bar.get_height() == pytest.approx(macs)
    assert bottom.get_xticklabels()[own_step.number].get_color() == CHANGED_WORDS


def test_the_summary_leaves_blank_what_nobody_measured(own_step, is_drawn):
    plot = draw_summary()
    assert is_drawn(plot)
    assert told(plot, f"{own_step.number} {own_step.title}") == "not measured"
    assert told(plot, LAST_TITLE).startswith("paper 81.97 %, here ")
    paper, ours, *costs, training = plot.figure.axes
    for panel in (paper, ours):
        values = panel.containers[0].lines[0].get_xdata()
        assert [math.isnan(value) for value in values] == without_paper(own_step.number)
    for kind, panel in zip(COSTS, costs, strict=True):
        expected = kind.of(count(architecture_after(own_step.number))) / kind.unit
        assert panel.patches[own_step.number].get_width() == pytest.approx(expected)
    assert math.isnan(training.patches[own_step.number].get_width())
    assert training.texts[own_step.number].get_text() == ""


def test_the_summary_leaves_blank_a_step_without_stored_runs(monkeypatch, is_drawn):
    monkeypatch.setattr(road, "reference_runs", lambda step: [] if step == 4 else reference_runs(step=step))
    plot = draw_summary()
    assert is_drawn(plot)
    words = told(plot, f"4 {TITLES[4]}")
    assert "here" not in words and "paper 80.64 %" in words and "training time" in words


@pytest.fixture
def no_time_of_step_4(monkeypatch):
    """The stored times but for those of step 4."""

    def without(before, after):
        return None if after == architecture_after(4) else stored_time_ratio(before, after)

    monkeypatch.setattr(road, "stored_time_ratio", without)


def test_the_summary_leaves_blank_a_step_without_stored_times(no_time_of_step_4, is_drawn):
    plot = draw_summary()
    assert is_drawn(plot)
    words = told(plot, f"4 {TITLES[4]}")
    assert "training time" not in words and "paper 80.64 %, here " in words


def test_flops_and_time_leaves_out_a_step_without_stored_times(no_time_of_step_4, is_drawn):
    plot = draw_flops_and_time()
    assert is_drawn(plot)
    assert "step 4 " not in plot.alt and "step 3 5.268" in plot.alt and "step 5 " in plot.alt
    assert "4" not in notes(plot)


def test_flops_and_time_leaves_out_a_step_of_ones_own(own_step):
    assert f"step {own_step.number}" not in draw_flops_and_time().alt


@pytest.mark.parametrize("points", [[(0, 0), (0, 0.01), (0, 1), (1, 1)], [(1, 2), (1, 2), (1, 2)], [(3, 4)]])
def test_names_lie_on_no_dot_and_no_other_name(points):
    places = free_places(points)
    corner, wide = np.min(points, axis=0), np.maximum(np.ptp(points, axis=0), 1e-12)
    dots = (np.array(points) - corner) / wide * AREA
    names = dots + places
    apart = np.linalg.norm(names[:, None] - names, axis=2) + 99 * np.eye(len(names))
    assert apart.min() > 8
    assert np.linalg.norm(names[:, None] - dots, axis=2).min() > 8
