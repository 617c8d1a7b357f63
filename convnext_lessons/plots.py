"""Plots in the colours of the diagrams: the road, costs by stage, training curves, and the curve of a run under way."""

import itertools
import statistics
import time
from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure

from convnext_lessons.cost import latency, measure, sketch
from convnext_lessons.drawing import ACTIVATION, CHANGED, INK, NORM, POINTWISE, SOFT, SPATIAL, STREAM
from convnext_lessons.evidence import in_words, placed
from convnext_lessons.picture import png_of
from convnext_lessons.records import name_of, reference_runs
from convnext_lessons.reference import times
from convnext_lessons.roadmap import STEPS, SWIN_T, architecture_after, label_of, paper_after

BEFORE, AFTER, MINE = STREAM, SPATIAL, CHANGED
WHITE = {"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8}  # behind words that lie on lines
COSTS = {
    "macs": ("multiply-adds", 1e9, "× 10⁹"),
    "params": ("parameters", 1e6, "× 10⁶"),
    "activation_bytes": ("activation memory, training", 1e6, "MB"),
}


class Plot:
    """A matplotlib figure that shows itself as a PNG, with a sentence for those who do not see it."""

    def __init__(self, figure, alt):
        self.figure, self.alt = figure, alt

    def png(self):
        """The plot as PNG bytes."""
        return png_of(self.figure)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": self.png(), "text/plain": self.alt}


def draw_road(here=None, until=11):
    """The paper's accuracy at every step over our count of multiply-adds, with a marker where the reader stands.

    Args:
        here: the step to mark.
        until: the last step to show, so that a prediction comes before its answer.
    """
    numbers = range(until + 1)
    papers = [paper_after(number) for number in numbers]
    titles = ["ResNet-50", *(step.title for step in STEPS)]
    names = [f"{number} {title}" for number, title in enumerate(titles)]
    figure, (top, bottom) = new_figure(9.6, 4.8, rows=2, share="x", heights=(3, 1.6))
    accuracy, spread = [paper.accuracy for paper in papers], [paper.spread for paper in papers]
    top.axhline(SWIN_T.accuracy, color=NORM, ls="--", lw=1.2)
    top.text(0, SWIN_T.accuracy + 0.12, f"Swin-T {SWIN_T.accuracy:.1f}", color=NORM)
    top.errorbar(numbers, accuracy, spread, color=SPATIAL, marker="o", lw=1.8, capsize=3)
    top.set_ylabel("ImageNet top-1, %")
    macs = [sketch(architecture_after(number)).macs / 1e9 for number in numbers]
    bars = bottom.bar(numbers, macs, color=POINTWISE)
    bottom.bar_label(bars, [f"{value:.2f}" for value in macs], size=8, color=INK)
    bottom.set(ylabel="10⁹ multiply-adds", ylim=(0, 6.6), xlim=(-0.6, len(names) - 0.4))
    top.set_ylim(78.4, 82.6)
    bottom.set_xticks(range(len(names)), names)
    bottom.tick_params(axis="x", labelrotation=35)
    for label in bottom.get_xticklabels():
        label.set_horizontalalignment("right")
    if here is not None:
        number = int(label_of(here))
        top.plot(number, accuracy[number], marker="o", ms=15, mfc="none", mec=CHANGED, mew=2.5)
        note = {"color": CHANGED, "weight": "bold", "ha": "center" if number else "left"}
        top.annotate("you are here", (number, accuracy[number]), (0, 14), textcoords="offset points", **note)
        bars[number].set(edgecolor=CHANGED, linewidth=1.5)
        bottom.get_xticklabels()[number].set(color=CHANGED, weight="bold")
    top.set_title("Accuracy: the paper's Table 10, three seeds. Multiply-adds: counted here.", size=10)
    words = "; ".join(f"step {n} {a} %, {m:.2f} G" for n, a, m in zip(numbers, accuracy, macs, strict=True))
    return Plot(figure, f"The road from ResNet-50 to ConvNeXt-T: {words}.")


def draw_summary():
    """The whole road in one picture, a row for every step: the paper's accuracy, what our short runs say so far, what
    each network costs, and the measured time of a training step."""
    steps = range(12)
    names = ["0 ResNet-50", *(f"{step.number} {step.title}" for step in STEPS)]
    networks = [architecture_after(step) for step in steps]
    spent = times()
    ours = [[100 * run["accuracy"] for run in reference_runs(step=step)] for step in steps]
    papers = [paper_after(step) for step in steps]
    panels_of = [
        ("the paper's accuracy\nImageNet, %", [paper.accuracy for paper in papers], [paper.spread for paper in papers]),
        ("our short runs\nImagenette, %", [statistics.fmean(runs) for runs in ours], [_spread(runs) for runs in ours]),
    ]
    for key, (title, unit, unit_name) in COSTS.items():
        title = title.split(",")[0].replace("activation memory", "memory, training")
        panels_of.append((f"{title}\n{unit_name}", [getattr(sketch(what), key) / unit for what in networks], None))
    training = [spent["training"][str(step)] / spent["training"]["0"] for step in steps]
    panels_of.append(("time, training step\nResNet-50 = 1", training, None))
    figure, panels = new_figure(12.4, 4.6, columns=len(panels_of), share="y")
    for panel, (title, values, spread) in zip(panels, panels_of, strict=True):
        if spread:
            panel.errorbar(values, steps, xerr=spread, color=SPATIAL, marker="o", ms=5, lw=1.5, capsize=3)
            panel.margins(x=0.2)
        else:
            bars = panel.barh(steps, values, color=POINTWISE)
            panel.bar_label(bars, [f"{value:.3g}" for value in values], size=8, padding=2)
            panel.margins(x=0.25)
        panel.set_title(title, size=10)
        panel.grid(axis="y", color=STREAM, lw=0.4)
    panels[0].axvline(SWIN_T.accuracy, color=NORM, ls="--", lw=1.2)
    panels[0].text(SWIN_T.accuracy, 0.2, "Swin-T ", color=NORM, size=8, ha="right")
    panels[0].set(yticks=steps, yticklabels=names, ylim=(11.6, -0.6))
    panels[-1].set_xlabel(f"{spent['device']['name']}, {spent['device']['threads']} threads", size=8)
    panels[1].set_xlabel(f"{min(map(len, ours))} seeds, mean ± std", size=8)
    words = "; ".join(
        f"{name}: paper {papers[step].accuracy} %, here {statistics.fmean(ours[step]):.1f} ± "
        f"{_spread(ours[step]):.1f} %, training time × {training[step]:.2f}"
        for step, name in enumerate(names)
    )
    return Plot(figure, f"The road, summed up. {words}.")


def draw_flops_and_time():
    """Training images a second of all twelve full networks, measured, over their multiply-adds and over their
    activation memory. On the dotted line are networks that need as long as ResNet-50 for each unit of the cost."""
    spent, steps = times(), range(12)
    rates = [1 / spent["training"][str(step)] for step in steps]
    costs = [sketch(architecture_after(step)) for step in steps]
    figure, panels = new_figure(9.6, 4.2, columns=2, share="y")
    words = []
    for panel, key in zip(panels, ("macs", "activation_bytes"), strict=True):
        title, unit, unit_name = COSTS[key]
        values = np.array([getattr(cost, key) / unit for cost in costs])
        line = np.linspace(values.min() * 0.95, values.max() * 1.05, 50)
        panel.plot(line, rates[0] * values[0] / line, color=SOFT, ls=":", lw=1.2)
        panel.plot(values, rates, color=STREAM, lw=0.8, zorder=0)
        panel.scatter(values, rates, s=45, color=SPATIAL)
        for step in steps:  # to both sides in turn, since some points lie on each other
            side = 1 if step % 2 == 0 else -1
            place = {"xytext": (7 * side, 0), "textcoords": "offset points", "ha": "left" if side > 0 else "right"}
            panel.annotate(str(step), (values[step], rates[step]), va="center", size=11, color=INK, bbox=WHITE, **place)
        together = np.corrcoef(np.log(values), np.log(rates))[0, 1]
        panel.set(xlabel=f"{title}, {unit_name}")
        panel.set_title(f"correlation of the logarithms {together:+.2f}", size=10)
        words.append(f"{title}, correlation of the logarithms {together:+.2f}")
    panels[0].set(ylabel="images/s in training, measured")
    where = f"{spent['device']['name']}, {spent['device']['threads']} threads, batches of {spent['batch_size']}, 224 px"
    figure.suptitle(f"Speed of steps 0 to 11: {where}", size=10)
    table = "; ".join(
        f"step {step} {cost.macs / 1e9:.2f} G, {cost.activation_bytes / 1e6:.0f} MB, {rate:.1f} images/s"
        for step, cost, rate in zip(steps, costs, rates, strict=True)
    )
    return Plot(figure, f"Training speed over {' and '.join(words)}. {table}.")


def _spread(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0


def draw_costs(before, after, names=("before", "after"), image_size=224):
    """What one picture costs by stage, before and after a change: counted, and timed on this machine.

    Args:
        before, after: an ``Architecture`` or a network.
    """
    sides = (before, after)
    costs = [measure(what, image_size) for what in sides]
    times = [latency(what, image_size) for what in sides]
    panels_of = [
        (title, unit, name, [cost.by_stage(key) for cost in costs]) for key, (title, unit, name) in COSTS.items()
    ]
    panels_of.append(("measured time, forward", 1e-3, "ms", [spent.stages for spent in times]))
    figure, panels = new_figure(9.6, 5.6, rows=2, columns=2)
    words = []
    for panel, (title, unit, unit_name, by_stage) in zip(panels, panels_of, strict=True):
        for side, (stages, color, name) in enumerate(zip(by_stage, (BEFORE, AFTER), names, strict=True)):
            places = np.arange(len(stages)) + 0.42 * side - 0.21
            panel.bar(places, [value / unit for value in stages.values()], 0.4, color=color, label=name)
        panel.set_xticks(range(len(by_stage[0])), [stage.replace("stage ", "") for stage in by_stage[0]])
        old, new = (sum(stages.values()) for stages in by_stage)
        total = f"{old / unit:.4g} → {new / unit:.4g} {unit_name} ({new / old - 1:+.0%})"
        panel.set_title(f"{title}\n{total}", size=11)
        words.append(f"{title} {total}")
    panels[-1].set_xlabel(f"{times[0].device}, threads: {times[0].threads}")
    panels[0].legend(frameon=False, loc="upper left")
    return Plot(figure, f"Cost of {names[0]} and {names[1]} by stage: {'; '.join(words)}.")


def draw_changes(title, unit, unit_name, changes):
    """What each part adds to a sum or takes from it, as bars to the right and to the left.

    Args:
        changes: ``{part: difference}``.
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


def draw_sweep(base, choices, beside):
    """What each of some fields does to the cost, the others held: a row of panels a field, lines for what is beside.

    Args:
        base: an ``Architecture``.
        choices: ``{field: values}``.
        beside: ``{name: Architecture}``.
    """
    figure, panels = new_figure(9.6, 2.6 * len(choices), rows=len(choices), columns=len(COSTS))
    for row, (field, values) in enumerate(choices.items()):
        for panel, (key, (title, unit, unit_name)) in zip(panels[row * len(COSTS) :], COSTS.items(), strict=False):
            costs = [getattr(sketch(base.change(**{field: value})), key) / unit for value in values]
            panel.plot(values, costs, color=SPATIAL, marker="o", ms=4)
            panel.plot(
                getattr(base, field),
                getattr(sketch(base), key) / unit,
                marker="o",
                ms=11,
                mfc="none",
                mec=CHANGED,
                mew=2,
            )
            levels = {name: getattr(sketch(other), key) / unit for name, other in beside.items()}
            for name, level in levels.items():
                panel.axhline(level, color=SOFT, ls=":", lw=1)
                side = "bottom" if level == max(levels.values()) else "top"
                panel.text(values[-1], level, name, size=8, color=SOFT, ha="right", va=side)
            panel.set(xlabel=field, ylim=(0, None))
            panel.set_title(f"{title}, {unit_name}", size=10)
    return Plot(figure, f"Multiply-adds, parameters and activation memory over {' and '.join(choices)}.")


def draw_curves(stored, mine=(), by="pictures"):
    """Validation accuracy while training: stored runs as a band over their seeds, the reader's runs as lines into it.

    Args:
        stored, mine: records of runs.
        by: ``"pictures"`` or ``"seconds"`` on the horizontal axis.
    """
    figure, (axes,) = new_figure(7.6, 3.8)
    _curves(axes, stored, mine, by)
    theirs, ours = (sorted({run["images"]["note"] for run in runs}) for runs in (stored, mine))
    title = f"validation accuracy on {', '.join(theirs or ours)}" + ("; mean ± std of stored runs" if theirs else "")
    if theirs and ours and theirs != ours:
        title = f"NOT THE SAME PICTURES: stored runs on {', '.join(theirs)}; yours on {', '.join(ours)}"
    for run in mine:
        if where := placed(run, stored):
            title += f"\nyour run of {name_of(run)}: {where}"
    # From the left, since a legend beside many curves makes the axes narrow.
    axes.set_title(title if theirs or ours else "no stored runs at this scale yet", size=10, loc="left")
    return Plot(figure, _curves_in_words(stored, mine))


def _curves(axes, stored, mine, by):
    groups = defaultdict(list)
    for run in stored:
        groups[name_of(run)].append(run)
    styles = itertools.cycle(
        ((SOFT, ".."), (SPATIAL, ""), (NORM, "//"), (INK, "xx"), (POINTWISE, "oo"), (ACTIVATION, "++"))
    )
    for (name, runs), (color, hatch) in zip(groups.items(), styles, strict=False):
        curves = np.array([[point["accuracy"] for point in measured(run)] for run in runs]) * 100
        x = np.mean([[point[by] for point in measured(run)] for run in runs], axis=0)
        mean, spread = curves.mean(0), curves.std(0, ddof=1) if len(runs) > 1 else np.zeros(curves.shape[1])
        axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.25, hatch=hatch, lw=0)
        axes.plot(x, mean, color=color, lw=1.5, label=f"{name}: {len(runs)} stored runs")
    for run in mine:
        points = measured(run)
        dash = "--" if groups and name_of(run) != list(groups)[-1] else "-"
        label = f"your run, step {run['step']}, seed {run['seed']}" if run["step"] else f"your run, seed {run['seed']}"
        x, y = [point[by] for point in points], [100 * point["accuracy"] for point in points]
        axes.plot(x, y, color=MINE, marker="o", ls=dash, lw=2, label=label)
    axes.set(xlabel={"pictures": "training pictures seen", "seconds": "seconds of training"}[by], ylabel="accuracy, %")
    if len(groups) > 3:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)  # beside the curves
    elif groups or mine:
        axes.legend(frameon=False, loc="lower right")


def measured(run):
    """The points of a run's curve at which its accuracy was measured."""
    return [point for point in run["curve"] if "accuracy" in point]


def _curves_in_words(stored, mine):
    groups = defaultdict(list)
    for run in stored:
        groups[name_of(run)].append(100 * run["accuracy"])
    words = [f"{name}: {in_words(values, 'stored runs')}" for name, values in groups.items()]
    words += [
        f"your run of {name_of(run)}: {placed(run, stored) or format(100 * run['accuracy'], '.1f') + ' %'}"
        for run in mine
        if run["accuracy"] is not None
    ]
    return f"Validation accuracy at the end: {'; '.join(words) or 'nothing measured yet'}."


class LiveCurve:
    """Give it to ``train`` as ``report``: the loss so far grows under the cell, and stays there as a picture."""

    def __init__(self, title="", every=1.0):
        self.title, self.every = title, every
        self.points, self.handle, self.shown = [], None, 0.0

    def __call__(self, point):
        self.points.append(point)
        if "accuracy" in point or time.monotonic() - self.shown > self.every:
            self.show()

    def show(self):
        """Draw what there is, in the place of what was drawn before."""
        from IPython.display import display

        plot = self.plot()
        if self.handle is None:
            self.handle = display(plot, display_id=True)
        elif self.handle:
            self.handle.update(plot)
        self.shown = time.monotonic()

    def plot(self):
        """The curve so far, as a ``Plot``."""
        figure, (axes,) = new_figure(7.6, 2.6)
        losses = [(point["pictures"], point["loss"]) for point in self.points if point["loss"] is not None]
        axes.plot([pictures for pictures, _ in losses], [loss for _, loss in losses], color=MINE, lw=1.8)
        axes.set(xlabel="training pictures seen", ylabel="training loss")
        accuracies = measured({"curve": self.points})
        if accuracies:
            right = axes.twinx()
            x, y = [point["pictures"] for point in accuracies], [100 * point["accuracy"] for point in accuracies]
            right.plot(x, y, color=SPATIAL, marker="o", lw=1.8)
            right.set(ylabel="accuracy, %", ylim=(0, 100))
            right.yaxis.label.set_color(SPATIAL)
            right.spines["top"].set_visible(False)
        last = self.points[-1]
        now = f"{last['pictures']:,} pictures in {last['seconds']:.0f} s"
        now += f", loss {losses[-1][1]:.2f}" if losses else ""
        now += f", accuracy {accuracies[-1]['accuracy']:.1%}" if accuracies else ""
        axes.set_title(" · ".join(filter(None, (self.title, now))), size=10)
        return Plot(figure, f"{self.title} {now}".strip())


def new_figure(width, height, rows=1, columns=1, share="", heights=None):
    """A figure in the course's manner and the list of its panels; ``Plot(figure, alt)`` shows it.

    Args:
        width, height: in inches.
        share: ``"x"`` or ``"y"`` where the panels have one such axis.
        heights: of the rows, relative to each other.
    """
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    grid = {"height_ratios": heights} if heights else None
    shared = {"sharex": share == "x", "sharey": share == "y"}
    panels = figure.subplots(rows, columns, gridspec_kw=grid, squeeze=False, **shared).ravel()
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=9)
    return figure, panels
