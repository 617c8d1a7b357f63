"""Networks ranked by what their runs reached."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from convnext_lessons.figures.palette import INK, SOFT, SPATIAL, STREAM
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.runs.significance import describe_group


def draw_ranking(accuracies: Mapping[str, Sequence[float]], marked: Collection[str] = ()) -> Plot:
    """What the runs of networks reached, the best network on top: a row a network, a dot a run, a line for the mean.

    Args:
        accuracies: of the runs of each network, in percent, by its name; a network without runs has no row.
        marked: the names of the networks to show in blue.
    """
    ranked = sorted((name for name in accuracies if accuracies[name]), key=lambda name: -fmean(accuracies[name]))
    figure, (axes,) = new_figure(7.6, 0.8 + 0.32 * len(ranked))
    words = []
    for row, name in enumerate(ranked):
        values, color = accuracies[name], SPATIAL if name in marked else SOFT
        axes.plot(values, [row] * len(values), "o", color=color, alpha=0.6, mew=0)
        axes.plot([fmean(values)] * 2, [row - 0.35, row + 0.35], color=INK, lw=1.5)
        axes.annotate(f"{fmean(values):.1f}", (max(values), row), (10, 0), textcoords="offset points", va="center")
        words.append(f"{name} {describe_group(values)}")
    axes.set(xlabel="accuracy, %: a dot a run, a line and a number for the mean", ylim=(len(ranked) - 0.4, -0.6))
    axes.set_yticks(range(len(ranked)), ranked)
    axes.margins(x=0.1)
    axes.grid(axis="y", color=STREAM, lw=0.5)
    axes.set_axisbelow(True)
    return Plot(figure, f"From the best to the worst: {'; '.join(words) or 'no runs yet'}.")
