import pytest
import torch

from convnext_lessons.figures import draw_gates


def test_gates_are_drawn_as_they_are_given(is_drawn):
    plot = draw_gates({"step": lambda x: (x > 0).double(), "soft": torch.sigmoid})
    assert is_drawn(plot)
    assert (
        plot.alt
        == "The factor on each number from −3 to 3: step, 0.00 at −1 and 1.00 at 1; soft, 0.27 at −1 and 0.73 at 1."
    )
    (axes,) = plot.figure.axes
    step, soft, *_ = axes.lines
    assert set(step.get_ydata()) == {0, 1}
    assert soft.get_ydata()[0] == pytest.approx(torch.tensor(-3.0, dtype=torch.float64).sigmoid().item())
    assert step.get_color() != soft.get_color()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["step", "soft"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("input", "factor")
