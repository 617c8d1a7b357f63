import io

import pytest
from PIL import Image

from convnext_lessons.figures import Plot, new_figure


def some_plot():
    figure, (axes,) = new_figure(2, 1)
    axes.plot((1, 3, 2))
    return Plot(figure, "Three <values>.")


def test_a_plot_shows_itself_with_a_sentence(is_drawn, monkeypatch):
    plot = some_plot()
    assert is_drawn(plot)
    shown = plot._repr_mimebundle_()
    assert shown["text/html"].startswith('<img alt="Three &lt;values&gt;." src="data:image/png;base64,')
    assert shown["text/plain"] == "Three <values>."
    monkeypatch.setenv("CONVNEXT_LESSONS_STATIC", "1")
    shown, about = plot._repr_mimebundle_()
    assert shown == {"image/png": plot.png(), "text/plain": "Three <values>."}
    assert about == {"image/png": {"alt": "Three <values>."}}


def test_the_same_plot_has_the_same_bytes():
    assert some_plot().png() == some_plot().png()


def test_a_figure_has_its_size_in_inches():
    opened = Image.open(io.BytesIO(some_plot().png()))
    assert opened.size == (240, 120)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 1), (2, 3)])
def test_panels_are_a_flat_list_without_frames(rows, columns):
    _, panels = new_figure(4, 3, rows=rows, columns=columns)
    assert len(panels) == rows * columns
    for panel in panels:
        visible = {side for side, spine in panel.spines.items() if spine.get_visible()}
        assert visible == {"left", "bottom"}


@pytest.mark.parametrize(
    ("share", "limits"), [("x", ((2, 3), (0, 1))), ("y", ((0, 1), (2, 3))), ("", ((0, 1), (0, 1)))]
)
def test_panels_may_have_an_axis_in_common(share, limits):
    _, (first, second) = new_figure(4, 3, columns=2, share=share)
    first.set(xlim=(2, 3), ylim=(2, 3))
    assert (second.get_xlim(), second.get_ylim()) == limits


def test_rows_may_differ_in_height():
    figure, (top, bottom) = new_figure(4, 4, rows=2, heights=(3, 1))
    figure.canvas.draw()
    assert top.get_position().height > 2 * bottom.get_position().height
