"""Sliders over the course's pictures. Where no widget can live, each shows a picture of what it would do."""

import contextlib
import functools
import itertools
from html import escape

import ipywidgets
from IPython.display import display

from convnext_lessons.drawing import draw_design
from convnext_lessons.machine import CourseError, static_mode
from convnext_lessons.plots import draw_sweep


class CostExplorer:
    """A slider for some fields of an architecture, over its block and its cost; shows itself where it ends a cell.

    Args:
        base: the ``Architecture`` to begin with.
        choices: ``{field: values}``, a slider each; the field's value in ``base`` is where it begins.
        beside: ``{name: Architecture}`` to compare with, marked on the cost bars.
        task: what to find out.
        stage, block: the block to draw, counted from 1.
    """

    def __init__(self, base, choices, beside, task, stage=1, block=2):
        self.base, self.choices, self.beside, self.task = base, choices, beside, task
        designs = [*beside.values(), *self._designs()]
        widest = max(max(design.stream(stage - 1), design.inside(stage - 1)) for design in designs)
        self.picture_of = functools.lru_cache(maxsize=256)(
            lambda architecture: draw_design(architecture, beside, widest, stage, block).svg()
        )
        self.sliders = {
            field: ipywidgets.SelectionSlider(
                options=list(values),
                value=getattr(base, field),
                description=field,
                layout={"width": "600px"},
                style={"description_width": "120px"},
            )
            for field, values in choices.items()
        }
        self.view = ipywidgets.HTML()
        for control in self.sliders.values():
            control.observe(self._update, names="value")
        self._update()

    def _designs(self):
        """Every architecture that the sliders can reach."""
        for values in itertools.product(*self.choices.values()):
            with contextlib.suppress(CourseError):  # values that do not fit together have no picture either
                yield self.base.change(**dict(zip(self.choices, values, strict=True)))

    def _update(self, _=None):
        try:
            architecture = self.base.change(**{field: control.value for field, control in self.sliders.items()})
            self.view.value = self.picture_of(architecture)
        except CourseError as error:
            # The sliders' values do not fit together: say why in the place of the picture.
            self.view.value = f"<b>{escape(str(error))}</b>"

    def static(self):
        """The picture that stands for the sliders: the cost over each one's values."""
        return draw_sweep(self.base, self.choices, self.beside)

    def _ipython_display_(self):
        if static_mode():
            display(self.static())
            return
        task = ipywidgets.HTML(f"<b>{escape(self.task)}</b>")
        display(ipywidgets.VBox([task, *self.sliders.values(), self.view]))
