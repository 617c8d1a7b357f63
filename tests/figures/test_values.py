import pytest
import torch
from matplotlib.colors import to_rgba
from torch import nn

from convnext_lessons.figures import (
    CHANGED,
    POINTWISE,
    Distribution,
    draw_activations,
    draw_arriving_and_leaving,
    draw_leak,
    draw_outputs,
    draw_rebuilt,
    draw_rebuilt_and_cost,
    draw_stream,
)


def test_a_distribution_counts_every_value_once():
    values = torch.linspace(-7.99, 7.99, 6400).reshape(8, 8, 10, 10)
    found = Distribution.of(values)
    assert len(found.shares) == 64
    assert sum(found.shares) == pytest.approx(1)
    assert max(found.shares) == pytest.approx(1 / 64, abs=1e-3)
    assert found.mean == pytest.approx(0, abs=1e-4)
    assert found.spread == pytest.approx(values.std().item())
    assert (found.low, found.high) == pytest.approx((-6.392, 6.392), abs=1e-3)


def test_the_stream_shows_one_block_and_the_whole_depth(is_drawn):
    torch.manual_seed(0)
    streams = {
        name: [Distribution.of(mean + torch.randn(1000)) for _ in range(3)] for name, mean in (("a", 0), ("b", 2))
    }
    plot = draw_stream(streams, block=2, ticks=(1, 3))
    assert is_drawn(plot)
    for name, stream in streams.items():
        assert f"{name}: mean {stream[1].mean:.2f}, standard deviation {stream[1].spread:.2f}" in plot.alt
    left, right = plot.figure.axes[2:]
    assert left.get_title() == "b"
    assert [bar.get_height() for bar in left.patches] == pytest.approx(streams["b"][1].shares)
    assert list(right.lines[0].get_ydata()) == [values.mean for values in streams["b"]]
    assert list(right.get_xticks()) == [1, 3]
    assert [label.get_text() for label in right.get_xticklabels()] == ["1\nstage 1", "3\nstage 2"]
    legend = plot.figure.axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["10th to 90th percentile", "mean"]


def test_a_mean_just_below_zero_has_no_sign():
    values = torch.tensor([-1.004, 1.0])
    stream = [Distribution.of(values)]
    assert "mean 0.00" in draw_stream({"a": stream}, block=1).alt
    assert "arriving: mean 0.00, exact" in draw_arriving_and_leaving(values, values, "a place").alt


def test_outputs_are_dots_beside_bars(is_drawn):
    same, apart = torch.ones(4, 3), torch.tensor([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    plot = draw_outputs({"one": (same, torch.zeros(3)), "two": (apart, torch.ones(3))}, limit=5)
    assert is_drawn(plot)
    assert "one: spread of an output 0.00; two: spread of an output 1.41" in plot.alt
    first, second, empty = plot.figure.axes
    assert (first.get_ylim(), empty.axison) == ((-5, 5), False)
    *dots, bars = second.lines
    assert [list(line.get_ydata()) for line in dots] == [[0, 0, 0], [2, 2, 2]]
    assert list(bars.get_ydata()) == [1, 1, 1]
    legend = [text.get_text() for text in first.get_legend().get_texts()]
    assert legend == ["a set of companions", "evaluation mode"] and second.get_legend() is None


def test_a_leak_is_a_line_a_network(is_drawn):
    plot = draw_leak([0, 1, 2], {"leaks": [30.0, 0.0, 40.0], "holds": [0.0, 0.0, 0.0]})
    assert is_drawn(plot)
    assert "leaks 40 %, holds 0 %" in plot.alt
    assert [list(line.get_ydata()) for line in plot.figure.axes[0].lines] == [[30, 0, 40], [0, 0, 0]]


def test_activations_have_their_value_and_autograds_slope(is_drawn):
    plot = draw_activations({"ReLU": nn.ReLU(), "GELU": nn.GELU()})
    assert is_drawn(plot)
    assert "ReLU, values from 0.00, slopes from 0.00 to 1.00" in plot.alt
    assert "GELU, values from -0.17, slopes from -0.13 to 1.13" in plot.alt
    values, slopes = plot.figure.axes
    x = torch.tensor(values.lines[1].get_xdata())
    assert torch.allclose(torch.tensor(values.lines[1].get_ydata()), nn.GELU()(x))
    density = torch.exp(-(x**2) / 2) / (2 * torch.pi) ** 0.5
    phi = (1 + torch.erf(x / 2**0.5)) / 2
    assert torch.allclose(torch.tensor(slopes.lines[1].get_ydata()), phi + x * density)
    assert [text.get_text() for text in values.get_legend().get_texts()] == ["ReLU", "GELU"]


def test_an_activation_may_be_any_function():
    assert "twice, values from -6.00, slopes from 2.00 to 2.00" in draw_activations({"twice": lambda x: 2 * x}).alt


def test_numbers_that_arrive_and_leave_are_shares_of_all(is_drawn):
    arriving = torch.linspace(-2.5, 2.5, 1000)
    plot = draw_arriving_and_leaving(arriving, arriving.relu(), "ReLU in stage 1")
    assert is_drawn(plot)
    assert plot.alt.startswith("The numbers at ReLU in stage 1; arriving: mean ")
    assert "exact zeros 0%" in plot.figure.axes[0].get_title()
    assert plot.figure.axes[1].get_title().endswith(f"mean {arriving.relu().mean():.2f}, exact zeros 50%")
    for panel in plot.figure.axes:
        assert sum(bar.get_height() for bar in panel.patches) == pytest.approx(1)
    tallest = max(plot.figure.axes[1].patches, key=lambda bar: bar.get_height())
    assert tallest.get_height() == pytest.approx(0.5, abs=0.03)
    assert tallest.get_x() == pytest.approx(0, abs=1e-6)
    marks = [[text.get_text() for text in panel.texts] for panel in plot.figure.axes]
    assert marks == [[], [f"↑ {tallest.get_height():.0%}"]]  # of the bar that is cut


def test_rebuilt_pictures_stand_in_rows_with_what_they_lost(is_drawn):
    black, white = -torch.ones(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    plot = draw_rebuilt({"fresh": {2: (white, 0.0), 4: (black, 0.57)}, "best": {2: (white, 1e-15), 4: (black, 0.0013)}})
    assert is_drawn(plot)
    assert "fresh 2×2 nothing, 4×4 57 %; best 2×2 nothing, 4×4 0.13 %." in plot.alt
    panels = plot.figure.axes
    assert [panel.get_title() for panel in panels][1:3] == ["4×4, lost: 57 %", "2×2, lost: nothing"]
    assert [panel.get_ylabel() for panel in panels] == ["fresh", "", "best", ""]
    shown = [panel.images[0].get_array() for panel in panels]
    assert [int(picture.mean()) for picture in shown] == [255, 0, 255, 0]
    assert shown[0].shape == (8, 8, 3)


def test_a_rebuilt_picture_stands_beside_what_every_size_costs(is_drawn):
    plot = draw_rebuilt_and_cost(4, (torch.zeros(1, 3, 8, 8), 0.25), {2: 8_000_000_000, 4: 2_000_000_000}, channels=16)
    assert is_drawn(plot)
    assert plot.alt == "Patches of 4×4: 25 % of the picture is lost, and the network costs 2.00 G."
    _, costs = plot.figure.axes
    assert costs.get_title() == "48 numbers a patch → 16 channels"
    assert [bar.get_height() for bar in costs.patches] == [8, 2]
    assert [bar.get_facecolor() for bar in costs.patches] == [to_rgba(POINTWISE), to_rgba(CHANGED)]


def test_values_outside_a_picture_are_cut_off(is_drawn):
    plot = draw_rebuilt_and_cost(2, (torch.full((1, 3, 8, 8), 1.5), 0.1), {2: 10**9}, channels=16)
    assert is_drawn(plot)
    assert int(plot.figure.axes[0].images[0].get_array().min()) == 255
