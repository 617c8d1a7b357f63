"""Training curves: stored runs as bands, the reader's runs as lines, and the curve of a run under way."""

import itertools
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convnext_lessons.figures.palette import ACTIVATION, INK, MINE, NORM, POINTWISE, SOFT, SPATIAL
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.runs.records import RunRecord, group_name, validated_points
from convnext_lessons.runs.significance import describe_group, describe_position


def draw_curves(stored: Sequence[RunRecord], mine: Sequence[RunRecord] = (), by: str = "pictures") -> Plot:
    """Validation accuracy while training: stored runs as a band over their seeds, the reader's runs as lines into it.

    Args:
        stored, mine: records of runs, as ``reference_runs`` and ``Run.record`` give them.
        by: ``"pictures"`` or ``"seconds"`` on the horizontal axis.
    """
    figure, (axes,) = new_figure(7.6, 3.8)
    _curves(axes, stored, mine, by)
    theirs, ours = (sorted({run["images"]["note"] for run in runs}) for runs in (stored, mine))
    title = f"validation accuracy on {', '.join(theirs or ours)}" + ("; mean ± std of stored runs" if theirs else "")
    if theirs and ours and theirs != ours:
        title = f"NOT THE SAME PICTURES: stored runs on {', '.join(theirs)}; yours on {', '.join(ours)}"
    for run in mine:
        if where := describe_position(run, stored):
            title += f"\nyour run of {group_name(run)}: {where}"
    # From the left, since a legend beside many curves makes the axes narrow.
    # Without TeX, since a folder may have a $ in its name.
    title = title if theirs or ours else "no stored runs at this scale yet"
    axes.set_title(title, size=10, loc="left", parse_math=False)
    return Plot(figure, _curves_in_words(stored, mine))


def _curves(axes, stored, mine, by):
    groups = defaultdict(list)
    for run in stored:
        groups[group_name(run)].append(run)
    styles = itertools.cycle(
        ((SOFT, ".."), (SPATIAL, ""), (NORM, "//"), (INK, "xx"), (POINTWISE, "oo"), (ACTIVATION, "++"))
    )
    for (name, runs), (color, hatch) in zip(groups.items(), styles, strict=False):
        curves = np.array([[point["accuracy"] for point in validated_points(run)] for run in runs]) * 100
        x = np.mean([[point[by] for point in validated_points(run)] for run in runs], axis=0)
        mean, spread = curves.mean(0), curves.std(0, ddof=1) if len(runs) > 1 else np.zeros(curves.shape[1])
        axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.25, hatch=hatch, lw=0)
        axes.plot(x, mean, color=color, lw=1.5, label=f"{name}: {len(runs)} stored runs")
    for run in mine:
        points = validated_points(run)
        dash = "--" if groups and group_name(run) != list(groups)[-1] else "-"
        label = f"your run, step {run['step']}, seed {run['seed']}" if run["step"] else f"your run, seed {run['seed']}"
        x, y = [point[by] for point in points], [100 * point["accuracy"] for point in points]
        axes.plot(x, y, color=MINE, marker="o", ls=dash, lw=2, label=label)
    axes.set(xlabel={"pictures": "training pictures seen", "seconds": "seconds of training"}[by], ylabel="accuracy, %")
    if len(groups) > 3:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)  # beside the curves
    elif groups or mine:
        axes.legend(frameon=False, loc="lower right")


def _curves_in_words(stored, mine):
    groups = defaultdict(list)
    for run in stored:
        groups[group_name(run)].append(100 * run["accuracy"])
    words = [f"{name}: {describe_group(values, 'stored runs')}" for name, values in groups.items()]
    for run in mine:
        if run["accuracy"] is not None:
            position = describe_position(run, stored) or f"{100 * run['accuracy']:.1f} %"
            words.append(f"your run of {group_name(run)}: {position}")
    return f"Validation accuracy at the end: {'; '.join(words) or 'nothing measured yet'}."


class LiveCurve:
    """Give it to ``train`` as ``report``: the loss so far grows under the cell, and stays there as a picture."""

    def __init__(self, title: str = "", every: float = 1.0):
        self.title, self.every = title, every
        self.points, self.handle, self.shown = [], None, 0.0

    def __call__(self, point: Mapping[str, Any]) -> None:
        self.points.append(point)
        if "accuracy" in point or time.monotonic() - self.shown > self.every:
            self.show()

    def show(self) -> None:
        """Draw what there is, in the place of what was drawn before."""
        from IPython.display import display

        plot = self.plot()
        if self.handle is None:
            self.handle = display(plot, display_id=True)
        elif self.handle:
            self.handle.update(plot)
        self.shown = time.monotonic()

    def plot(self) -> Plot:
        """The curve so far, as a ``Plot``."""
        figure, (axes,) = new_figure(7.6, 2.6)
        losses = [(point["pictures"], point["loss"]) for point in self.points if point["loss"] is not None]
        axes.plot([pictures for pictures, _ in losses], [loss for _, loss in losses], color=MINE, lw=1.8)
        axes.set(xlabel="training pictures seen", ylabel="training loss")
        accuracies = validated_points({"curve": self.points})
        if accuracies:
            right = axes.twinx()
            for name, style in (("accuracy", "o-"), ("accuracy_unaveraged", "x:")):
                points = [point for point in accuracies if name in point]
                x, y = [point["pictures"] for point in points], [100 * point[name] for point in points]
                if points:
                    right.plot(x, y, style, color=SPATIAL, lw=1.8, label=name.removeprefix("accuracy_"))
            if "accuracy_unaveraged" in accuracies[-1]:
                right.lines[0].set_label("averaged")
                right.legend(frameon=False, loc="center right", fontsize=8)
            right.set(ylabel="accuracy, %")
            right.yaxis.label.set_color(SPATIAL)
            right.spines["top"].set_visible(False)
        last = self.points[-1]
        now = f"{last['pictures']:,} pictures in {last['seconds']:.0f} s"
        now += f", loss {losses[-1][1]:.2f}" if losses else ""
        now += f", accuracy {accuracies[-1]['accuracy']:.1%}" if accuracies else ""
        axes.set_title(" · ".join(filter(None, (self.title, now))), size=10)
        return Plot(figure, f"{self.title} {now}".strip())
