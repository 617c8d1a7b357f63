"""What every plot of the course is: a matplotlib figure in one manner, with a sentence beside it."""

import base64
from collections.abc import Sequence
from html import escape

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convnext_lessons.figures.canvas import png_of
from convnext_lessons.system.settings import static_mode

WHITE = {"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8}  # behind words that lie on lines


class Plot:
    """A matplotlib figure that shows itself as a PNG, with a sentence for those who do not see it."""

    def __init__(self, figure: Figure, alt: str):
        self.figure, self.alt = figure, alt

    def png(self) -> bytes:
        """The plot as PNG bytes."""
        return png_of(self.figure)

    def html(self) -> str:
        """The plot as an element of HTML, with its sentence."""
        return f'<img alt="{escape(self.alt)}" src="data:image/png;base64,{base64.b64encode(self.png()).decode()}">'

    def _repr_mimebundle_(self, include=None, exclude=None):
        if static_mode():  # the sentence also where nbconvert looks for it
            return {"image/png": self.png(), "text/plain": self.alt}, {"image/png": {"alt": self.alt}}
        # JupyterLab shows an image/png without a sentence.
        return {"text/html": self.html(), "text/plain": self.alt}


def new_figure(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    share: str = "",
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure in the course's manner and the list of its panels; ``Plot(figure, alt)`` shows it.

    Args:
        width, height: in inches.
        share: ``"x"`` or ``"y"`` where the panels have one such axis.
        heights: of the rows, relative to each other.
    """
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    grid = {"height_ratios": heights} if heights else None
    shared = {"sharex": share == "x", "sharey": share == "y"}
    panels = list(figure.subplots(rows, columns, gridspec_kw=grid, squeeze=False, **shared).ravel())
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=9)
    return figure, panels
