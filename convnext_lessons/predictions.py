"""What a learner expects of a step before taking it, kept between lessons, and how it compares with what is so."""

import json
from dataclasses import dataclass
from html import escape

from convnext_lessons.cost import latency, measure
from convnext_lessons.evidence import gains
from convnext_lessons.machine import CourseError, atomic, data_folder, made
from convnext_lessons.roadmap import architecture_after, paper_after

ANSWERS = ("down a lot", "a little down", "equal", "a little up", "up a lot")
QUESTIONS = (
    "multiply-adds",
    "parameters",
    "memory for activations, in training",
    "time for a picture on this machine",
    "accuracy in the paper, ImageNet",
    "accuracy here, short runs",
)
RULES = (
    '"A lot" is more than 10 % of a cost, or half a point of accuracy. "Equal" is within 1 % of a count, 5 % of a '
    "time, the larger of the paper's two spreads, and whatever our runs do not resolve."
)


class PredictionError(CourseError, ValueError):
    """A question or an answer that the course does not know."""


def predictions():
    """Everything predicted so far: ``{step: {question: answer}}``; what cannot be read in the file is left out."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
        return {
            step: {question: kept[question] for question in kept if _known(question, kept[question])}
            for step, kept in found.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _known(question, answer):
    return question in QUESTIONS and answer in (*ANSWERS, None)


def predict(step, question, answer):
    """Keep an answer; None takes it back.

    Raises:
        PredictionError: there is no such question or answer.
        StorageError: it cannot be written.
    """
    if not _known(question, answer):
        raise PredictionError(f"{question!r}: {answer!r} is no prediction; the answers are {', '.join(ANSWERS)}.")
    kept = predictions()
    kept.setdefault(str(step), {})[question] = answer
    made(_path().parent)
    with atomic(_path()) as part:
        part.write_text(json.dumps(kept, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Answered:
    """One question, the learner's answer (None without one), the true one, and the change that makes it so."""

    question: str
    predicted: str | None
    answer: str
    change: str

    @property
    def points(self):
        """1 for the answer, a half for its neighbour."""
        if self.predicted is None:
            return 0.0
        return {0: 1.0, 1: 0.5}.get(abs(ANSWERS.index(self.predicted) - ANSWERS.index(self.answer)), 0.0)


@dataclass(frozen=True)
class Score:
    """How a step's predictions compare with what is so; shows itself as a table where it ends a cell."""

    step: int
    rows: tuple

    @property
    def points(self):
        return sum(row.points for row in self.rows)

    @property
    def predicted(self):
        """How many of the questions were answered."""
        return sum(row.predicted is not None for row in self.rows)

    def __repr__(self):
        lines = [f"{row.question:36} {row.answer:13} {row.change:24} {_said(row)}".rstrip() for row in self.rows]
        return "\n".join([*lines, self._sum(), RULES])

    def _sum(self):
        if not self.predicted:
            return f"Nothing was predicted for step {self.step}."
        return f"{self.points:g} of {self.predicted} points for step {self.step}."

    def _repr_html_(self):
        head = "<tr><th></th><th>it is</th><th>measured</th><th>you said</th></tr>"
        cells = ((row.question, row.answer, row.change, _said(row)) for row in self.rows)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        return f"<table>{head}{rows}</table><b>{escape(self._sum())}</b><br><small>{escape(RULES)}</small>"


def _said(row):
    return "" if row.predicted is None else f"{row.predicted} ({row.points:g})"


def score(step):
    """Grade what was predicted of a step of the road, 1 to 11, as a ``Score``: a point for the right answer, half a
    point for its neighbour; ``RULES`` says what the answers mean."""
    kept = predictions().get(str(step), {})
    rows = [
        Answered(question, kept.get(question), *truth) for question, truth in zip(QUESTIONS, _truths(step), strict=True)
    ]
    return Score(step, tuple(rows))


def _truths(step):
    """(answer, change in words) for every question, in their order."""
    before, after = architecture_after(step - 1), architecture_after(step)
    costs = [measure(architecture) for architecture in (before, after)]
    for what in ("macs", "params", "activation_bytes"):
        old, new = (getattr(cost, what) for cost in costs)
        yield _answer(new / old - 1, equal=0.01), f"{new / old - 1:+.1%}"
    ratio = latency(after).seconds / latency(before).seconds
    yield _answer(ratio - 1, equal=0.05), f"{ratio - 1:+.0%}"
    papers = [paper_after(step - 1), paper_after(step)]
    points, noise = papers[1].accuracy - papers[0].accuracy, max(paper.spread for paper in papers)
    yield _answer(points, equal=noise, a_lot=0.5), f"{points:+.2f} points (noise {noise:.2f})"
    ours = gains().differences[step - 1]
    equal = 0.0 if ours.resolved else abs(ours.points)
    yield _answer(ours.points, equal, a_lot=0.5), f"{ours.points:+.1f} points ({ours.interval})"


def _answer(change, equal, a_lot=0.1):
    if abs(change) <= equal:
        return "equal"
    return ANSWERS[2 + (1 if abs(change) <= a_lot else 2) * (1 if change > 0 else -1)]


def _path():
    return data_folder() / "predictions.json"
