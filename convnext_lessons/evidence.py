"""What measured runs allow to say: means and spreads, Welch's intervals with Holm's correction, where a new run falls
among stored ones, and what so many seeds could have found at all.

All in percent and points of validation accuracy.
"""

import statistics
from dataclasses import dataclass
from html import escape

import numpy as np

from convnext_lessons.machine import CourseError
from convnext_lessons.records import Experiment, name_of, reference_runs
from convnext_lessons.roadmap import STEPS, paper_after

LEVEL = 0.05  # of all comparisons of a family together: the chance to call any difference real where none is
POWER = 0.8  # what "would find" means: four times out of five


class EvidenceError(CourseError, ValueError):
    """Runs that must not be averaged or compared, with what is different about them."""


@dataclass(frozen=True)
class Difference:
    """How far the mean of one group of runs lies from that of another.

    Attributes:
        name, than: the two groups.
        points: the first one's mean minus the other's.
        low, high: Welch's interval around it, at the level that Holm's method leaves to this comparison (95 % for one
            alone, more for one of several); None where the runs have no spread to make one of.
        p: Holm's adjusted p-value; None likewise.
    """

    name: str
    than: str
    points: float
    low: float | None
    high: float | None
    p: float | None

    @property
    def resolved(self):
        """Whether the runs tell the two apart: exactly where the interval leaves out zero."""
        return self.p is not None and self.p < LEVEL

    @property
    def interval(self):
        """In words."""
        return "no interval" if self.low is None else f"{self.low:+.1f} to {self.high:+.1f}"

    def __str__(self):
        verdict = "resolved" if self.resolved else "not resolved"
        return f"{self.points:+.1f} points, interval {self.interval}: {verdict}"


@dataclass(frozen=True)
class RunsCompared:
    """Groups of runs, ``{name: accuracies}``, and the ``Difference`` of each later one from the first."""

    groups: dict
    differences: tuple

    def __repr__(self):
        if not self.groups:
            return "No stored runs at this scale: one run alone cannot tell two networks apart."
        wide = max(map(len, self.groups))
        lines = [f"{name:{wide}}  {in_words(values)}" for name, values in self.groups.items()]
        for place, difference in enumerate(self.differences, start=1):
            lines[place] += f"; {difference}"
        if self.differences:
            lines.append(f"The intervals are Welch's, {_family(self.differences)}.")
        spread, seeds = pooled_spread(self.groups.values()), len(next(iter(self.groups.values())))
        if self.differences and spread:
            least = resolvable(spread, seeds, len(self.differences))
            lines.append(
                f"A difference of {least:.1f} points would be found with {seeds} seeds four times out of five."
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Gains:
    """The road in accuracies, the paper's and ours, and what each step adds; shows itself as a table whose last row is
    the reader's step.

    Attributes:
        groups: ``{name: accuracies}`` of steps 0 to 11, in their order.
        differences: of steps 1 to 11 from the step before, all of the family.
        until: the last step to show.
    """

    groups: dict
    differences: tuple
    until: int

    HEAD = ("step", "paper, %", "its gain", "here, %", "our gain", "interval", "resolved here")

    def rows(self):
        """The cells of the table, a row for each step."""
        titles = ["ResNet-50", *(step.title for step in STEPS)]
        papers = [paper_after(step) for step in range(self.until + 1)]
        for step, (title, values) in enumerate(zip(titles[: self.until + 1], self.groups.values(), strict=False)):
            cells = [f"{step} {title}", f"{papers[step].accuracy:.2f} ± {papers[step].spread:.2f}", ""]
            cells += [f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}", "", "", ""]
            if step:
                ours = self.differences[step - 1]
                cells[2] = f"{papers[step].accuracy - papers[step - 1].accuracy:+.2f}"
                cells[4:] = f"{ours.points:+.1f}", ours.interval, "yes" if ours.resolved else "no"
            yield cells

    def markdown(self):
        """The table for a page of Markdown."""
        lines = [self.HEAD, ["---"] * len(self.HEAD), *self.rows()]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def __repr__(self):
        table = [self.HEAD, *self.rows()]
        wide = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, wide, strict=True)).rstrip() for row in table]
        return "\n".join([*lines, self._note()])

    def _repr_html_(self):
        rows = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in self.HEAD)}</tr>"]
        for step, row in enumerate(self.rows()):
            weight = ' style="font-weight: bold"' if step == self.until else ""
            rows.append(f"<tr{weight}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
        return f"<table>{''.join(rows)}</table><small>{escape(self._note())}</small>"

    def _note(self):
        seeds, spread = len(next(iter(self.groups.values()))), pooled_spread(self.groups.values())
        least = resolvable(spread, seeds, len(self.differences))
        return (
            f"Paper: ImageNet, three seeds (Table 10). Here: Imagenette at pocket scale, {seeds} seeds. Gains are "
            f"points against the step before; Welch's intervals, {_family(self.differences)}. So many seeds would find "
            f"{least:.1f} points four times out of five."
        )


def gains(until=11):
    """What the stored pocket runs say of every step against the step before it, the paper's gains beside, as
    ``Gains``.

    All eleven comparisons are corrected together, however many are shown.

    Args:
        until: the last step to show.

    Raises:
        EvidenceError: the runs of a step or a seed are missing, or they do not belong together.
    """
    runs = {step: reference_runs(step=step) for step in range(12)}
    if lacking := [str(step) for step, found in runs.items() if not found]:
        raise EvidenceError(f"There are no stored runs of step {', '.join(lacking)}; `make reference` makes them.")
    groups = _groups([run for found in runs.values() for run in found])
    names = list(groups)
    return Gains(groups, differences(groups, list(zip(names[1:], names, strict=False))), until)


def compare_runs(runs):
    """Mean and spread of every group of runs (see ``records.name_of``), and its difference from the first group.

    Raises:
        EvidenceError: the runs of a group are not of one kind, groups differ in more than one thing, or seeds are
            missing.
    """
    groups = _groups(runs)
    first, *others = groups or [None]
    return RunsCompared(groups, differences(groups, [(name, first) for name in others]))


def differences(groups, pairs):
    """The ``Difference`` of each pair of groups, (name, than), corrected for being so many."""
    tests = [_welch(groups[name], groups[than]) for name, than in pairs]
    adjusted, levels = _holm([None if test is None else test.pvalue for test in tests])
    found = []
    for (name, than), test, p, level in zip(pairs, tests, adjusted, levels, strict=True):
        points = statistics.fmean(groups[name]) - statistics.fmean(groups[than])
        interval = (None, None) if test is None else map(float, test.confidence_interval(1 - level))
        found.append(Difference(name, than, points, *interval, p))
    return tuple(found)


def placed(run, stored):
    """Where a run fell among stored runs of the same experiment with other seeds, in one phrase; None where there is
    nothing to hold it against.

    The range is a prediction interval: of further runs like the stored ones, 19 out of 20 fall into such a range.
    """
    stored = [other for other in stored if _kind(other) == _kind(run) and other["seed"] != run["seed"]]
    if run["accuracy"] is None or run["status"] != "complete" or len(stored) < 2:
        return None
    low, high = _next_run([100 * other["accuracy"] for other in stored])
    accuracy = 100 * run["accuracy"]
    where = "below" if accuracy < low else "above" if accuracy > high else "inside"
    return f"{accuracy:.1f} %, {where} the {low:.1f} to {high:.1f} % expected of one more such run"


def in_words(values, what="runs"):
    """Mean, spread and count of a group, in percent."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread} % over {len(values)} {what}"


def pooled_spread(groups):
    """Standard deviation within groups of equal standing: the root of their mean variance; None without two in one."""
    variances = [statistics.variance(group) for group in groups if len(group) > 1]
    return statistics.fmean(variances) ** 0.5 if variances else None


def resolvable(spread, seeds, comparisons=1):
    """The difference that runs of so many seeds each would find four times out of five, in the unit of the spread.

    Welch's test on two groups of equal true spread; of several comparisons the one that Holm's method treats worst.

    Raises:
        EvidenceError: fewer than two seeds, which have no spread.
    """
    from scipy import optimize, stats  # takes a second to import, and a bare GPU machine goes without it

    if seeds < 2:
        raise EvidenceError(f"{seeds} seeds have no spread to judge a difference by; take at least 2.")
    # With equal groups Welch's statistic is Student's; only the degrees of freedom hang on how the two sample variances
    # share their sum, which is independent of the statistic. So: the mean over that share.
    rank = (np.arange(400) + 0.5) / 400
    share = stats.beta.ppf(rank, (seeds - 1) / 2, (seeds - 1) / 2)
    critical = stats.t.ppf(1 - LEVEL / comparisons / 2, (seeds - 1) / (share**2 + (1 - share) ** 2))

    def missed(difference):
        return stats.nct.cdf(critical, 2 * (seeds - 1), difference / (2 / seeds) ** 0.5).mean() - (1 - POWER)

    return spread * float(optimize.brentq(missed, 0, 4 * critical.max() * (2 / seeds) ** 0.5))


def _groups(runs):
    """{name: accuracies in %, by seed}, refused where they must not be averaged or compared."""
    found = {}
    for run in runs:
        name = name_of(run)
        if run["status"] != "complete":
            raise EvidenceError(f"A run of {name} with seed {run['seed']} was interrupted; leave it out.")
        kept = found.setdefault(name, {}).setdefault(run["seed"], run)
        if _kind(kept) == _kind(run) and kept is not run:
            raise EvidenceError(f"There are two runs of {name} with seed {run['seed']}; leave one out.")
    kinds = {}
    for name in found:
        kinds[name], *others = {_kind(run) for run in runs if name_of(run) == name}
        if others:
            raise EvidenceError(
                f"The runs of {name} differ in network, recipe, pictures or number format: they have no common mean; "
                'give each kind a "variant" of its own.'
            )
    first = next(iter(found), None)
    for name, by_seed in found.items():
        here, there = kinds[first], kinds[name]
        if here[2:] != there[2:]:
            raise EvidenceError(
                f"{first} and {name} ran on different pictures or in different number formats: their accuracies are "
                "not comparable."
            )
        if here[0] != there[0] and here[1] != there[1]:
            raise EvidenceError(
                f"{first} and {name} differ in network and recipe: a difference would have two causes; compare runs "
                "of one recipe, or of one network."
            )
        lacking = {seed for other in found.values() for seed in other} - by_seed.keys()
        if lacking:
            raise EvidenceError(
                f"{name} has no run with seed {', '.join(map(str, sorted(lacking)))}, which others have: make the "
                "missing runs, or leave those seeds out everywhere."
            )
    return {name: [100 * by_seed[seed]["accuracy"] for seed in sorted(by_seed)] for name, by_seed in found.items()}


def _kind(run):
    """What runs must have in common to be averaged: network, recipe (whatever its name), pictures, number format, fast
    mode."""
    what = Experiment.from_settings(run["settings"])
    pictures = run["images"]
    counts = pictures["note"], pictures["train"], pictures["val"]
    return what.architecture, what.recipe.change(name=""), counts, run["device"]["precision"], run["fast"]


def _family(differences):
    """How the intervals of a family are drawn, in words."""
    if len(differences) == 1:
        return "at 95 %"
    return (
        f"corrected by Holm's method for {len(differences)} comparisons: they leave out zero exactly where a "
        "difference is resolved at 5 % for all together"
    )


def _welch(values, others):
    """scipy's result, or None where there is no spread to judge a difference by."""
    if min(len(values), len(others)) < 2 or len({*values}) == len({*others}) == 1:
        return None
    from scipy import stats

    return stats.ttest_ind(values, others, equal_var=False)


def _holm(p_values):
    """Holm's adjusted p-values, and the level at which to draw each interval so that it leaves out zero exactly where
    the method rejects. Nones stay out of it.

    The smallest of m p-values is held against LEVEL / m, the next against LEVEL / (m - 1), and so on until one is too
    large: that one's level is kept for all behind it.
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted, levels = [None] * len(p_values), [LEVEL] * len(p_values)
    largest, remaining, going_on = 0.0, len(order), True
    for number, (p, place) in enumerate(order):
        if going_on:
            remaining = len(order) - number
        largest = max(largest, min(1.0, (len(order) - number) * p))
        adjusted[place], levels[place] = largest, LEVEL / remaining
        going_on = going_on and p < LEVEL / remaining
    return adjusted, levels


def _next_run(values):
    """The interval in which one more run of a group falls with 95 %."""
    from scipy import stats

    reach = float(stats.t.ppf(1 - LEVEL / 2, len(values) - 1)) * statistics.stdev(values) * (1 + 1 / len(values)) ** 0.5
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach
