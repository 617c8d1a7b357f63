import pytest

from convnext_lessons.classroom import frozen
from convnext_lessons.classroom.notebooks import find_lesson
from convnext_lessons.publish import explorers
from convnext_lessons.publish.explorers import OnPage, freeze_lessons
from convnext_lessons.publish.replay import ReplayError


class Here:
    """A pool of one process, this one."""

    def __init__(self, *settings):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    map = staticmethod(map)


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(explorers, "ProcessPoolExecutor", Here)


LESSON = find_lesson(11)


def test_a_committed_lessons_explorer_is_made_once_and_kept(tmp_path, monkeypatch):
    (made,) = freeze_lessons([LESSON], tmp_path)[LESSON.stem].values()
    assert made.states == 10 and "<script" in made.html and not made.why
    assert made.report.startswith("10 states, ")
    monkeypatch.setattr(explorers, "_make", None)
    assert freeze_lessons([LESSON], tmp_path) == {LESSON.stem: {8: made}}


def test_a_kept_one_is_made_anew_where_the_file_is_damaged_or_something_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(explorers, "_make", lambda cells, images, note: OnPage("<p>", 1, 0.1))
    freeze_lessons([LESSON], tmp_path)
    (first,) = tmp_path.glob("*.json")
    first.write_text("{")
    assert freeze_lessons([LESSON], tmp_path)[LESSON.stem][8].html == "<p>"
    monkeypatch.setattr(frozen, "STATES", 5)
    freeze_lessons([LESSON], tmp_path)
    (second,) = tmp_path.glob("*.json")
    assert second != first


def test_what_does_not_come_back_leaves_the_lessons_picture(tmp_path, monkeypatch):
    def refuse(*settings):
        raise ReplayError("it is another.")

    monkeypatch.setattr(explorers.replay, "replay", refuse)
    (made,) = freeze_lessons([LESSON], tmp_path)[LESSON.stem].values()
    assert (made.html, made.why) == ("", "it is another.") and made.report.endswith("it is another.")


def test_pictures_that_are_not_here_are_not_downloaded(tmp_path, monkeypatch, own_place):
    asked = []
    monkeypatch.setattr(explorers, "_make", lambda cells, images, note: asked.append(images) or OnPage("", 0, 0.0))
    freeze_lessons([LESSON], tmp_path)
    folder = own_place / "downloads" / "imagenette2-160"
    folder.mkdir(parents=True)
    freeze_lessons([LESSON], tmp_path)
    assert asked == ["stand-in", "imagenette"]
