import pytest

from convnext_lessons.classroom.notebooks import list_lessons, read_notebook
from convnext_lessons.classroom.predictions import ANSWERS, QUESTIONS
from convnext_lessons.publish.quiz import QuizError, ask, grade, step_asked, step_graded


def tables():
    for path in list_lessons():
        for cell in read_notebook(path).cells:
            for output in cell.get("outputs", ()):
                table = output.get("data", {}).get("text/html", "")
                if "<th>it is</th>" in table:
                    yield step_graded(cell.source), table


def test_every_question_has_every_answer():
    html = ask(4)
    assert all(html.count(f"<legend>{question}</legend>") == 1 for question in QUESTIONS)
    assert all(html.count(f'value="{answer}"') == len(QUESTIONS) for answer in ANSWERS)
    assert 'href="#score-4"' in html


def test_the_lessons_own_answers_are_kept_word_for_word():
    found = dict(tables())
    assert list(found) == list(range(1, 12))
    for step, table in found.items():
        html = grade(step, table)
        assert table in html and f'id="score-{step}"' in html and "|".join(ANSWERS) in html


@pytest.mark.parametrize("old", [QUESTIONS[0], "down a lot"])
def test_a_table_of_other_words_is_refused(old, refuses):
    table = dict(tables())[4]
    with refuses(QuizError, "step 4", "make lessons"):
        grade(4, table.replace(old, "something else"))


def test_cells_are_known_by_their_calls():
    assert step_asked("Predictions(step=7)") == 7 and step_asked("score(step=7)") is None
    assert step_graded("show()\nscore(step=10)") == 10 and step_graded("[score(step) for step in range(3)]") is None
