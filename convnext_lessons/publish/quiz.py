"""The predictions on a page: buttons that the reader's browser keeps, and a table that grades them there.

The right answers are those of the table that the executed lesson shows; ``static/course.js`` keeps and grades.
"""

import re
from html import escape

from convnext_lessons.classroom.predictions import ANSWERS, CANNOT_TELL, QUESTIONS
from convnext_lessons.system.errors import CourseError

_ASKED = re.compile(r"\bPredictions\(step=(\d+)\)")
_GRADED = re.compile(r"\bscore\(step=(\d+)\)")


class QuizError(CourseError):
    """A lesson's table of answers that cannot be read."""


def step_asked(source: str) -> int | None:
    """The step whose predictions a cell asks for."""
    return _step(_ASKED, source)


def step_graded(source: str) -> int | None:
    """The step whose predictions a cell grades."""
    return _step(_GRADED, source)


def ask(step: int) -> str:
    """The questions about a step as HTML."""
    questions = "".join(_question(step, number, question) for number, question in enumerate(QUESTIONS))
    return (
        f'<form class="predictions" data-step="{step}">{questions}<p class="predictions-note">Your answers stay in '
        f'this browser. <a href="#score-{step}">They are graded further down.</a></p></form>'
    )


def grade(step: int, table: str) -> str:
    """An executed lesson's table of answers, ready to be filled in.

    Raises:
        QuizError: the table has other questions or answers than the course.
    """
    rows = re.findall(r"<tr><td>([^<]*)</td><td>([^<]*)</td>", table)
    if [question for question, _ in rows] != [escape(question) for question in QUESTIONS] or not {
        answer for _, answer in rows
    } <= {*ANSWERS, CANNOT_TELL}:
        raise QuizError(f"The score of step {step} has other questions or answers than the course; run `make lessons`.")
    return f'<div class="score" id="score-{step}" data-step="{step}" data-answers="{"|".join(ANSWERS)}">{table}</div>'


def _step(pattern, source):
    found = pattern.search(source)
    return int(found[1]) if found else None


def _question(step, number, question):
    answers = "".join(
        f'<label><input type="radio" name="p{step}-{number}" value="{answer}"><span>{answer}</span></label>'
        for answer in ANSWERS
    )
    return f'<fieldset data-question="{escape(question)}"><legend>{escape(question)}</legend>{answers}</fieldset>'
