import pytest

from convnext_lessons import widgets
from convnext_lessons.plots import Plot
from convnext_lessons.roadmap import architecture_after
from convnext_lessons.widgets import CostExplorer


@pytest.fixture
def explorer():
    base = architecture_after(4).thinner(1 / 8)
    choices = {"expansion": (1, 2, 4), "kernel_size": (3, 4)}
    return CostExplorer(base, choices, {"step 4": base}, "Find <it>.")


def test_sliders_begin_at_the_base_and_move_the_picture(explorer):
    assert explorer.sliders["expansion"].value == 4
    first = explorer.view.value
    explorer.sliders["expansion"].value = 2
    second = explorer.view.value
    assert first.startswith("<svg") and second.startswith("<svg") and first != second
    explorer.sliders["expansion"].value = 4
    assert explorer.view.value == first


def test_values_that_cannot_work_say_why_in_the_place_of_the_picture(explorer):
    explorer.sliders["kernel_size"].value = 4
    assert "only an odd kernel has a centre" in explorer.view.value


def test_static_mode_shows_a_picture_and_no_widget(explorer, monkeypatch):
    shown = []
    explorer.choices["kernel_size"] = (3, 5)
    monkeypatch.setattr(widgets, "display", shown.append)
    monkeypatch.setenv("CONVNEXT_LESSONS_STATIC", "1")
    explorer._ipython_display_()
    assert [type(thing) for thing in shown] == [Plot]


def test_live_mode_shows_the_task_escaped(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr(widgets, "display", shown.append)
    monkeypatch.setenv("CONVNEXT_LESSONS_STATIC", "0")
    explorer._ipython_display_()
    assert shown[0].children[0].value == "<b>Find &lt;it&gt;.</b>"
    assert shown[0].children[-1] is explorer.view
