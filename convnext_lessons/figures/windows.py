"""Where a layer looks from one position: inside the tile that it lies in, or around it."""

from collections.abc import Mapping

import torch
from matplotlib.colors import ListedColormap

from convnext_lessons.figures.palette import CHANGED, PAPER_WHITE, SOFT, SPATIAL, STREAM
from convnext_lessons.figures.plots import Plot, new_figure


def draw_windows(looks_at: Mapping[str, torch.Tensor], position: tuple[int, int], tile: int) -> Plot:
    """The positions on which a layer's output at one position depends, a panel for each layer.

    Args:
        looks_at: bool [H, W] by the layer's name.
        position: row and column of that output, counted from 0; a dot marks it.
        tile: the side of the tiles whose borders are drawn, in positions.
    """
    figure, panels = new_figure(3.3 * len(looks_at), 3.5, columns=len(looks_at))
    row, column = position
    words = []
    for panel, (name, mask) in zip(panels, looks_at.items(), strict=True):
        height, width = mask.shape
        colors = ListedColormap([PAPER_WHITE, SPATIAL])
        panel.pcolormesh(mask.numpy(), cmap=colors, vmin=0, vmax=1, ec=STREAM, lw=0.6)
        for border in range(tile, max(height, width), tile):
            panel.axhline(border, color=SOFT, lw=2)
            panel.axvline(border, color=SOFT, lw=2)
        panel.plot(column + 0.5, row + 0.5, "o", ms=9, color=CHANGED)
        panel.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
        panel.spines[:].set_visible(True)
        panel.set_title(f"{name}: {mask.sum()} positions", size=10)
        rows, columns = (mask.any(side).nonzero().flatten().tolist() for side in (1, 0))
        words.append(f"{name} {mask.sum()}, rows {rows[0]} to {rows[-1]}, columns {columns[0]} to {columns[-1]}")
    return Plot(figure, f"The positions on which position ({row}, {column}) depends: {'; '.join(words)}.")
