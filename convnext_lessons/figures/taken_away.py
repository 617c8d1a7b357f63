"""What each step is worth, measured twice: when the road adds it, and when the finished network goes without it."""

from collections.abc import Mapping

from convnext_lessons.figures.palette import CHANGED, CHANGED_WORDS, INK, SPATIAL, STREAM
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.model.roadmap import TITLES
from convnext_lessons.runs.significance import Difference

APART = 0.16  # of the two marks of a row from its middle


def draw_taken_away(added: Mapping[int, Difference], removed: Mapping[int, Difference]) -> Plot:
    """A row for each step: what it added on the road, and what the last network loses without it, both with their
    intervals. Filled marks are resolved. A step that cannot be taken away has no second mark.

    Args:
        added: by step, its difference from the step before.
        removed: by step, the difference of the network without it from the last one; drawn with the other sign, so that
            a step that helps is on the right in both.
    """
    figure, (axes,) = new_figure(8.6, 0.9 + 0.42 * len(added))
    words = []
    for row, step in enumerate(added):
        said = []
        for name, found, sign, color, marker, side in (
            ("added", added, 1, SPATIAL, "o", -APART),
            ("taken away", removed, -1, CHANGED, "s", APART),
        ):
            if difference := found.get(step):
                worth = sign * difference.points
                _mark(axes, row + side, worth, _errors(difference), color, marker, difference.resolved)
                said.append(f"{name} {worth:+.1f}{'' if difference.resolved else ', not resolved'}")
        words.append(f"step {step} {TITLES[step]}: {'; '.join(said)}")
    axes.axvline(0, color=INK, lw=1)
    axes.set_yticks(range(len(added)), [f"{step} {TITLES[step]}" for step in added])
    axes.set(ylim=(len(added) - 0.4, -0.6), xlabel="points of accuracy that the step is worth; filled where resolved")
    axes.grid(axis="y", color=STREAM, lw=0.4)
    at = {"xycoords": "axes fraction", "ha": "right", "size": 9}
    axes.annotate("● added on the road", (1, 1.01), color=SPATIAL, xytext=(-150, 0), textcoords="offset points", **at)
    axes.annotate("■ taken away at the end", (1, 1.01), color=CHANGED_WORDS, **at)
    return Plot(figure, f"What each step is worth, in points of accuracy. {'. '.join(words) or 'No stored runs yet'}.")


def _errors(difference):
    """How far an interval reaches to both sides; it is the same on both."""
    return None if difference.low is None else (difference.high - difference.low) / 2


def _mark(axes, row, worth, reach, color, marker, filled):
    axes.errorbar(
        worth, row, xerr=reach, color=color, marker=marker, ms=6, mfc=color if filled else "white", lw=1.4, capsize=3
    )
