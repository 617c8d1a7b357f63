"""What a learner expects of a step before taking it, kept between lessons, and how it compares with what is so."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from convnext_lessons.figures.tables import Table
from convnext_lessons.model.cost import COSTS, count, time_network
from convnext_lessons.model.roadmap import PAPER_STEPS, architecture_after, label_of, paper_after
from convnext_lessons.runs.significance import compare_steps
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import data_folder
from convnext_lessons.system.storage import locked, read_json, sweep_parts, write_json

ANSWERS = ("down a lot", "a little down", "equal", "a little up", "up a lot")

TIME, PAPER_ACCURACY, OUR_ACCURACY = (
    "time for a picture on this machine",
    "accuracy in the paper, ImageNet",
    "accuracy here, short runs",
)

QUESTIONS = (*(kind.title for kind in COSTS), TIME, PAPER_ACCURACY, OUR_ACCURACY)

RULES = (
    '"A lot" is more than 10 % of a cost, or half a point of accuracy. "Equal" is within 1 % of a count, 5 % of a '
    "time, the larger of the paper's two spreads, and whatever our runs do not resolve."
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
    """One question, the learner's answer (None without one), the true one, and the change that makes it so."""

    question: str
    predicted: str | None
    answer: str
    change: str

    @property
    def points(self) -> float:
        """1 for the answer, a half for its neighbour."""
        if self.predicted is None:
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
        """How many of the questions were answered."""
        return sum(row.predicted is not None for row in self.rows)

    def _table(self):
        rows = [(row.question, row.answer, row.change, _prediction_in_words(row)) for row in self.rows]
        return Table(("", "it is", "measured", "you said"), rows)

    def _sum(self):
        if not self.predicted:
            return f"Nothing was predicted for step {self.step}."
        return f"{self.points:g} of {self.predicted} points for step {self.step}."

    def __repr__(self):
        return f"{self._table()!r}\n{self._sum()}\n{RULES}"

    def _repr_html_(self):
        return f"{self._table()._repr_html_()}<b>{escape(self._sum())}</b><br><small>{escape(RULES)}</small>"


def _prediction_in_words(row):
    return "" if row.predicted is None else f"{row.predicted} ({row.points:g})"


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
        yield _answer(new / old - 1, equal=0.01), f"{new / old - 1:+.1%}"
    ratio = time_network(after).seconds / time_network(before).seconds
    yield _answer(ratio - 1, equal=0.05), f"{ratio - 1:+.0%}"
    papers = [paper_after(step - 1), paper_after(step)]
    points, noise = papers[1].accuracy - papers[0].accuracy, max(paper.spread for paper in papers)
    yield _answer(points, equal=noise, a_lot=0.5), f"{points:+.2f} points (noise {noise:.2f})"
    ours = compare_steps().differences[step - 1]
    equal = 0.0 if ours.resolved else abs(ours.points)
    yield _answer(ours.points, equal, a_lot=0.5), f"{ours.points:+.1f} points ({ours.interval})"


def _answer(change, equal, a_lot=0.1):
    if abs(change) <= equal:
        return "equal"
    return ANSWERS[2 + (1 if abs(change) <= a_lot else 2) * (1 if change > 0 else -1)]


def _path():
    return data_folder() / "predictions.json"
