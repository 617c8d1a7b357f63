import pytest

from convnext_lessons import predictions as room
from convnext_lessons.runs.significance import Difference, Gains
from convnext_lessons.classroom.predictions import ANSWERS, QUESTIONS, PredictionError, Score, predict, predictions, score


def test_what_is_predicted_is_kept_and_taken_back(own_place):
    assert predictions() == {}
    predict(4, "parameters", "down a lot")
    predict(4, "multiply-adds", "equal")
    predict(5, "parameters", "equal")
    assert predictions()["4"] == {"parameters": "down a lot", "multiply-adds": "equal"}
    predict(4, "parameters", None)
    assert predictions()["4"]["parameters"] is None
    assert (own_place / "predictions.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"4": 3}'])
def test_a_damaged_file_counts_as_empty(own_place, content):
    own_place.mkdir(parents=True)
    (own_place / "predictions.json").write_text(content)
    assert predictions() == {}


def test_answers_that_nobody_knows_are_left_out(own_place):
    own_place.mkdir(parents=True)
    (own_place / "predictions.json").write_text(
        '{"4": {"parameters": "sideways", "multiply-adds": "equal", "taste": 1}}'
    )
    assert predictions() == {"4": {"multiply-adds": "equal"}}


@pytest.mark.parametrize(("question", "answer"), [("taste", "equal"), ("parameters", "sideways")])
def test_unknown_questions_and_answers_are_refused(question, answer, refuses):
    with refuses(PredictionError, question, answer):
        predict(4, question, answer)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (-0.5, "down a lot"),
        (-0.1, "a little down"),
        (-0.01, "equal"),
        (0.0, "equal"),
        (0.05, "a little up"),
        (0.2, "up a lot"),
    ],
)
def test_changes_have_an_answer(change, answer):
    assert room._answer(change, equal=0.01) == answer


def test_the_right_answer_is_a_point_and_its_neighbour_a_half():
    for said, points in (("down a lot", 1.0), ("a little down", 0.5), ("equal", 0.0), (None, 0.0)):
        assert room.Answered("parameters", said, "down a lot", "-23 %").points == points


def test_a_step_is_graded(monkeypatch):
    monkeypatch.setattr(room, "latency", lambda what: type("Spent", (), {"seconds": 0.1})())
    predict(4, "multiply-adds", "down a lot")
    predict(4, "memory for activations, in training", "a little up")
    graded = score(4)
    answers = {row.question: row.answer for row in graded.rows}
    assert answers["multiply-adds"] == "down a lot" and answers["parameters"] == "down a lot"
    assert answers["memory for activations, in training"] == "up a lot"
    assert answers["time for a picture on this machine"] == "equal"
    assert answers["accuracy in the paper, ImageNet"] == "a little up"
    assert (graded.points, graded.predicted) == (1.5, 2)
    assert "1.5 of 2 points for step 4." in repr(graded)
    assert graded._repr_html_().count("<tr>") == len(QUESTIONS) + 1


@pytest.mark.parametrize(("p", "answer"), [(0.04, "up a lot"), (0.06, "equal"), (None, "equal")])
def test_what_the_runs_do_not_resolve_counts_as_equal(p, answer, monkeypatch):
    monkeypatch.setattr(room, "latency", lambda what: type("Spent", (), {"seconds": 0.1})())
    found = (None, None, None, Difference("step 4", "step 3", 4.0, 1.0, 7.0, p))
    monkeypatch.setattr(room, "gains", lambda: Gains({}, found, 11))
    graded = score(4)
    assert [row.answer for row in graded.rows if row.question == QUESTIONS[-1]] == [answer]
    assert "Nothing was predicted for step 4." in repr(graded)


def test_text_in_the_table_is_escaped():
    row = room.Answered("<b>", "equal", "equal", "<i>")
    html = Score(1, (row,))._repr_html_()
    assert "&lt;b&gt;" in html and "<i>" not in html
    assert ANSWERS[2] == "equal"
