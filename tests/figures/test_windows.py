import torch

from convnext_lessons.figures import draw_windows


def test_the_positions_a_layer_looks_at_are_filled_and_counted(is_drawn):
    tile, around = torch.zeros(2, 6, 8, dtype=torch.bool)
    tile[3:6, 0:3] = True
    around[2:5, 1:4] = True
    around[2, 1] = False
    plot = draw_windows({"tile": tile, "kernel": around}, position=(3, 2), tile=3)
    assert is_drawn(plot)
    assert plot.alt == (
        "The positions on which position (3, 2) depends: tile 9, rows 3 to 5, columns 0 to 2; "
        "kernel 8, rows 2 to 4, columns 1 to 3."
    )
    first, second = plot.figure.axes
    assert [panel.get_title() for panel in (first, second)] == ["tile: 9 positions", "kernel: 8 positions"]
    filled = torch.as_tensor(second.collections[0].get_array().data).reshape(6, 8)
    assert torch.equal(filled.bool(), around)
    *borders, dot = first.lines
    assert [line.get_ydata()[0] for line in borders[::2]] == [3, 6]
    assert [line.get_xdata()[0] for line in borders[1::2]] == [3, 6]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (2.5, 3.5)
    assert first.get_ylim() == (6, 0)  # row 0 is on top
