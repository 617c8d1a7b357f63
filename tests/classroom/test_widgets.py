import pytest

from convnext_lessons.classroom import CostExplorer, Explorer, Predictions, widgets
from convnext_lessons.classroom.predictions import ANSWERS, QUESTIONS, read_predictions
from convnext_lessons.figures import Diagram, Plot, Table, draw_network, new_figure
from convnext_lessons.model import architecture_after
from convnext_lessons.system import CourseError


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr(widgets, "display", found.append)
    return found


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_STATIC", "0")


@pytest.fixture
def static(monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_STATIC", "1")


def cost_explorer():
    base = architecture_after(4).thinner(1 / 8)
    return CostExplorer(base, {"expansion": (1, 2, 4), "kernel_size": (3, 4)}, {"step 4": base}, "Find <it>.")


def test_sliders_begin_at_the_base_and_move_the_picture():
    explorer = cost_explorer()
    assert explorer.controls["expansion"].value == 4
    first = explorer.view.value
    explorer.controls["expansion"].value = 2
    second = explorer.view.value
    assert first.startswith("<svg") and second.startswith("<svg") and first != second
    explorer.controls["expansion"].value = 4
    assert explorer.view.value == first


def test_values_that_cannot_work_say_why_in_the_place_of_the_picture():
    explorer = cost_explorer()
    explorer.controls["kernel_size"].value = 4
    assert "only an odd kernel has a centre" in explorer.view.value


def test_static_mode_shows_a_picture_and_no_widget(shown, static):
    base = architecture_after(4).thinner(1 / 8)
    CostExplorer(base, {"kernel_size": (3, 5)}, {"step 4": base}, "")._ipython_display_()
    assert [type(thing) for thing in shown] == [Plot]


def test_live_mode_shows_the_task_escaped(shown, live):
    explorer = cost_explorer()
    explorer._ipython_display_()
    assert shown[0].children[0].value == "<b>Find &lt;it&gt;.</b>"
    assert shown[0].children[-1] is explorer.view


def plot_of(*values):
    figure, (axes,) = new_figure(2, 1)
    axes.plot(values)
    return Plot(figure, f"values <{values}>")


def test_an_explorer_draws_what_a_lesson_says_once_for_every_choice(live):
    calls = []

    def draw(number, kind):
        calls.append((number, kind))
        return plot_of(number, len(kind))

    explorer = Explorer({"number": (1, 2), "kind": {"one": "a", "two": "bb"}}, draw, "", start={"number": 2})
    assert calls == [(2, "a")]
    first = explorer.view.value
    assert first.startswith('<img style="max-width:100%" alt="values &lt;') and "base64" in first
    explorer.controls["kind"].value = "bb"
    assert explorer.view.value != first
    explorer.controls["kind"].value = "a"
    assert explorer.view.value == first and calls == [(2, "a"), (2, "bb")]


def test_values_may_be_tuples(live):
    base = architecture_after(1).thinner(1 / 16)
    depths = [(1, 1), (2, 1)]
    explorer = Explorer({"depths": depths}, lambda value: draw_network(base.change(depths=value), image_size=64), "")
    explorer.controls["depths"].value = (2, 1)
    assert explorer.view.value.startswith("<svg")


def test_an_error_of_the_course_is_a_sentence_in_the_view(live):
    def draw(value):
        raise CourseError("That <cannot> be.")

    assert Explorer({"value": (1,)}, draw, "").view.value == "<b>That &lt;cannot&gt; be.</b>"


def test_what_stands_for_the_controls(shown, static):
    given = Diagram(10, 10, "a picture")
    Explorer({"value": (1, 2)}, plot_of, "", static=given)._ipython_display_()
    Explorer({"value": (1, 2)}, plot_of, "")._ipython_display_()
    assert shown[0] is given and shown[1].alt == "values <(1,)>"


def test_predictions_are_kept_when_chosen(live):
    widget = Predictions(step=4)
    widget.controls["parameters"].value = "up a lot"
    assert read_predictions() == {"4": {"parameters": "up a lot"}}
    again = Predictions(step=4)
    assert again.controls["parameters"].value == "up a lot"
    assert again.controls["multiply-adds"].value is None


def test_predictions_without_widgets_are_a_table(shown, static):
    Predictions(step=4)._ipython_display_()
    (table,) = shown
    assert isinstance(table, Table)
    assert all(words in table._repr_html_() for words in (*QUESTIONS, *ANSWERS))
    assert [row[0] for row in table.rows] == list(QUESTIONS)
