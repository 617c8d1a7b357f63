"""The learner's predictions over the whole road: points by lesson and by question, with a total."""

from dataclasses import dataclass

from convnext_lessons.classroom.predictions import QUESTIONS, Score, read_predictions, score
from convnext_lessons.figures.tables import Table
from convnext_lessons.model.roadmap import PAPER_STEPS, TITLES


@dataclass(frozen=True)
class Total:
    """The scores of the lessons in which something was predicted; shows itself as a table where it ends a cell."""

    scores: tuple[Score, ...]

    @property
    def points(self) -> float:
        """Of all lessons together."""
        return sum(found.points for found in self.scores)

    @property
    def predicted(self) -> int:
        """How many questions were answered and can be graded."""
        return sum(found.predicted for found in self.scores)

    def by_question(self) -> dict[str, tuple[float, int]]:
        """(points, graded answers) for each kind of question, over all lessons."""
        answered = [row for found in self.scores for row in found.rows if row.graded]
        rows = {question: [row for row in answered if row.question == question] for question in QUESTIONS}
        return {question: (sum(row.points for row in found), len(found)) for question, found in rows.items()}

    def _table(self):
        rows = [
            (f"{found.step} {TITLES[found.step]}", *_in_words(found.points, found.predicted)) for found in self.scores
        ]
        rows += [(question, *_in_words(*found)) for question, found in self.by_question().items() if found[1]]
        rows.append(("all lessons", *_in_words(self.points, self.predicted)))
        note = f"First by lesson, then by question. All {len(PAPER_STEPS)} lessons ask {len(QUESTIONS)} each."
        return Table(("your predictions", "points", "of", ""), rows, note, marked=[len(rows) - 1])

    def __repr__(self):
        return repr(self._table()) if self.predicted else NOTHING

    def _repr_html_(self):
        return self._table()._repr_html_() if self.predicted else NOTHING


NOTHING = (
    f"Nothing was predicted yet. Each of the lessons {PAPER_STEPS[0]} to {PAPER_STEPS[-1]} asks {len(QUESTIONS)} "
    f"questions under “Predict”; your points of at most {len(PAPER_STEPS) * len(QUESTIONS)} will stand here."
)


def total_score() -> Total:
    """Grade everything that was predicted on this machine, see ``predictions.score``."""
    kept = read_predictions()
    asked = [step for step in PAPER_STEPS if any(kept.get(str(step), {}).values())]
    return Total(tuple(score(step) for step in asked))


def _in_words(points, answers):
    return f"{points:g}", str(answers), f"{points / answers:.0%}" if answers else ""
