"""An explorer on a slide: a slider over pictures of a slide's size, all of them in the deck's one file.

On paper it is the picture that it begins with.
"""

from collections.abc import Callable, Sequence

from convnext_lessons.classroom.widgets import Explorer
from convnext_lessons.publish.slide_canvas import SlideFigure


class SlideExplorer:
    """Shows itself as an ``Explorer`` that needs no kernel; see ``Explorer.frozen``.

    Args:
        name: of the slider; what it is for, the slide says.
        values: that it takes, in order.
        draw: is called with each value.
        start: the value that it begins with.
    """

    def __init__(self, name: str, values: Sequence, draw: Callable[..., SlideFigure], start: object):
        self._start = draw(start)
        self._explorer = Explorer({name: values}, draw, "", start={name: start}, static=self._start)

    def __repr__(self):
        return self._start.alt

    def _repr_html_(self):
        return self._explorer.frozen()
