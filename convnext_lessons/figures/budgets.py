"""The ladder of budgets: what longer training makes of the networks, and of their order."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from convnext_lessons.figures.palette import CHANGED, INK, NORM, SCALE, SPATIAL
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.runs.records import RunRecord
from convnext_lessons.runs.significance import describe_group

STYLES = ((INK, "o", "-"), (NORM, "s", "--"), (SPATIAL, "D", "-."), (SCALE, "^", ":"), (CHANGED, "v", "-"))


def draw_budgets(runs: Sequence[RunRecord]) -> Plot:
    """Accuracy, and under it the training loss at the end, over the epochs: a column for each recipe, a line for each
    step of the road, a mark for each run.

    Args:
        runs: whose recipes differ in name and epochs, as the stored ``"ladder"`` has them.
    """
    found = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))  # of each recipe, step and number of epochs
    for run in runs:
        recipe = run["settings"]["recipe"]
        found[recipe["name"]][run["step"]][recipe["epochs"]].append(run)
    columns = max(1, len(found))
    figure, panels = new_figure(5.4 * columns, 5.6, rows=2, columns=columns, share="x", heights=(3, 2))
    rows = panels[:columns], panels[columns:]
    for row, label in zip(rows, ("accuracy, %", "training loss"), strict=True):
        row[0].set_ylabel(label)
        for panel in row[1:]:
            panel.sharey(row[0])
    words = []
    for (name, steps), accuracy, loss in zip(found.items(), *rows, strict=False):
        for number, (step, budgets) in enumerate(sorted(steps.items(), key=lambda pair: int(pair[0]))):
            style = STYLES[number % len(STYLES)]
            beside = 1.05 ** (number - (len(steps) - 1) / 2)  # so that the marks of one budget stand side by side
            _line(accuracy, budgets, _percent, beside, style, f"step {step}")
            _line(loss, budgets, _last_loss, beside, style)
            words += [_in_words(f"{name}, step {step}, {epochs} epochs", budgets[epochs]) for epochs in sorted(budgets)]
        budgets = sorted({epochs for of_step in steps.values() for epochs in of_step})
        accuracy.set_title(name, size=10)
        loss.set_xscale("log", base=2)
        loss.set_xticks(budgets, list(map(str, budgets)))
        loss.set_xlabel("epochs")
    if found:
        panels[0].legend(frameon=False, loc="lower right")
    return Plot(figure, f"Accuracy and training loss by budget. {'; '.join(words) or 'No stored runs yet'}.")


def _line(axes, budgets, value_of, beside, style, label=None):
    """The means as a line, every run as a mark."""
    color, marker, dash = style
    values = {epochs: [value_of(run) for run in budgets[epochs]] for epochs in sorted(budgets)}
    axes.plot([epochs * beside for epochs in values], list(map(fmean, values.values())), color=color, ls=dash, lw=1.4)
    dots = [(epochs * beside, value) for epochs, of_budget in values.items() for value in of_budget]
    axes.plot(*zip(*dots, strict=True), color=color, marker=marker, mfc="none", ls="")
    axes.plot([], [], color=color, marker=marker, mfc="none", ls=dash, label=label)  # for the legend: line and mark


def _percent(run):
    return 100 * run["accuracy"]


def _last_loss(run):
    return next(point["loss"] for point in reversed(run["curve"]) if point["loss"] is not None)


def _in_words(name, runs):
    return f"{name}: {describe_group(list(map(_percent, runs)))}, training loss {fmean(map(_last_loss, runs)):.2f}"
