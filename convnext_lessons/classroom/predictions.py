"""What a learner expects of a step before taking it, kept between lessons, and how it compares with what is so."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from convnext_lessons.figures.tables import Table
from convnext_lessons.model.cost import COSTS, count
from convnext_lessons.model.roadmap import PAPER_STEPS, architecture_after, label_of
from convnext_lessons.runs.significance import compare_steps, paper_interval, pooled_spread, resolvable_difference
from convnext_lessons.runs.times import time_ratio
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import data_folder
from convnext_lessons.system.storage import locked, read_json, sweep_parts, write_json

ANSWERS = ("down a lot", "a little down", "equal", "a little up", "up a lot")

CANNOT_TELL = "cannot tell"  # no answer to give, but what a measurement may say

TIME, PAPER_ACCURACY, OUR_ACCURACY = (
    "time of a training step",
    "accuracy in the paper, ImageNet",
    "accuracy here, short runs",
)

QUESTIONS = (*(kind.title for kind in COSTS), TIME, PAPER_ACCURACY, OUR_ACCURACY)

# What is equal: within so much, the whole interval of a measurement. And beyond what a change is "a lot".
EQUAL_COUNT, EQUAL_TIME, EQUAL_PAPER, EQUAL_OURS = 0.01, 0.05, 0.2, 1.0
LOT_COST, LOT_PAPER = 0.1, 0.5

RULES = (
    f'"A lot" is more than {LOT_COST:.0%} of a cost, half a point of the paper\'s accuracy, or in our runs the '
    "difference that their seeds would resolve four times out of five, as one of eleven comparisons. "
    f'"Equal" is within {EQUAL_COUNT:.0%} of a count. What is measured has an interval. It is '
    "up or down where the interval leaves out no change, and equal where all of it lies within "
    f"{EQUAL_TIME:.0%} of the time, {EQUAL_PAPER:g} points of the paper's accuracy, or {EQUAL_OURS:g} point of ours. "
    "Elsewhere nobody can tell, and nothing is graded."
)


class PredictionError(CourseError, ValueError):
    """A question or an answer that the course does not know."""


def read_predictions() -> dict[str, dict[str, str | None]]:
    """Everything predicted so far: ``{step: {question: answer}}``; what cannot be read in the file is left out."""
    try:
        found = read_json(_path())
    except (OSError, ValueError, RecursionError):
        return {}
    return {
        step: {question: kept[question] for question in kept if _known(question, kept[question])}
        for step, kept in (found.items() if isinstance(found, dict) else ())
        if isinstance(kept, dict)
    }


def _known(question, answer):
    return question in QUESTIONS and (answer is None or (isinstance(answer, str) and answer in ANSWERS))


def predict(step: int, question: str, answer: str | None) -> None:
    """Keep an answer; None takes it back.

    Raises:
        PredictionError: there is no such question or answer.
        UnknownStep: there is no such step.
        StorageError: it cannot be written.
    """
    if not _known(question, answer):
        raise PredictionError(f"{question!r}: {answer!r} is no prediction; the answers are {', '.join(ANSWERS)}.")
    label = label_of(step)
    with locked(_path()):  # several lessons may be open
        sweep_parts(_path())
        kept = read_predictions()
        kept.setdefault(label, {})[question] = answer
        write_json(_path(), kept)


@dataclass(frozen=True)
class Answered:
    """One question, the learner's answer (None without one), the true one (``CANNOT_TELL`` where none is known), and
    the change that makes it so."""

    question: str
    predicted: str | None
    answer: str
    change: str

    @property
    def graded(self) -> bool:
        """Whether there is an answer, and one to hold it against."""
        return self.predicted is not None and self.answer != CANNOT_TELL

    @property
    def points(self) -> float:
        """1 for the answer, a half for its neighbour."""
        if not self.graded:
            return 0.0
        return {0: 1.0, 1: 0.5}.get(abs(ANSWERS.index(self.predicted) - ANSWERS.index(self.answer)), 0.0)


@dataclass(frozen=True)
class Score:
    """How a step's predictions compare with what is so; shows itself as a table where it ends a cell."""

    step: int
    rows: tuple[Answered, ...]

    @property
    def points(self) -> float:
        """Of all answers together."""
        return sum(row.points for row in self.rows)

    @property
    def predicted(self) -> int:
        """How many of the questions were answered and can be graded."""
        return sum(row.graded for row in self.rows)

    def _table(self):
        rows = [(row.question, row.answer, row.change, _prediction_in_words(row)) for row in self.rows]
        return Table(("question", "it is", "by how much", "you said"), rows)

    def _sum(self):
        if not self.predicted:
            return f"Nothing was predicted for step {self.step}."
        return f"{self.points:g} of {self.predicted} points for step {self.step}."

    def __repr__(self):
        return f"{self._table()!r}\n{self._sum()}\n{RULES}"

    def _repr_html_(self):
        return f"{self._table()._repr_html_()}<b>{escape(self._sum())}</b><br><small>{escape(RULES)}</small>"


def _prediction_in_words(row):
    if row.predicted is None:
        return ""
    return f"{row.predicted} ({row.points:g})" if row.graded else f"{row.predicted} (not graded)"


def score(step: int) -> Score:
    """Grade what was predicted of a step of the paper: a point for the right answer, half a point for its neighbour;
    ``RULES`` says what the answers mean.

    Raises:
        PredictionError: it is no step of the paper, so that nothing is known to hold a prediction against.
    """
    if step not in PAPER_STEPS:
        raise PredictionError(f"Step {step!r} is none of the paper's; ask for {PAPER_STEPS[0]} to {PAPER_STEPS[-1]}.")
    kept = read_predictions().get(str(step), {})
    rows = [
        Answered(question, kept.get(question), *truth) for question, truth in zip(QUESTIONS, _truths(step), strict=True)
    ]
    return Score(step, tuple(rows))


def _truths(step) -> Iterator[tuple[str, str]]:
    """(answer, change in words) for every question, in their order."""
    before, after = architecture_after(step - 1), architecture_after(step)
    for kind in COSTS:
        old, new = (kind.of(count(architecture)) for architecture in (before, after))
        yield _answer(new / old - 1, EQUAL_COUNT), f"{new / old - 1:+.1%}"
    time = time_ratio(before, after)
    yield _measured(time.median - 1, (time.low - 1, time.high - 1), EQUAL_TIME, LOT_COST), str(time)
    points, interval = paper_interval(step)
    yield _measured(points, interval, EQUAL_PAPER, LOT_PAPER), f"{points:+.2f} points ({_in_words(interval, 2)})"
    found = compare_steps()
    ours, groups = found.differences[step - 1], found.groups.values()
    lot = resolvable_difference(pooled_spread(groups), min(map(len, groups)), len(found.differences))
    answer = _measured(ours.points, (ours.low, ours.high), EQUAL_OURS, lot)
    yield answer, f"{ours.points:+.1f} points ({ours.interval})"


def _measured(change, interval, equal, a_lot):
    """The answer that a measured change with its interval gives."""
    if None in interval:
        return CANNOT_TELL
    low, high = interval
    if -equal <= low and high <= equal:
        return "equal"
    return _answer(change, 0.0, a_lot) if low > 0 or high < 0 else CANNOT_TELL


def _answer(change, equal, a_lot=LOT_COST):
    if abs(change) <= equal:
        return "equal"
    return ANSWERS[2 + (1 if abs(change) <= a_lot else 2) * (1 if change > 0 else -1)]


def _in_words(interval, digits):
    return " to ".join(f"{bound:+.{digits}f}" for bound in interval)


def _path():
    return data_folder() / "predictions.json"
