"""The agenda of the evening says what the course says."""

import re
from pathlib import Path

from convnext_lessons.classroom.notebooks import find_lesson, read_notebook
from convnext_lessons.model import START, architecture_after, count
from convnext_lessons.publish.deck import reading_group
from convnext_lessons.publish.slide_numbers import ORIGINAL_ACCURACY

PAGE = Path(__file__).parents[2] / "docs" / "reading_group.md"
WORDS = PAGE.read_text(encoding="utf-8")


def test_the_hour_has_sixty_minutes_and_the_talk_twenty():
    rows = re.findall(r"^\| (\d):(\d\d) \| ([^|]+) \|", WORDS, re.M)
    minutes = [60 * int(hour) + int(minute) for hour, minute, _ in rows]
    assert minutes == sorted(minutes) and minutes[0] == 0 and minutes[-1] == 60
    talk = next(number for number, row in enumerate(rows) if "The talk" in row[2])
    assert minutes[talk + 1] - minutes[talk] == 20


def test_its_numbers_are_those_of_the_course():
    before, after = (round(count(architecture_after(step)).activation_bytes / 1e6) for step in (3, 4))
    assert f"{before} to {after} MB" in WORDS
    assert f"{START.accuracy - ORIGINAL_ACCURACY:.2f}: the second answer" in WORDS
    assert f"step 4 has {count(architecture_after(4)).macs / 1e9:.3f}" in WORDS


def test_the_bug_is_the_one_of_lesson_04():
    bug = re.search(r"^    def friends_path.+?^        \)$", WORDS, re.M | re.S)[0]
    bug = re.sub(r"^    ", "", bug, flags=re.M)
    cells = [cell for cell in read_notebook(find_lesson(4)).cells if bug in cell.source]
    assert len(cells) == 1 and "4.119 G" in cells[0].outputs[0].text


def test_what_it_points_to_is_there():
    links = re.findall(r"\]\((?!https:)([^)]+)\)", WORDS)
    assert links and all((PAGE.parent / link).is_file() for link in links)
    headings = {
        number: " ".join(cell.source for cell in read_notebook(find_lesson(number)).cells if "## " in cell.source)
        for number in (0, 3, 8, 11)
    }
    for number, heading in re.findall(r"\| (\d\d), \*([^*]+)\*", WORDS):
        assert f"## {heading}" in headings[int(number)]
    slides = " ".join(cell.source for cell in read_notebook(reading_group()).cells)
    for name in ("Vote 3", "The road, covered", "What each step costs"):
        assert name in WORDS and name in slides
