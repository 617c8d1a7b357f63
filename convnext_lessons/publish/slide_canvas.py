"""The canvas of a slide's picture: as large as the room under a heading, and shown as SVG alone.

A slide is 1280 × 720 pixels, and a pixel of the canvas is one of the slide. So sizes of words are what the last row
sees; none is below ``SMALL``. The colours are those of ``figures.palette``; in the dark the deck's style sheet replaces
``INK``, ``SOFT`` and white, and leaves ``ON_LIGHT`` and ``ON_DARK``, which stand on coloured ground, as they are.
"""

import base64
from collections.abc import Sequence

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import CHANGED, SOFT, SPATIAL
from convnext_lessons.model.roadmap import paper_after

WIDTH, HEIGHT = 1180, 530  # of the room for a picture, in pixels
SMALL, BODY, LARGE = 17, 21, 32  # sizes of words, in pixels

ATTENTION = "#E69F00"  # that of the palette's eight which nothing else here has; its pink is layer scale
ON_LIGHT, ON_DARK = "#111111", "#FDFDFD"  # words on a pale and on a dark colour
PAPER_SOURCE = "Accuracies on ImageNet: Liu et al. 2022, arXiv 2201.03545, Table 10."


class SlideFigure(Diagram):
    """A ``Diagram`` of a slide's size that may also hold photographs; it has no second form as PNG."""

    def __init__(self, alt: str, width: float = WIDTH, height: float = HEIGHT):
        super().__init__(width, height, alt)

    def photograph(self, x: float, y: float, side: float, jpeg: bytes) -> None:
        """A square photograph with its top left corner at (x, y)."""
        self.items.append(("photograph", x, y, side, jpeg))

    def headline(self, x: float, y: float, number: str, words: Sequence[str] = (), color: str = SPATIAL) -> None:
        """A large number with lines of words under it."""
        self.text(x, y, number, size=LARGE, color=color, bold=True)
        for line, text in enumerate(words):
            self.text(x, y + 28 + 26 * line, text, size=BODY - 2, color=SOFT)

    def source(self, words: str) -> None:
        """Where the numbers come from, in the last line."""
        self.text(0, self.height - 6, words, size=SMALL, color=SOFT)

    def _element(self, item):
        if item[0] != "photograph":
            return super()._element(item)
        _, x, y, side, jpeg = item
        content = base64.b64encode(jpeg).decode()
        return (
            f'<image x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" href="data:image/jpeg;base64,{content}"/>'
        )

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/svg+xml": self.svg(), "text/plain": self.alt}


def gain(step: int | str, since: int | str) -> str:
    """What the paper's accuracy gains from one step to another, in points, with its sign."""
    return signed(paper_after(step).accuracy - paper_after(since).accuracy)


def signed(points: float, digits: int = 2) -> str:
    """A difference with its sign, a minus as long as a plus."""
    return f"{points:+.{digits}f}".replace("-", "−")


def color_of_change(points: float) -> str:
    """The colour of a gain or of a loss."""
    return SPATIAL if points >= 0 else CHANGED
