"""What networks cost, in plots: by stage, by part, over the values of a field, and in time."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from convnext_lessons.figures.palette import AFTER, BEFORE, CHANGED, INK, SOFT, SPATIAL
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import COSTS, count
from convnext_lessons.runs.times import time_ratio


def draw_costs(
    before: Architecture, after: Architecture, names: tuple[str, str] = ("before", "after"), image_size: int = 224
) -> Plot:
    """What one picture costs by stage, before and after a change, and how much longer a training step takes: measured
    here in turns, or on pages to be read as it is stored."""
    costs = [count(model, image_size) for model in (before, after)]
    rows = math.ceil((len(COSTS) + 1) / 2)
    figure, panels = new_figure(9.6, 2.8 * rows, rows=rows, columns=2)
    words = []
    for panel, kind in zip(panels, COSTS, strict=False):
        by_stage = [cost.by_stage(kind.key) for cost in costs]
        for side, (stages, color, name) in enumerate(zip(by_stage, (BEFORE, AFTER), names, strict=True)):
            at = np.arange(len(stages)) + 0.42 * side - 0.21
            panel.bar(at, [value / kind.unit for value in stages.values()], 0.4, color=color, label=name)
        panel.set_xticks(range(len(by_stage[0])), [stage.replace("stage ", "") for stage in by_stage[0]])
        old, new = (sum(stages.values()) for stages in by_stage)
        total = f"{old / kind.unit:.4g} → {new / kind.unit:.4g} {kind.unit_name} ({_change(new / old - 1)})"
        panel.set_title(f"{kind.title}\n{total}", size=11)
        words.append(f"{kind.title} {total}")
    words.append(_draw_time(panels[len(COSTS)], time_ratio(before, after, image_size), names))
    for empty in panels[len(COSTS) + 1 :]:
        empty.axis("off")
    panels[0].legend(frameon=False, loc="upper left")
    return Plot(figure, f"Cost of {names[0]} and {names[1]} by stage: {'; '.join(words)}.")


def _change(share):
    """A share that something grows or shrinks by, in percent, whole ones from one percent on."""
    words = f"{share:+.0%}" if abs(share) >= 0.01 else f"{100 * share:+.1g}%"
    return words.replace("-", "−") if share else "equal"


def _draw_time(panel, ratio, names):
    """The time of a training step relative to before, with its interval."""
    panel.bar((0, 1), (1, ratio.median), 0.5, color=(BEFORE, AFTER))
    error = [[ratio.median - ratio.low], [ratio.high - ratio.median]]
    panel.errorbar(1, ratio.median, error, color=INK, capsize=5)
    panel.set_xticks((0, 1), names)
    panel.set_xlim(-0.8, 1.8)
    panel.set_xlabel(ratio.source, size=8)
    title = f"time of a training step\n{ratio}"
    panel.set_title(title, size=11)
    return title.replace("\n", " ")


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
