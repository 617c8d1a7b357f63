"""Sliders over the course's pictures, and predictions. Where no widget can live, each shows a picture in its place."""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import ipywidgets
from IPython.display import display

from convnext_lessons.classroom.frozen import STATES, Control, freeze, html_of, still
from convnext_lessons.classroom.predictions import ANSWERS, QUESTIONS, predict, read_predictions
from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.costs import draw_sweep
from convnext_lessons.figures.diagrams import draw_design
from convnext_lessons.figures.plots import Plot
from convnext_lessons.figures.tables import Table
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import static_mode

_WIDE = {"layout": {"width": "600px"}, "style": {"description_width": "150px"}}


Picture = Diagram | Plot


class Explorer:
    """Controls over a picture; shows itself where it ends a cell.

    Args:
        controls: ``{name: values}``; numbers and other values in order get a slider, a dictionary ``{label: value}``
            gets a button for each label.
        draw: is called with one value a control, in their order, and returns a ``Diagram`` or a ``Plot``; its answers
            are kept.
        task: what to find out.
        start: ``{name: value}`` where a control does not begin at its first value.
        static: the ``Diagram`` or ``Plot`` that stands for the controls on a page; what they begin with unless given.
    """

    def __init__(
        self,
        controls: Mapping[str, Iterable | Mapping[str, Any]],
        draw: Callable[..., Picture],
        task: str,
        start: Mapping[str, Any] | None = None,
        static: Picture | None = None,
    ):
        self.task, self._static = task, static
        self._drawn = functools.lru_cache(maxsize=256)(draw)
        self._html = functools.lru_cache(maxsize=256)(lambda *values: _html_of(self._drawn(*values)))
        start = start or {}
        self.controls = {
            name: _control(name, values, start.get(name, next(iter(_values(values)))))
            for name, values in controls.items()
        }
        self.view = ipywidgets.HTML()
        for control in self.controls.values():
            control.observe(self._update, names="value")
        if not static_mode():
            self._update()

    def _now(self):
        return [control.value for control in self.controls.values()]

    def _update(self, _=None):
        try:
            self.view.value = self._html(*self._now())
        except CourseError as error:
            # The controls' values do not fit together: say why in the place of the picture.
            self.view.value = f"<b>{escape(str(error))}</b>"

    @property
    def number_of_states(self) -> int:
        """How many combinations the values of its controls have."""
        return math.prod(len(control.options) for control in self.controls.values())

    def static(self) -> Picture:
        """What stands for the controls on a page."""
        return self._drawn(*self._now()) if self._static is None else self._static

    def frozen(self) -> str:
        """All states as HTML that moves without a kernel, for pages and slides; see ``frozen``.

        An explorer of more than ``frozen.STATES`` states, or too heavy a one, becomes the picture that stands for it,
        with a sentence that says so.
        """
        number = self.number_of_states
        if number > STATES:
            why = f"Its {number:,} settings are too many for a page; this explorer moves in the notebook."
            return still(self.task, html_of(self.static()), why)
        controls = [
            Control(
                name,
                [label for label, _ in control.options],
                control.index,
                ordered=isinstance(control, ipywidgets.SelectionSlider),
            )
            for name, control in self.controls.items()
        ]
        options = [control.options for control in self.controls.values()]
        states = [self._frozen_state(chosen) for chosen in itertools.product(*options)]
        why = "Its pictures are too large for a page; this explorer moves in the notebook."
        return freeze(self.task, controls, states) or still(self.task, html_of(self.static()), why)

    def _frozen_state(self, chosen):
        """(HTML, sentence) of one choice, which is a label and a value for each control."""
        labels = ", ".join(f"{name} {label}" for name, (label, _) in zip(self.controls, chosen, strict=True))
        try:
            picture = self._drawn(*(value for _, value in chosen))
        except CourseError as error:
            return f"<b>{escape(str(error))}</b>", f"{labels}: {error}"
        return html_of(picture), f"{labels}: {picture.alt}"

    def _ipython_display_(self):
        if static_mode():
            display(self.static())
            return
        task = ipywidgets.HTML(f"<b>{escape(self.task)}</b>")
        display(ipywidgets.VBox([task, *self.controls.values(), self.view]))


class CostExplorer(Explorer):
    """A slider for some fields of an architecture, over its block and its cost.

    Args:
        base: the ``Architecture`` to begin with.
        choices: ``{field: values}``, a slider each; the field's value in ``base`` is where it begins.
        beside: ``{name: Architecture}`` to compare with, marked on the cost bars.
        task: what to find out.
        stage, block: the block to draw, counted from 1.
    """

    def __init__(
        self,
        base: Architecture,
        choices: Mapping[str, Iterable],
        beside: Mapping[str, Architecture],
        task: str,
        stage: int = 1,
        block: int = 2,
    ):
        def design(*values):
            return base.change(**dict(zip(choices, values, strict=True)))

        designs = [*beside.values()]
        for values in itertools.product(*choices.values()):
            with contextlib.suppress(CourseError):  # values that do not fit together have no picture either
                designs.append(design(*values))
        widest = max(max(design.stream(stage - 1), design.inside(stage - 1)) for design in designs)
        super().__init__(
            choices,
            lambda *values: draw_design(design(*values), beside, widest, stage, block),
            task,
            start={field: getattr(base, field) for field in choices},
            static=draw_sweep(base, choices, beside) if static_mode() else None,
        )


class Predictions:
    """The questions about a step before it is taken; what is chosen is kept for ``score``, here and in lesson 11."""

    def __init__(self, step: int):
        self.step = step
        kept = read_predictions().get(str(step), {})
        options = [("?", None), *((answer, answer) for answer in ANSWERS)]
        self.controls = {
            question: ipywidgets.ToggleButtons(
                options=options,
                value=kept.get(question),
                description=question,
                style={"description_width": "260px", "button_width": "110px"},
            )
            for question in QUESTIONS
        }
        for question, control in self.controls.items():
            control.observe(functools.partial(self._keep, question), names="value")

    def _keep(self, question, change):
        predict(self.step, question, change["new"])

    def _ipython_display_(self):
        if not static_mode():
            display(ipywidgets.VBox(list(self.controls.values())))
            return
        rows = [(question, *["○"] * len(ANSWERS)) for question in QUESTIONS]
        display(Table(("question", *ANSWERS), rows))


def _values(values):
    return values.values() if isinstance(values, dict) else values


def _control(name, values, start):
    if isinstance(values, dict):
        style = {"style": {**_WIDE["style"], "button_width": "auto"}}
        return ipywidgets.ToggleButtons(options=list(values.items()), value=start, description=name, **style)
    # As pairs, because a value may be a tuple itself.
    options = [(str(value), value) for value in values]
    return ipywidgets.SelectionSlider(options=options, value=start, description=name, **_WIDE)


def _html_of(picture):
    """A picture for a widget, in which nothing else keeps a plot from being wider than its cell."""
    if isinstance(picture, Diagram):
        return picture.svg()
    return picture.html().replace("<img ", '<img style="max-width:100%" ', 1)
