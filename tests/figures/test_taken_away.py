from convnext_lessons.figures.taken_away import draw_taken_away
from convnext_lessons.runs.significance import Difference

ADDED = {
    1: Difference("1", "0", -1.7, -5.0, 1.6, 0.3),
    2: Difference("2", "1", 2.0, 1.0, 3.0, 0.01),
    3: Difference("3", "2", 0.5, None, None, None),
}
REMOVED = {1: Difference("without 1", "11", -3.0, -4.0, -2.0, 0.01), 2: Difference("without 2", "11", 1.0, -1, 3, 0.2)}


def test_what_a_step_is_worth_has_one_sign():
    plot = draw_taken_away(ADDED, REMOVED)
    assert "step 1 Stage ratio: added -1.7, not resolved; taken away +3.0." in plot.alt
    assert "step 2 Patchify stem: added +2.0; taken away -1.0, not resolved" in plot.alt
    assert plot.png()


def test_a_step_that_cannot_be_taken_away_has_one_mark():
    plot = draw_taken_away(ADDED, REMOVED)
    assert plot.alt.endswith("step 3 Depthwise convolution: added +0.5, not resolved.")
    (axes,) = plot.figure.axes
    marks = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    assert len(marks) == 5
    assert [line.get_markerfacecolor() == "white" for line in marks] == [True, False, False, True, True]


def test_without_runs_it_says_so():
    assert draw_taken_away({}, {}).alt.endswith("No stored runs yet.")
