"""A canvas drawn once and shown twice: as SVG with details under the pointer, and as PNG where SVG is not shown."""

import hashlib
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from PIL import Image

from convnext_lessons.figures.palette import INK, PAPER_WHITE
from convnext_lessons.system.settings import static_mode

Point = tuple[float, float]

FONT = "DejaVu Sans, Verdana, sans-serif"


class Diagram:
    """Polygons, lines and words on a plane, in pixels from the top left; a polygon may tell its details.

    Args:
        width, height: in pixels.
        alt: one sentence that says what is to be seen, for those who do not see it.
    """

    def __init__(self, width: float, height: float, alt: str):
        self.width, self.height, self.alt = width, height, alt
        self.items = []

    def polygon(
        self,
        points: Sequence[Point],
        fill: str,
        edge: str = "none",
        line: float = 1.0,
        tip: str | None = None,
    ) -> None:
        """A filled polygon; ``tip`` appears in the picture's last line while the pointer or the keyboard is on it."""
        self.items.append(("polygon", points, fill, edge, line, tip))

    def box(self, x: float, y: float, width: float, height: float, fill: str, **style: Any) -> None:
        """A rectangle with its top left corner at (x, y)."""
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], fill, **style)

    def line(self, points: Sequence[Point], color: str, width: float = 1.5) -> None:
        """A line through points."""
        self.items.append(("line", points, color, width))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: int = 13,
        anchor: str = "start",
        color: str = INK,
        bold: bool = False,
    ) -> None:
        """Words with their baseline at y; ``anchor`` is ``"start"``, ``"middle"`` or ``"end"``."""
        self.items.append(("text", x, y, words, size, anchor, color, bold))

    def svg(self) -> str:
        """The picture as an SVG element that needs no JavaScript; its class names are its own."""
        body = [self._element(item) for item in self.items]
        name = "p" + hashlib.sha256("".join(body).encode()).hexdigest()[:10]
        rules = (
            ".tip{display:none}",
            "g:hover .tip,g:focus .tip{display:block}",
            "g:hover polygon,g:focus polygon{opacity:.75}",
        )
        style = " ".join(f".{name} {rule}".replace(",", f",.{name} ") for rule in rules)
        return (
            f'<svg class="{name}" role="img" aria-label="{escape(self.alt)}" xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {self.width:g} {self.height:g}" font-family="{FONT}" '
            f'style="max-width:{self.width:g}px;width:100%;background:{PAPER_WHITE}">'
            f"<style>{style}</style>{''.join(body)}</svg>"
        )

    def _element(self, item):
        kind, *rest = item
        if kind == "text":
            x, y, words, size, anchor, color, bold = rest
            weight = ' font-weight="bold"' if bold else ""
            return (
                f'<text x="{x:.5g}" y="{y:.5g}" font-size="{size}" text-anchor="{anchor}" fill="{color}"{weight}>'
                f"{escape(words)}</text>"
            )
        points = " ".join(f"{x:.5g},{y:.5g}" for x, y in rest[0])
        if kind == "line":
            _, color, width = rest
            return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{width}"/>'
        _, fill, edge, line, tip = rest
        shape = f'<polygon points="{points}" fill="{fill}" stroke="{edge}" stroke-width="{line}"/>'
        if not tip:
            return shape
        words = f'<text class="tip" x="8" y="{self.height - 8:g}" font-size="13" fill="{INK}">{escape(tip)}</text>'
        return f'<g tabindex="0">{shape}{words}</g>'

    def png(self, scale: float = 1.6) -> bytes:
        """The picture as PNG bytes, ``scale`` times as many pixels on a side."""
        figure = Figure(figsize=(self.width / 100, self.height / 100), dpi=100 * scale)
        axes = figure.add_axes([0, 0, 1, 1])
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        points_per_pixel = 0.72
        for order, (kind, *rest) in enumerate(self.items):
            if kind == "text":
                x, y, words, size, anchor, color, bold = rest
                side = {"start": "left", "middle": "center", "end": "right"}[anchor]
                weight = "bold" if bold else "normal"
                size *= points_per_pixel
                axes.text(x, y, words, size=size, ha=side, va="baseline", color=color, weight=weight, zorder=order)
            elif kind == "line":
                points, color, width = rest
                width *= points_per_pixel
                axes.plot(*zip(*points, strict=True), color=color, lw=width, zorder=order)
            else:
                points, fill, edge, line, _ = rest
                line *= points_per_pixel
                axes.add_patch(Polygon(points, facecolor=fill, edgecolor=edge, lw=line, zorder=order))
        return png_of(figure)

    def _repr_mimebundle_(self, include=None, exclude=None):
        # On pages to be read as an image, since sites such as GitHub cut elements of SVG out of HTML.
        kind = "image/svg+xml" if static_mode() else "text/html"
        return {kind: self.svg(), "image/png": self.png(), "text/plain": self.alt}


def png_of(figure: Figure) -> bytes:
    """A matplotlib figure as PNG bytes with a palette, which keeps notebooks small."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    out = io.BytesIO()
    drawn.quantize(96, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return out.getvalue()
