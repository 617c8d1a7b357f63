"""What networks cost, in plots: by stage, by part, and over the values of a field."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from convnext_lessons.figures.palette import AFTER, BEFORE, CHANGED, INK, SOFT, SPATIAL
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import COSTS, count, time_network

Model = Architecture | nn.Module


def draw_costs(
    before: Model, after: Model, names: tuple[str, str] = ("before", "after"), image_size: int = 224
) -> Plot:
    """What one picture costs by stage, before and after a change: counted, and timed on this machine."""
    costs = [count(model, image_size) for model in (before, after)]
    timings = [time_network(model, image_size) for model in (before, after)]
    panels_of = [(kind.title, kind.unit, kind.unit_name, [cost.by_stage(kind.key) for cost in costs]) for kind in COSTS]
    panels_of.append(("measured time, forward", 1e-3, "ms", [timing.stages for timing in timings]))
    rows = math.ceil(len(panels_of) / 2)
    figure, panels = new_figure(9.6, 2.8 * rows, rows=rows, columns=2)
    words = []
    for panel, (title, unit, unit_name, by_stage) in zip(panels, panels_of, strict=False):
        for side, (stages, color, name) in enumerate(zip(by_stage, (BEFORE, AFTER), names, strict=True)):
            at = np.arange(len(stages)) + 0.42 * side - 0.21
            panel.bar(at, [value / unit for value in stages.values()], 0.4, color=color, label=name)
        panel.set_xticks(range(len(by_stage[0])), [stage.replace("stage ", "") for stage in by_stage[0]])
        old, new = (sum(stages.values()) for stages in by_stage)
        total = f"{old / unit:.4g} → {new / unit:.4g} {unit_name} ({new / old - 1:+.0%})"
        panel.set_title(f"{title}\n{total}", size=11)
        words.append(f"{title} {total}")
    panels[len(panels_of) - 1].set_xlabel(f"{timings[0].device}, threads: {timings[0].threads}")
    for empty in panels[len(panels_of) :]:
        empty.axis("off")
    panels[0].legend(frameon=False, loc="upper left")
    return Plot(figure, f"Cost of {names[0]} and {names[1]} by stage: {'; '.join(words)}.")


def draw_changes(title: str, unit: float, unit_name: str, changes: Mapping[str, float]) -> Plot:
    """What each part adds to a sum or takes from it, as bars to the right and to the left.

    Args:
        changes: the difference that each part makes, by name.
    """
    figure, (axes,) = new_figure(8.4, 0.6 + 0.45 * len(changes))
    values = [change / unit for change in changes.values()]
    bars = axes.barh(list(changes), values, color=[CHANGED if value > 0 else SPATIAL for value in values])
    axes.bar_label(bars, [f"{value:+,.0f}" for value in values], padding=4)
    axes.axvline(0, color=INK, lw=1)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set(xlabel=unit_name)
    axes.set_title(title, size=10)
    words = ", ".join(f"{part} {value:+,.0f}" for part, value in zip(changes, values, strict=True))
    return Plot(figure, f"{title}, {unit_name}: {words}.")


def draw_sweep(base: Architecture, choices: Mapping[str, Sequence], beside: Mapping[str, Architecture]) -> Plot:
    """What each of some fields does to the cost, the others held: a row of panels a field, lines for what is beside.

    Args:
        choices: values by field.
        beside: what to compare with, by name.
    """
    figure, panels = new_figure(9.6, 2.6 * len(choices), rows=len(choices), columns=len(COSTS))
    panels = iter(panels)
    for field, values in choices.items():
        for kind in COSTS:
            panel = next(panels)
            costs = [kind.of(count(base.change(**{field: value}))) / kind.unit for value in values]
            panel.plot(values, costs, color=SPATIAL, marker="o", ms=4)
            here = getattr(base, field), kind.of(count(base)) / kind.unit
            panel.plot(*here, marker="o", ms=11, mfc="none", mec=CHANGED, mew=2)
            levels = {name: kind.of(count(other)) / kind.unit for name, other in beside.items()}
            for name, level in levels.items():
                panel.axhline(level, color=SOFT, ls=":", lw=1)
                side = "bottom" if level == max(levels.values()) else "top"
                panel.text(values[-1], level, name, size=8, color=SOFT, ha="right", va=side)
            panel.set(xlabel=field, ylim=(0, None))
            panel.set_title(f"{kind.title}, {kind.unit_name}", size=10)
    titles = ", ".join(kind.title for kind in COSTS)
    return Plot(figure, f"{titles.capitalize()} over {' and '.join(choices)}.")
