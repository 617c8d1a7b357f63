import multiprocessing

import pytest

from convnext_lessons.classroom import predictions
from convnext_lessons.classroom.predictions import (
    ANSWERS,
    CANNOT_TELL,
    OUR_ACCURACY,
    PAPER_ACCURACY,
    QUESTIONS,
    TIME,
    Answered,
    PredictionError,
    Score,
    predict,
    read_predictions,
    score,
)
from convnext_lessons.model import COSTS, LAST_STEP, PAPER_STEPS, TimeRatio, UnknownStep
from convnext_lessons.runs.significance import Difference, StepGains

MEMORY = "activation memory, training"


@pytest.fixture
def equal_times(monkeypatch):
    """Every network takes as long as every other."""
    monkeypatch.setattr(predictions, "time_ratio", lambda before, after: TimeRatio(1.0, 0.98, 1.02, "here"))


def test_what_is_predicted_is_kept_and_taken_back(own_place):
    assert read_predictions() == {}
    predict(4, "parameters", "down a lot")
    predict(4, "multiply-adds", "equal")
    predict(5, "parameters", "equal")
    assert read_predictions()["4"] == {"parameters": "down a lot", "multiply-adds": "equal"}
    predict(4, "parameters", None)
    assert read_predictions()["4"]["parameters"] is None
    assert (own_place / "predictions.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"4": 3}'])
def test_a_damaged_file_counts_as_empty(own_place, content):
    own_place.mkdir(parents=True)
    (own_place / "predictions.json").write_text(content)
    assert read_predictions() == {}


def test_answers_that_nobody_knows_are_left_out(own_place):
    own_place.mkdir(parents=True)
    (own_place / "predictions.json").write_text(
        '{"4": {"parameters": "sideways", "multiply-adds": "equal", "taste": 1}}'
    )
    assert read_predictions() == {"4": {"multiply-adds": "equal"}}


def test_a_damaged_entry_costs_itself_alone(own_place):
    own_place.mkdir(parents=True)
    (own_place / "predictions.json").write_text('{"1": {"parameters": "equal"}, "2": null, "3": {"parameters": []}}')
    predict(4, "parameters", "down a lot")
    kept = {"1": {"parameters": "equal"}, "3": {}, "4": {"parameters": "down a lot"}}
    assert read_predictions() == kept


def predict_in_turn(step, everybody_is_here):
    """One of several lessons that are open: its own step's answers, one question after the other."""
    everybody_is_here.wait()
    for question in QUESTIONS:
        predict(step, question, "equal")


def test_answers_of_several_processes_are_all_kept():
    context = multiprocessing.get_context("spawn")
    everybody_is_here = context.Barrier(4)
    lessons = [context.Process(target=predict_in_turn, args=(step, everybody_is_here)) for step in range(1, 5)]
    for lesson in lessons:
        lesson.start()
    for lesson in lessons:
        lesson.join(120)
        assert lesson.exitcode == 0
    assert len(QUESTIONS) >= 6
    assert read_predictions() == {str(step): dict.fromkeys(QUESTIONS, "equal") for step in range(1, 5)}


@pytest.mark.parametrize("step", [LAST_STEP + 1, -1, "3z", None])
def test_a_step_that_is_not_on_the_road_is_refused(step, refuses):
    with refuses(UnknownStep, f"no step {step!r}"):
        predict(step, "parameters", "equal")
    assert read_predictions() == {}


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
    assert predictions._answer(change, equal=0.01) == answer


def test_the_right_answer_is_a_point_and_its_neighbour_a_half():
    for said, points in (("down a lot", 1.0), ("a little down", 0.5), ("equal", 0.0), (None, 0.0)):
        assert Answered("parameters", said, "down a lot", "-23 %").points == points


def test_a_step_is_graded(equal_times):
    predict(4, "multiply-adds", "down a lot")
    predict(4, MEMORY, "a little up")
    graded = score(4)
    answers = {row.question: row.answer for row in graded.rows}
    assert answers["multiply-adds"] == "down a lot" and answers["parameters"] == "down a lot"
    assert answers[MEMORY] == "up a lot"
    assert answers[TIME] == "equal"
    assert answers[PAPER_ACCURACY] == "a little up"
    assert (graded.points, graded.predicted) == (1.5, 2)
    assert "1.5 of 2 points for step 4." in repr(graded)
    assert graded._repr_html_().count("<tr>") == len(QUESTIONS) + 1


@pytest.mark.parametrize(
    ("change", "interval", "answer"),
    [
        (0.3, (0.1, 0.5), "a little up"),
        (0.8, (0.1, 1.5), "up a lot"),
        (-0.8, (-1.5, -0.1), "down a lot"),
        (0.1, (-0.15, 0.2), "equal"),
        (0.15, (0.1, 0.2), "equal"),
        (0.1, (-0.3, 0.5), CANNOT_TELL),
        (0.0, (-0.3, 0.1), CANNOT_TELL),
        (0.0, (None, None), CANNOT_TELL),
    ],
)
def test_what_is_measured_is_judged_by_its_interval(change, interval, answer):
    assert predictions._measured(change, interval, equal=0.2, a_lot=0.5) == answer


def test_nobody_is_graded_by_what_nobody_can_tell(equal_times, monkeypatch):
    unclear = Difference("step 4", "step 3", 4.0, -1.0, 9.0, 0.06)
    groups = {"step 3": [50.0, 51.0], "step 4": [54.0, 55.0]}
    monkeypatch.setattr(predictions, "compare_steps", lambda: StepGains(groups, (None,) * 3 + (unclear,), LAST_STEP))
    predict(4, OUR_ACCURACY, "equal")
    predict(4, "multiply-adds", "down a lot")
    graded = score(4)
    (row,) = [row for row in graded.rows if row.question == OUR_ACCURACY]
    assert (row.answer, row.graded, row.points) == (CANNOT_TELL, False, 0.0)
    assert (graded.points, graded.predicted) == (1.0, 1)
    assert "equal (not graded)" in repr(graded) and "equal (not graded)" in graded._repr_html_()
    assert "1 of 1 points for step 4." in repr(graded)


def test_a_lot_begins_where_the_seeds_can_tell(equal_times, monkeypatch):
    groups = {"step 3": [50.0, 51.0, 52.0], "step 4": [52.5, 53.5, 54.5]}
    small = Difference("step 4", "step 3", 2.5, 0.5, 4.5, 0.02)
    monkeypatch.setattr(predictions, "compare_steps", lambda: StepGains(groups, (None,) * 3 + (small,), LAST_STEP))
    answers = {row.question: row.answer for row in score(4).rows}
    assert answers[OUR_ACCURACY] == "a little up"


def test_text_in_the_table_is_escaped():
    row = Answered("<b>", "equal", "equal", "<i>")
    html = Score(1, (row,))._repr_html_()
    assert "&lt;b&gt;" in html and "<i>" not in html
    assert ANSWERS[2] == "equal"


def test_every_cost_is_asked_for_then_time_and_both_accuracies():
    costs = [kind.title for kind in COSTS]
    assert list(QUESTIONS) == [*costs, TIME, PAPER_ACCURACY, OUR_ACCURACY]
    assert MEMORY in costs


@pytest.mark.parametrize("step", [PAPER_STEPS[-1] + 1, 0, -1, "3a", "4", None])
def test_a_step_that_the_paper_does_not_report_is_not_graded(step, refuses):
    with refuses(PredictionError, f"Step {step!r}", f"{PAPER_STEPS[0]} to {PAPER_STEPS[-1]}"):
        score(step)


@pytest.mark.parametrize("step", PAPER_STEPS)
def test_every_step_of_the_paper_is_graded(step, equal_times):
    rows = score(step).rows
    assert [row.question for row in rows] == list(QUESTIONS)
    assert all(row.answer in (*ANSWERS, CANNOT_TELL) and row.change for row in rows)


def test_what_a_killed_kernel_left_is_swept(own_place):
    own_place.mkdir(parents=True)
    part = own_place / ".predictions.json.0123abcd.part"
    part.write_text("{")
    predict(3, next(iter(QUESTIONS)), "equal")
    assert not part.exists() and read_predictions()
