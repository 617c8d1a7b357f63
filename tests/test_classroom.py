import pytest

from convnext_lessons.classroom import open_lesson
from convnext_lessons.recipe import POCKET, RecipeError


def test_a_lesson_opens_with_plain_words(capsys):
    device, recipe, images = open_lesson(step=4)
    printed = capsys.readouterr().out
    assert "FAST MODE" in printed and images.note in printed
    assert "One training run of step 4 will take about" in printed
    if device.type == "cpu":
        assert recipe is POCKET and "no GPU found" in printed


def test_the_scale_can_be_chosen(capsys):
    assert open_lesson(step=4, scale="lesson")[1].name == "lesson"
    assert 'open_lesson(step=4, scale="pocket") trains like them' in capsys.readouterr().out
    with pytest.raises(RecipeError, match="There is no recipe 'huge'; there are pocket, lesson, paper"):
        open_lesson(step=4, scale="huge")
