"""Runs beside the road, the stored ones and the paper's: accuracies, losses, kernels."""

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from statistics import fmean

from convnext_lessons.figures.palette import CHANGED, INK, NORM, SOFT, SPATIAL, STREAM
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import count
from convnext_lessons.model.roadmap import Paper
from convnext_lessons.runs.records import RunRecord
from convnext_lessons.runs.significance import describe_group


def draw_kernel_accuracies(paper: Mapping[int, Paper]) -> Plot:
    """The paper's accuracy over the kernel size, with its spread and the network's multiply-adds.

    Args:
        paper: what the paper reports, by kernel size.
    """
    figure, (axes,) = new_figure(6.4, 2.9)
    accuracies = [row.accuracy for row in paper.values()]
    spreads = [row.spread or 0 for row in paper.values()]
    axes.errorbar(list(paper), accuracies, spreads, color=SPATIAL, fmt="o", capsize=4)
    for kernel, row in paper.items():
        axes.annotate(f"{row.gmacs:.2f} G", (kernel, row.accuracy), (8, -10), textcoords="offset points", size=8)
    axes.set(xlabel="kernel size", ylabel="ImageNet top-1, %", xticks=list(paper))
    axes.set_xlim(min(paper) - 0.5, max(paper) + 1)  # with room for the last words
    words = "; ".join(
        f"{kernel}×{kernel} {row.accuracy:.2f} ± {spread:.2f} % at {row.gmacs:.2f} G"
        for (kernel, row), spread in zip(paper.items(), spreads, strict=True)
    )
    return Plot(figure, f"The paper's accuracy over the kernel size: {words}.")


def draw_losses(runs: Mapping[str, RunRecord]) -> Plot:
    """The training loss of some runs, each a line of its own.

    Args:
        runs: records of runs, by what to call them; four have a style of their own.
    """
    figure, (axes,) = new_figure(7.6, 3.2)
    styles = ((SPATIAL, "-"), (CHANGED, "--"), (NORM, "-."), (INK, ":"))
    words = []
    for (name, run), (color, dash) in zip(runs.items(), cycle(styles), strict=False):
        # A point with an accuracy only repeats the loss of the point before.
        points = [point for point in run["curve"] if "accuracy" not in point]
        losses = [point["loss"] for point in points]
        axes.plot([point["pictures"] for point in points], losses, color=color, ls=dash, lw=1.8, label=name)
        words.append(f"{name} ends at {losses[-1]:.2f}" if losses else f"{name} has none")
    axes.set(xlabel="training pictures seen", ylabel="training loss")
    if runs:
        axes.legend(frameon=False)
    return Plot(figure, f"Training loss over pictures seen: {'; '.join(words) or 'no runs'}.")


def draw_two_by_two(
    groups: Mapping[str, Sequence[float]], lines: Mapping[str, tuple[str, str]], columns: tuple[str, str]
) -> Plot:
    """Two choices in all four combinations: a column for each value of one, a line for each value of the other, and a
    dot for each run.

    Args:
        groups: accuracies in percent by design, as ``compare_runs`` has them; the place of a design without runs stays
            empty.
        lines: the designs on each line, from left to right, by the line's name.
        columns: what the two places are called.
    """
    figure, (axes,) = new_figure(6.4, 3.4)
    words = []
    for (name, designs), color, side in zip(lines.items(), (SPATIAL, CHANGED), (-1, 1), strict=True):
        found = {place: groups[design] for place, design in enumerate(designs) if groups.get(design)}
        means = [fmean(accuracies) for accuracies in found.values()]
        axes.plot(list(found), means, color=color, label=name)
        for place, accuracies in found.items():
            beside = place + 0.02 * side  # so that the dots of one line do not hide those of the other
            axes.plot([beside] * len(accuracies), accuracies, "o", color=color, mfc="none")
            at = {"xytext": (-9 if place == 0 else 9, 0), "textcoords": "offset points", "va": "center"}
            mean = fmean(accuracies)
            axes.annotate(designs[place], (place, mean), ha="right" if place == 0 else "left", size=10, **at)
            words.append(f"{name}, {columns[place]}: {describe_group(accuracies)}")
    axes.set(xticks=(0, 1), xticklabels=columns, xlim=(-0.4, 1.4), ylabel="accuracy, %")
    axes.legend(frameon=False)
    return Plot(figure, f"Accuracy of stored runs: {'; '.join(words) or 'nothing measured yet'}.")


def draw_memory_and_accuracy(
    designs: Mapping[str, Architecture], accuracies: Mapping[str, Sequence[float]], marked: Collection[str] = ()
) -> Plot:
    """What designs need in memory for training and what their runs reached: a row a design, a dot a run.

    Args:
        designs: by name.
        accuracies: of the runs of each design, in percent; a design without runs has no dots.
        marked: the names of the designs to show in blue.
    """
    figure, (left, right) = new_figure(9.6, 0.6 + 0.35 * len(designs), columns=2, share="y")
    memory = [count(design).activation_bytes / 1e6 for design in designs.values()]
    bars = left.barh(range(len(designs)), memory, color=[SPATIAL if name in marked else STREAM for name in designs])
    left.bar_label(bars, [f"{value:.0f}" for value in memory], padding=3)
    left.margins(x=0.12)
    words = []
    for row, (name, value) in enumerate(zip(designs, memory, strict=True)):
        values = accuracies.get(name, ())
        right.plot(values, [row] * len(values), "o", color=SPATIAL if name in marked else SOFT)
        words.append(f"{name} {value:.0f} MB, {describe_group(values) if values else 'no runs yet'}")
    left.set(xlabel="activation memory, MB", ylim=(len(designs) - 0.4, -0.6))
    left.set_yticks(range(len(designs)), list(designs))
    right.set(xlabel="accuracy, %, one dot a seed")
    right.grid(axis="y", color=STREAM, lw=0.5)
    return Plot(figure, f"Activation memory and accuracy of designs: {'; '.join(words)}.")


def draw_early_losses(
    groups: Mapping[str, Sequence[RunRecord]], beside: Sequence[RunRecord], until: int, mark: int
) -> Plot:
    """The training loss at the start of runs: a panel a group, a line a run.

    Args:
        groups: records of runs, by what to call them, side by side.
        beside: the runs to compare with, grey in every panel.
        until: the last number of training pictures to show.
        mark: the number of training pictures at which a dotted line stands.
    """
    figure, panels = new_figure(6.4 * len(groups), 3.0, columns=len(groups), share="y")
    words = []
    for panel, (name, runs) in zip(panels, groups.items(), strict=True):
        for run, color in [(run, STREAM) for run in beside] + [(run, CHANGED) for run in runs]:
            points = [point for point in run["curve"] if point["loss"] is not None and point["pictures"] <= until]
            pictures, losses = [point["pictures"] for point in points], [point["loss"] for point in points]
            panel.plot(pictures, losses, color=color, lw=1.2)
        accuracies = [100 * run["accuracy"] for run in runs if run["accuracy"] is not None]
        end = f"in the end {min(accuracies):.0f} to {max(accuracies):.0f} %" if accuracies else "no runs yet"
        panel.set_title(f"{name}\n{end}", size=9)
        panel.axvline(mark, color=STREAM, ls=":")
        panel.set(xlim=(0, until), xlabel="pictures")
        panel.locator_params(axis="x", nbins=4)
        words.append(f"{name}, {end}")
    panels[0].set(ylabel="training loss")
    return Plot(figure, f"Training loss over the first {until:,} pictures: {'; '.join(words)}.")
