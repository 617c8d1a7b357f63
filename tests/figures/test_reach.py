import pytest
import torch
from matplotlib.colors import to_rgba
from torch import nn

from convnext_lessons.figures import (
    NORM,
    SPATIAL,
    draw_fields,
    draw_live_shares,
    draw_live_taps,
    draw_norm_reach,
    draw_readers,
    draw_seen_pixels,
    draw_who_hears,
)
from convnext_lessons.figures.palette import INK, PAPER_WHITE
from convnext_lessons.model import architecture_after, count


def test_what_a_norm_compares_with_is_marked_and_counted(is_drawn):
    of_channel, of_position = torch.zeros(2, 2, 4, 3, 3, dtype=torch.bool)
    of_channel[:, 2] = True
    of_position[1, :, 1, 2] = True
    plot = draw_norm_reach({"batch": of_channel, "layer": of_position}, marked=(1, 2, 1, 2))
    assert is_drawn(plot)
    assert "batch with 18 numbers, in 1 of 4 channels and 2 of 2 pictures" in plot.alt
    assert "layer with 4 numbers, in 4 of 4 channels and 1 of 2 pictures" in plot.alt
    panels = plot.figure.axes
    assert [int(panel.collections[0].get_array().sum()) for panel in panels] == [9, 9, 0, 4]
    assert [len(panel.lines) for panel in panels] == [0, 1, 0, 1]
    (dot,) = panels[3].lines
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (2.5, 5.5)
    assert panels[3].collections[0].get_array()[5, 2]


def test_shares_of_live_taps_are_printed_in_their_places(is_drawn):
    plot = draw_live_shares({64: [[0.92, 0.8], [0.44, 0.084]], 96: [[1.0, 0.9], [0.5, 0.1]]}, kernels=(3, 7))
    assert is_drawn(plot)
    for words in ("for kernels 3, 7: ", "64 px, stage 2: 44, 8;", "96 px, stage 1: 100, 90"):
        assert words in plot.alt
    first, second = plot.figure.axes
    assert [panel.get_title() for panel in (first, second)] == ["64 px", "96 px"]
    assert [(*text.get_position(), text.get_text()) for text in first.texts] == [
        (0, 0, "92"),
        (1, 0, "80"),
        (0, 1, "44"),
        (1, 1, "8"),
    ]
    assert [text.get_color() for text in first.texts] == [PAPER_WHITE, PAPER_WHITE, INK, INK]
    assert plot.figure.get_suptitle() == "live taps, %"
    assert [label.get_text() for label in second.get_xticklabels()] == ["3", "7"]
    assert [label.get_text() for label in second.get_yticklabels()] == ["1", "2"]


@pytest.mark.parametrize(("kernel_size", "image_size"), [(7, 64), (3, 224), (11, 64), (11, 96)])
def test_live_taps_are_those_that_a_convolution_of_ones_counts(kernel_size, image_size, is_drawn):
    design = architecture_after(6).change(kernel_size=kernel_size)
    plot = draw_live_taps(design, image_size)
    assert is_drawn(plot)
    ones = torch.ones(1, 1, kernel_size, kernel_size)
    for halvings, panel in enumerate(plot.figure.axes, start=2):
        positions = torch.ones(1, 1, image_size // 2**halvings, image_size // 2**halvings)
        counted = nn.functional.conv2d(positions, ones, padding=kernel_size // 2) / kernel_size**2
        shown = torch.from_numpy(panel.collections[0].get_array().data).reshape(counted.shape)
        assert torch.allclose(shown, counted, atol=1e-6)
        assert f"{counted.mean():.0%} live" in panel.get_title()


def test_dead_taps_are_counted_and_the_cost_is_that_of_the_full_picture():
    design = architecture_after(6)
    plot = draw_live_taps(design, 64)
    assert f"7×7 at 64 px; the network costs {count(design).macs / 1e9:.3f} G at 224 px" in plot.alt
    assert "stage 3, 4×4 positions: 33% live, 0 of 49 dead" in plot.alt
    assert "stage 4, 2×2 positions: 8% live, 40 of 49 dead" in plot.alt
    colors = [panel.title.get_color() for panel in plot.figure.axes]
    assert colors[0] == colors[1] == colors[2] != colors[3]


def test_fields_have_the_square_that_was_measured(is_drawn):
    torch.manual_seed(0)
    fields = {"narrow": torch.rand(64, 64), "wide": torch.rand(64, 64)}
    plot = draw_fields(fields, {"wide": 40, "narrow": 16})
    assert is_drawn(plot)
    assert plot.alt.endswith("narrow 16 px, wide 40 px.")
    first, second = plot.figure.axes
    assert first.get_title() == "narrow\nhalf of the influence\nwithin 16 px"
    assert set(first.lines[0].get_xdata()) == {24, 40}
    assert set(second.lines[0].get_ydata()) == {12, 52}
    shown = torch.from_numpy(first.images[0].get_array().data)
    assert shown.shape == (8, 8)
    assert shown.mean().item() == pytest.approx(fields["narrow"].mean().item())


def test_readers_are_counted_for_every_layer(is_drawn):
    skipping = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    plot = draw_readers({(1, 2): skipping, (2, 2): torch.ones(2, 2), (4, 2): torch.full((2, 2), 4.0)})
    assert is_drawn(plot)
    assert "1×1, stride 2: 25% read, 0 to 1 times; 2×2, stride 2: 100% read, each once" in plot.alt
    assert "4×4, stride 2: 100% read, each 4 times" in plot.alt
    first, second, _ = plot.figure.axes
    assert [panel.get_title() for panel in (first, second)] == ["1×1, stride 2", "2×2, stride 2"]
    assert torch.equal(torch.as_tensor(first.images[0].get_array().data), skipping)
    assert first.images[0].get_clim() == second.images[0].get_clim()  # once read looks the same in both


def test_seen_pixels_are_counted_and_coloured(is_drawn):
    here, beside, apart = torch.zeros(3, 12, 12, dtype=torch.bool)
    here[0:6, 0:6] = True
    beside[0:6, 4:10] = True
    apart[8:12, 8:12] = True
    plot = draw_seen_pixels({"old": (here, beside), "new": (here, apart)}, tile=4)
    assert is_drawn(plot)
    assert "old 36 and 36, 12 of them shared; new 36 and 16, 0 of them shared." in plot.alt
    old, new = plot.figure.axes
    assert old.get_title() == "old: 36 pixels, 12 of them shared"
    painted = old.images[0].get_array()
    assert [int((painted == value).sum()) for value in (1, 2, 3)] == [24, 24, 12]
    assert list(new.get_xticks()) == [-0.5, 3.5, 7.5]


def test_who_hears_shows_the_row_of_the_nudged_number(is_drawn):
    everywhere, alone = torch.zeros(2, 4, 5, 6, dtype=torch.bool)
    everywhere[:, 2] = True
    alone[1, 3, 2] = True
    plot = draw_who_hears({"all": everywhere, "one": alone}, nudged=(1, 3, 2), swins=["one"])
    assert is_drawn(plot)
    assert plot.alt == "Who hears one nudged number, in all: channels 4, positions 6; in one: channels 1, positions 1."
    assert plot.figure.get_suptitle().startswith("one row of the window")
    rows = [panel.images[0] for panel in plot.figure.axes]
    assert [int(row.get_array().sum()) for row in rows] == [0, 1]
    assert rows[1].get_array()[1, 2]
    colors = [row.get_cmap()(1.0) for row in rows]
    assert colors == [to_rgba(SPATIAL), to_rgba(NORM)]
    ring = plot.figure.axes[0].lines[0]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 1)
