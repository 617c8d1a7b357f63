"""What measured runs allow to say: means and spreads, Welch's intervals with Holm's correction, where a new run falls
among stored ones, and what so many seeds could have found at all.

All in percent and points of validation accuracy.
"""

import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convnext_lessons.model.roadmap import PAPER_STEPS, paper_after
from convnext_lessons.runs.records import Experiment, RunRecord, group_name, reference_runs
from convnext_lessons.system.errors import CourseError

LEVEL = 0.05  # of all comparisons of a family together: the chance to call any difference real where none is

PAPER_SEEDS = 3  # behind each mean and spread of the paper's Table 10

POWER = 0.8  # what "would find" means: four times out of five

PAGE = 100  # letters in a line


class SignificanceError(CourseError, ValueError):
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
    def resolved(self) -> bool:
        """Whether the runs tell the two apart: exactly where the interval leaves out zero."""
        return self.p is not None and self.p < LEVEL

    @property
    def interval(self) -> str:
        """In words."""
        return "no interval" if self.low is None else f"{self.low:+.1f} to {self.high:+.1f}"

    def __str__(self):
        verdict = "resolved" if self.resolved else "not resolved"
        interval = self.interval if self.low is None else f"interval {self.interval}"
        return f"{self.points:+.1f} points, {interval}: {verdict}"


@dataclass(frozen=True)
class RunsCompared:
    """Groups of runs, ``{name: accuracies}``, and the ``Difference`` of each later one from the first."""

    groups: dict[str, list[float]]
    differences: tuple[Difference, ...]

    def __repr__(self):
        if not self.groups:
            return "No stored runs at this scale: one run alone cannot tell two networks apart."
        wide = max(map(len, self.groups))
        lines = [f"{name:{wide}}  {describe_group(values)}" for name, values in self.groups.items()]
        for number, difference in enumerate(self.differences, start=1):
            lines[number] += f"; {difference}"
        if self.differences:
            lines += textwrap.wrap(f"The intervals are Welch's, {describe_family(self.differences)}.", PAGE)
        spread, seeds = pooled_spread(self.groups.values()), len(next(iter(self.groups.values())))
        if self.differences and spread:
            least = resolvable_difference(spread, seeds, len(self.differences))
            lines.append(
                f"With {seeds} seeds, a true difference of {least:.1f} points would be resolved four times out of five."
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class StepGains:
    """The road in accuracies, as our stored runs have it, and what each step adds.

    Attributes:
        groups: ``{name: accuracies}`` of ResNet-50 and the paper's steps, in their order.
        differences: of each of these steps from the step before, all of one family.
        until: the last step that was asked for; ``figures.show_gains`` shows no more.
    """

    groups: dict[str, list[float]]
    differences: tuple[Difference, ...]
    until: int


def compare_steps(until: int = PAPER_STEPS[-1]) -> StepGains:
    """What the stored pocket runs say of every step of the paper against the step before it.

    The paper's steps are one family, corrected together, however many are shown and whatever else is stored.

    Args:
        until: the last step to show.

    Raises:
        SignificanceError: ``until`` is no step of the paper, the runs of a step or a seed are missing, or they do not
            belong together.
    """
    if until not in (0, *PAPER_STEPS):
        raise SignificanceError(
            f"Step {until!r} is none of the paper's, which are compared as one family; ask for 0 to {PAPER_STEPS[-1]}, "
            "and compare other runs with compare_runs."
        )
    runs = {step: reference_runs(step=step) for step in (0, *PAPER_STEPS)}
    if lacking := [str(step) for step, found in runs.items() if not found]:
        raise SignificanceError(f"There are no stored runs of step {', '.join(lacking)}; `make reference` makes them.")
    groups = _groups([run for found in runs.values() for run in found])
    names = list(groups)
    return StepGains(groups, compare_groups(groups, list(zip(names[1:], names, strict=False))), until)


def compare_runs(runs: Iterable[RunRecord]) -> RunsCompared:
    """Mean and spread of every group of runs (see ``records.group_name``), and its difference from the first group.

    Raises:
        SignificanceError: the runs of a group are not of one kind, groups differ in more than one thing, or seeds are
            missing.
    """
    groups = _groups(runs)
    first, *others = groups or [None]
    return RunsCompared(groups, compare_groups(groups, [(name, first) for name in others]))


def compare_groups(groups: Mapping[str, Sequence[float]], pairs: Sequence[tuple[str, str]]) -> tuple[Difference, ...]:
    """The ``Difference`` of each pair of groups, (name, than), corrected for being so many."""
    tests = [_welch(groups[name], groups[than]) for name, than in pairs]
    adjusted, levels = _holm([None if test is None else test.pvalue for test in tests])
    found = []
    for (name, than), test, p, level in zip(pairs, tests, adjusted, levels, strict=True):
        points = statistics.fmean(groups[name]) - statistics.fmean(groups[than])
        interval = (None, None) if test is None else map(float, test.confidence_interval(1 - level))
        found.append(Difference(name, than, points, *interval, p))
    return tuple(found)


def paper_interval(step: int) -> tuple[float, tuple[float, float]]:
    """What the paper's accuracies say of a step of it against the step before: points, and Welch's interval of 95 %
    around them, from mean and spread of ``PAPER_SEEDS`` runs each."""
    from scipy import stats

    before, after = (paper_after(number) for number in (step - 1, step))
    variances = [paper.spread**2 / PAPER_SEEDS for paper in (before, after)]
    freedom = sum(variances) ** 2 * (PAPER_SEEDS - 1) / sum(variance**2 for variance in variances)
    reach = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * sum(variances) ** 0.5
    points = after.accuracy - before.accuracy
    return points, (points - reach, points + reach)


def describe_position(run: RunRecord, stored: Iterable[RunRecord]) -> str | None:
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


def describe_group(values: Sequence[float], noun: str = "runs") -> str:
    """Mean, spread and count of a group, in percent."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread} % over {len(values)} {noun}"


def pooled_spread(groups: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation within groups of equal standing: the root of their mean variance; None without two in one."""
    variances = [statistics.variance(group) for group in groups if len(group) > 1]
    return statistics.fmean(variances) ** 0.5 if variances else None


def resolvable_difference(spread: float, seeds: int, comparisons: int = 1) -> float:
    """The difference that runs of so many seeds each would find four times out of five, in the unit of the spread.

    Welch's test on two groups of equal true spread; of several comparisons the one that Holm's method treats worst.

    Raises:
        SignificanceError: fewer than two seeds, which have no spread.
    """
    from scipy import optimize, stats  # takes a second to import, and a bare GPU machine goes without it

    if seeds < 2:
        raise SignificanceError(f"{seeds} seeds have no spread to judge a difference by; take at least 2.")
    # With equal groups Welch's statistic is Student's; only the degrees of freedom depend on how the two sample
    # variances share their sum, which is independent of the statistic. So: the mean over that share.
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
        name = group_name(run)
        if run["status"] != "complete":
            raise SignificanceError(f"A run of {name} with seed {run['seed']} was interrupted; leave it out.")
        kept = found.setdefault(name, {}).setdefault(run["seed"], run)
        if _kind(kept) == _kind(run) and kept is not run:
            raise SignificanceError(f"There are two runs of {name} with seed {run['seed']}; leave one out.")
    kinds = {}
    for name in found:
        kinds[name], *others = {_kind(run) for run in runs if group_name(run) == name}
        if others:
            raise SignificanceError(
                f"The runs of {name} differ in network, recipe, pictures or number format: they have no common mean; "
                'give each kind a "variant" of its own.'
            )
    first = next(iter(found), None)
    for name, by_seed in found.items():
        here, there = kinds[first], kinds[name]
        if here[2:] != there[2:]:
            raise SignificanceError(
                f"{first} and {name} ran on different pictures or in different number formats: their accuracies are "
                "not comparable."
            )
        if here[0] != there[0] and here[1] != there[1]:
            raise SignificanceError(
                f"{first} and {name} differ in network and recipe: a difference would have two causes; compare runs "
                "of one recipe, or of one network."
            )
        lacking = {seed for other in found.values() for seed in other} - by_seed.keys()
        if lacking:
            raise SignificanceError(
                f"{name} has no run with seed {', '.join(map(str, sorted(lacking)))}, which others have: make the "
                "missing runs, or leave those seeds out everywhere."
            )
    return {name: [100 * by_seed[seed]["accuracy"] for seed in sorted(by_seed)] for name, by_seed in found.items()}


def _kind(run):
    """What runs must have in common to be averaged: network, recipe (whatever its name), pictures, number format, fast
    mode."""
    experiment = Experiment.from_settings(run["settings"])
    pictures = run["images"]
    counts = pictures["note"], pictures["train"], pictures["val"]
    return experiment.architecture, experiment.recipe.change(name=""), counts, run["device"]["precision"], run["fast"]


def describe_family(differences: Sequence[Difference]) -> str:
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
    large: that one's level is kept for all after it.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted, levels = [None] * len(p_values), [LEVEL] * len(p_values)
    largest, remaining, going_on = 0.0, len(order), True
    for number, (p, index) in enumerate(order):
        if going_on:
            remaining = len(order) - number
        largest = max(largest, min(1.0, (len(order) - number) * p))
        adjusted[index], levels[index] = largest, LEVEL / remaining
        going_on = going_on and p < LEVEL / remaining
    return adjusted, levels


def _next_run(values):
    """The interval in which one more run of a group falls with 95 %."""
    from scipy import stats

    reach = float(stats.t.ppf(1 - LEVEL / 2, len(values) - 1)) * statistics.stdev(values) * (1 + 1 / len(values)) ** 0.5
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach
