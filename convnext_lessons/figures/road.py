"""The road in plots: the paper's accuracies, our short runs, what each network costs, and how long it takes.

Where the paper, the stored runs or the stored times say nothing of a step, its place stays empty.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from convnext_lessons.figures.palette import (
    CHANGED,
    CHANGED_WORDS,
    INK,
    NORM,
    NORM_WORDS,
    POINTWISE,
    SOFT,
    SPATIAL,
    STREAM,
)
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.model.cost import COSTS, count
from convnext_lessons.model.roadmap import LAST_STEP, SWIN_T, TITLES, architecture_after, label_of, paper_after
from convnext_lessons.runs.records import reference_runs
from convnext_lessons.runs.times import stored_time_ratio

_NAMES = [f"{number} {title}" for number, title in enumerate(TITLES)]


def draw_road(here: int | str | None = None, until: int = LAST_STEP) -> Plot:
    """The paper's accuracy at every step over our count of multiply-adds, with a marker where the reader stands.

    Args:
        here: the step to mark.
        until: the last step to show, so that a prediction comes before its answer.
    """
    numbers = range(until + 1)
    accuracy, spread = zip(*map(_paper_of, numbers), strict=True)
    figure, (top, bottom) = new_figure(9.6, 4.8, rows=2, share="x", heights=(3, 1.6))
    top.axhline(SWIN_T.accuracy, color=NORM, ls="--", lw=1.2)
    top.text(0, SWIN_T.accuracy + 0.12, f"Swin-T {SWIN_T.accuracy:.1f}", color=NORM_WORDS)
    top.errorbar(numbers, accuracy, spread, color=SPATIAL, marker="o", lw=1.8, capsize=3)
    top.set_ylabel("ImageNet top-1, %")
    macs = [count(architecture_after(number)).macs / 1e9 for number in numbers]
    bars = bottom.bar(numbers, macs, color=POINTWISE)
    bottom.bar_label(bars, [f"{value:.2f}" for value in macs], size=8, color=INK)
    bottom.set(ylabel="10⁹ multiply-adds", ylim=(0, 6.6), xlim=(-0.6, len(_NAMES) - 0.4))
    top.set_ylim(78.4, 82.6)
    bottom.set_xticks(range(len(_NAMES)), _NAMES)
    bottom.tick_params(axis="x", labelrotation=35)
    for label in bottom.get_xticklabels():
        label.set_horizontalalignment("right")
    if here is not None:
        number = int(label_of(here))
        bars[number].set(edgecolor=CHANGED, linewidth=1.5)
        bottom.get_xticklabels()[number].set(color=CHANGED_WORDS, weight="bold")
        if math.isfinite(accuracy[number]):
            top.plot(number, accuracy[number], marker="o", ms=15, mfc="none", mec=CHANGED, mew=2.5)
            note = {"color": CHANGED_WORDS, "weight": "bold", "ha": "center" if number else "left"}
            falls = number > 0 and accuracy[number - 1] > accuracy[number]  # then the curve lies over the point
            place = (0, -24 if falls else 14)
            top.annotate("you are here", (number, accuracy[number]), place, textcoords="offset points", **note)
    top.set_title("Accuracy: the paper's Table 10, three seeds. Multiply-adds: counted here.", size=10)
    words = "; ".join(
        f"step {number} {value} %, {gmacs:.2f} G" if math.isfinite(value) else f"step {number} {gmacs:.2f} G"
        for number, value, gmacs in zip(numbers, accuracy, macs, strict=True)
    )
    return Plot(figure, f"The road from ResNet-50 to ConvNeXt-T: {words}.")


def draw_summary() -> Plot:
    """The whole road in one picture, a row for every step: the paper's accuracy, what our short runs say so far, what
    each network costs, and the measured time of a training step."""
    steps = range(len(_NAMES))
    runs = [[100 * run["accuracy"] for run in reference_runs(step=step)] for step in steps]
    times = [stored_time_ratio(architecture_after(0), architecture_after(step)) for step in steps]
    panels_of = [
        ("the paper's accuracy\nImageNet, %", *zip(*map(_paper_of, steps), strict=True), ""),
        ("our short runs\nImagenette, %", *zip(*map(_mean_and_spread, runs), strict=True), ""),
    ]
    for kind in COSTS:
        title = kind.title.split(",")[0].replace("activation memory", "memory, training")
        values = [kind.of(count(architecture_after(step))) / kind.unit for step in steps]
        panels_of.append((f"{title}\n{kind.unit_name}", values, None, ".3g"))
    medians = [time.median if time else math.nan for time in times]
    panels_of.append(("time, training step\nResNet-50 = 1", medians, None, ".2f"))
    figure, panels = new_figure(12.4, 4.6, columns=len(panels_of), share="y")
    for panel, (title, values, spread, digits) in zip(panels, panels_of, strict=True):
        if spread:
            panel.errorbar(values, steps, xerr=spread, color=SPATIAL, marker="o", ms=5, lw=1.5, capsize=3)
            panel.margins(x=0.2)
            panel.grid(axis="y", color=STREAM, lw=0.4)
        else:
            bars = panel.barh(steps, values, color=POINTWISE)
            numbers = [f"{value:{digits}}" if math.isfinite(value) else "" for value in values]
            panel.bar_label(bars, numbers, size=8, padding=6)
            panel.margins(x=0.25)
        panel.set_title(title, size=10)
    panels[0].axvline(SWIN_T.accuracy, color=NORM, ls="--", lw=1.2)
    panels[0].text(SWIN_T.accuracy, 0.2, "Swin-T ", color=NORM_WORDS, size=8, ha="right")
    panels[0].set(yticks=steps, yticklabels=_NAMES, ylim=(len(_NAMES) - 0.4, -0.6))
    for step, time in zip(steps, times, strict=True):
        if time:
            panels[-1].plot((time.low, time.high), (step, step), color=INK, lw=1.2)
    panels[-1].set_xlabel(times[-1].source.replace(", ", "\n").replace(" with", "\nwith") if times[-1] else "", size=8)
    seeds = min((len(values) for values in runs if values), default=0)
    panels[1].set_xlabel(f"{seeds} seeds, mean ± std" if seeds else "no stored runs", size=8)
    return Plot(
        figure, f"The road, summed up. {'; '.join(_step_in_words(step, runs[step], times[step]) for step in steps)}."
    )


def draw_flops_and_time() -> Plot:
    """How many times as long as ResNet-50's a training step of each full network takes, measured in turns with it, over
    each of their costs. On the dotted line are networks that need as long as ResNet-50 for each unit of the cost."""
    steps = range(len(_NAMES))
    times = {step: stored_time_ratio(architecture_after(0), architecture_after(step)) for step in steps}
    times = {step: time for step, time in times.items() if time}
    costs = {step: count(architecture_after(step)) for step in times}
    figure, panels = new_figure(4.2 * len(COSTS), 4.0, columns=len(COSTS), share="y")
    medians = [time.median for time in times.values()]
    errors = [[time.median - time.low for time in times.values()], [time.high - time.median for time in times.values()]]
    for panel, kind in zip(panels, COSTS, strict=True):
        values = [kind.of(cost) / kind.unit for cost in costs.values()]
        first = kind.of(count(architecture_after(0))) / kind.unit
        line = np.linspace(min(values) * 0.95, max(values) * 1.05, 2)
        points = list(zip(values, medians, strict=True))
        panel.plot(line, line / first, color=SOFT, ls=":", lw=1.2)
        panel.plot(values, medians, color=STREAM, lw=0.8, zorder=0)
        panel.errorbar(values, medians, errors, color=SPATIAL, fmt="o", ms=6, lw=1.2)
        for step, point, place in zip(times, points, free_places(points), strict=True):
            at = {"xytext": place, "textcoords": "offset points", "ha": "center", "va": "center"}
            panel.annotate(str(step), point, size=11, color=INK, **at)
        panel.set(xlabel=f"{kind.title}, {kind.unit_name}")
    panels[0].set(ylabel="time of a training step, ResNet-50 = 1", ylim=(0.85 * min(medians), 1.1 * max(medians)))
    where = next(time.source for step, time in times.items() if step)
    figure.suptitle(f"Time of steps {min(times)} to {max(times)}: {where}, 224 px", size=10)
    table = "; ".join(
        f"step {step} {', '.join(f'{kind.of(cost) / kind.unit:.4g} {kind.unit_name}' for kind in COSTS)}, "
        f"time {times[step]}"
        for step, cost in costs.items()
    )
    titles = ", ".join(kind.title for kind in COSTS)
    return Plot(figure, f"Time of a training step, ResNet-50 = 1, over {titles}. {table}.")


AWAY = 13  # points from a dot to its name


def free_places(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """For each dot of a panel, in which of eight directions its name is farthest from other dots and names: offsets in
    points, as if the dots filled a panel of ``AREA``."""
    corner = np.min(points, axis=0)
    dots = (np.array(points) - corner) / np.maximum(np.ptp(points, axis=0), 1e-12) * AREA
    around = [(AWAY * math.cos(turn), AWAY * math.sin(turn)) for turn in np.arange(8) * math.pi / 4]
    taken, chosen = [*dots], []
    for number, dot in enumerate(dots):
        others = [other for place, other in enumerate(taken) if place != number]
        free = [min((np.linalg.norm(dot + offset - other) for other in others), default=0) for offset in around]
        chosen.append(around[int(np.argmax(np.round(free, 6)))])
        taken.append(dot + chosen[-1])
    return chosen


AREA = (190.0, 170.0)  # in points, about what the dots of these panels fill


def _paper_of(step):
    """(accuracy, spread) in the paper; not a number where it has none."""
    paper = paper_after(step)
    return (paper.accuracy, paper.spread or math.nan) if paper else (math.nan, math.nan)


def _mean_and_spread(values):
    if not values:
        return math.nan, math.nan
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _step_in_words(step, runs, time):
    paper, (mean, spread) = paper_after(step), _mean_and_spread(runs)
    words = [f"paper {paper.accuracy} %"] if paper else []
    words += [f"here {mean:.1f} ± {spread:.1f} %"] if runs else []
    words += [f"training time {time}"] if time else []
    return f"{_NAMES[step]}: {', '.join(words) or 'not measured'}"
