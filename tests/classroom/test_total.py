import re

import pytest

from convnext_lessons.classroom import predictions, total, total_score
from convnext_lessons.classroom.predictions import Answered, Score, predict


@pytest.fixture
def graded(monkeypatch):
    """Every answer "equal" is right; counts how many steps were graded."""
    asked = []

    def score(step):
        asked.append(step)
        kept = predictions.read_predictions()[str(step)]
        return Score(step, tuple(Answered(question, kept.get(question), "equal", "") for question in total.QUESTIONS))

    monkeypatch.setattr(total, "score", score)
    return asked


def test_without_predictions_nothing_is_measured(graded):
    found = total_score()
    assert (found.points, found.predicted, graded) == (0, 0, [])
    assert "Nothing was predicted yet" in repr(found) and "66" in repr(found)
    assert repr(found) == found._repr_html_()


def test_points_are_summed_by_lesson_and_by_question(graded):
    predict(4, "parameters", "equal")
    predict(4, "multiply-adds", "up a lot")
    predict(9, "parameters", "a little up")
    predict(10, "parameters", "equal")
    predict(10, "parameters", None)  # taken back
    found = total_score()
    assert graded == [4, 9]
    assert (found.points, found.predicted) == (1.5, 3)
    assert found.by_question()["parameters"] == (1.5, 2)
    assert found.by_question()["multiply-adds"] == (0, 1)
    rows = {
        name.strip("* "): cells
        for name, *cells in (re.split(r"\s{2,}", line.strip()) for line in repr(found).splitlines())
    }
    assert rows["4 Inverted bottleneck"] == ["1", "2", "50%"]
    assert rows["parameters"] == ["1.5", "2", "75%"]
    assert rows["all lessons"] == ["1.5", "3", "50%"]
    assert "all lessons" in found._repr_html_()
