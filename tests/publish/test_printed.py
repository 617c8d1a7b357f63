"""Poster and handout as files, and what printing says where there is no browser."""

import stat

import pytest

from convnext_lessons.cli import main
from convnext_lessons.model import LAST_STEP, TITLES
from convnext_lessons.publish import deck, handout, printing
from convnext_lessons.publish.handout import questions, write_handout
from convnext_lessons.publish.poster import SIZE, UNIT, draw_poster, write_poster
from convnext_lessons.publish.printing import PrintingError, find_browser, print_page
from convnext_lessons.system.storage import StorageError


@pytest.fixture
def no_browser(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(printing.shutil, "which", lambda name: None)


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """A browser that does what a test says."""
    script = tmp_path / "browser"
    monkeypatch.setenv("CHROMIUM", str(script))

    def does(*lines):
        script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    return does


@pytest.fixture
def page(tmp_path):
    page = tmp_path / "a page.html"
    page.write_text("<p>words</p>")
    return page


TO = 'for word in "$@"; do case "$word" in --print-to-pdf=*) to="${word#--print-to-pdf=}";; esac; page="$word"; done'


def test_the_poster_is_one_sheet_of_a2_in_vectors_and_the_same_each_time(tmp_path):
    first, second = (write_poster(tmp_path / name).read_bytes() for name in ("a.pdf", "b.pdf"))
    assert first.startswith(b"%PDF") and first == second
    width, height = (side / 25.4 * 72 for side in SIZE)
    box = first.split(b"/MediaBox [")[1].split(b"]")[0].split()
    assert [float(number) for number in box] == pytest.approx([0, 0, width, height], abs=0.01)
    assert first.count(b"/Type /Page ") == 1 and b"/Subtype /Image" not in first
    assert len(first) < 300_000


def test_the_poster_shows_every_step_inside_its_sheet():
    picture = draw_poster()
    words = [item[3] for item in picture.items if item[0] == "text"]
    assert all(str(step) in " ".join(words) for step in range(LAST_STEP + 1))
    assert all(word in " ".join(words) for title in TITLES for word in title.split())
    for kind, *rest in picture.items:
        places = [rest[:2]] if kind == "text" else rest[0]
        assert all(0 <= x <= SIZE[0] * UNIT and 0 <= y <= SIZE[1] * UNIT for x, y in places)


def test_the_handout_asks_six_questions_with_boxes(tmp_path):
    words = write_handout(tmp_path / "handout.html").read_text(encoding="utf-8")
    assert len(questions()) == 6 and words.count("<i></i>") == 18
    assert "2.7" in questions()[0][1] and "12 %" in questions()[2][0]
    assert "<svg" in words and 'aria-label="' in words


def test_the_handout_names_the_courses_address_if_it_has_one(tmp_path, monkeypatch):
    monkeypatch.setattr(handout, "repository_address", lambda: "https://example.org/<course>")
    words = write_handout(tmp_path / "handout.html").read_text(encoding="utf-8")
    assert "https://example.org/&lt;course&gt;" in words and "<course>" not in words


def test_a_page_is_printed_by_the_browser_that_is_named(page, tmp_path, browser):
    browser(TO, 'printf "%%PDF %s" "$page" > "$to"')
    pdf = print_page(page, tmp_path / "page.pdf")
    assert pdf.read_text() == f"%PDF {page.as_uri()}"


def test_without_a_browser_a_sentence_says_what_is_missing(page, tmp_path, no_browser, refuses):
    assert find_browser() is None
    with refuses(PrintingError, "page.pdf is missing", "CHROMIUM", str(page)):
        print_page(page, tmp_path / "page.pdf")


@pytest.mark.parametrize("lines", [["echo no display >&2", "exit 3"], ["exit 0"], ["kill -9 $$"]])
def test_a_browser_that_does_not_print_leaves_no_pdf(lines, page, tmp_path, browser, refuses):
    browser(*lines)
    with refuses(PrintingError, "page.pdf is missing", "does not print"):
        print_page(page, tmp_path / "page.pdf")
    assert sorted(path.name for path in tmp_path.iterdir() if "page" in path.name) == ["a page.html"]


def test_a_browser_that_is_not_there_or_hangs(page, tmp_path, browser, monkeypatch, refuses):
    with refuses(PrintingError, "does not print", "No such file"):
        print_page(page, tmp_path / "page.pdf")
    browser("exec sleep 30")
    monkeypatch.setattr(printing, "SECONDS", 0.2)
    with refuses(PrintingError, "page.pdf is missing", "in 0.2 seconds"):
        print_page(page, tmp_path / "page.pdf")


def test_the_command_makes_all_but_the_pdfs_where_there_is_no_browser(tmp_path, no_browser, capsys):
    assert main(["slides", "--to", str(tmp_path / "slides")]) == 1
    made = sorted(path.name for path in (tmp_path / "slides").iterdir())
    assert made == ["handout.html", "poster.pdf", "reading_group.html"]
    told = capsys.readouterr()
    assert told.out.count("written: ") == 3 and "reading_group.pdf is missing" in told.err


def test_the_command_makes_the_slides_of_a_lesson(tmp_path, browser, capsys):
    browser(TO, 'printf "%%PDF" > "$to"')
    assert main(["slides", "4", "--to", str(tmp_path / "slides")]) == 0
    names = sorted(path.name for path in (tmp_path / "slides").iterdir())
    assert names == ["04_inverted_bottleneck.html", "04_inverted_bottleneck.pdf"]
    assert capsys.readouterr().out.count("written: ") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["77"], "There is no lesson 77"), (["--to", "pyproject.toml/x"], "pyproject.toml")],
)
def test_bad_input_is_one_sentence_and_a_failure(arguments, words, capsys):
    assert main(["slides", *arguments]) == 1
    told = capsys.readouterr()
    assert words in told.err and told.err.count("\n") == 1 and not told.out


def test_in_place_executes_and_makes_nothing_else(monkeypatch, capsys):
    monkeypatch.setattr(deck, "execute_reading_group", lambda: "the notebook")
    monkeypatch.setattr(deck, "write_reading_group", None)
    assert main(["slides", "--in-place"]) == 0
    assert capsys.readouterr().out == "executed: the notebook\n"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, "file"):
        write_poster(tmp_path / "file" / "poster.pdf")
