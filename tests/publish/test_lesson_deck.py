import nbformat
import pytest

from convnext_lessons.classroom.notebooks import LessonError, list_lessons, read_notebook
from convnext_lessons.publish import lesson_deck
from convnext_lessons.publish.deck import DeckError
from convnext_lessons.publish.lesson_deck import lesson_slides, write_lesson_deck


def picture(kind="image/png"):
    return nbformat.v4.new_output("display_data", {kind: "AAAA", "text/plain": "a picture"})


@pytest.fixture
def lesson():
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    return nbformat.v4.new_notebook(
        cells=[
            markdown("# 04 · Inside out\n\n*What if the block\nwere turned?*\n\nAfter this lesson you can"),
            code("from convnext_lessons.figures import (\n    draw_block,\n)\nother()", outputs=[picture()]),
            markdown("## Picture\n\nSee it.\n<details><summary>Answer</summary>three</details>"),
            code("draw_block(before, after)", outputs=[picture("text/html"), picture()]),
            markdown("## Cost"),
            code("Explorer(sizes, draw_costs)", outputs=[picture("image/svg+xml")]),
            code("print(compare(1, 2))", outputs=[nbformat.v4.new_output("stream", text="words")]),
            markdown("## Your turn"),
            code("draw_block(yours)", outputs=[picture()]),
            markdown(
                "## Discuss\n\n- *For the group:* where does\n  it live?\n- **Recap.** All.\n- *For the group:* why?"
            ),
        ]
    )


def test_a_lesson_becomes_its_title_its_figures_and_its_question(lesson):
    slides = lesson_slides(lesson).cells
    kinds = [(cell.metadata.get("slideshow", {}).get("slide_type", "figure"), cell.source) for cell in slides]
    assert kinds == [
        ("slide", "# 04 · Inside out\n\nWhat if the block were turned?"),
        ("slide", "## Picture"),
        ("figure", "draw_block(before, after)"),
        ("notes", "See it."),
        ("slide", "## Picture"),
        ("figure", "draw_block(before, after)"),
        ("slide", "## Cost"),
        ("figure", "Explorer(sizes, draw_costs)"),
        ("slide", "## For the group\n\n- Where does it live?\n- Why?"),
    ]
    assert [len(cell.outputs) for cell in slides if cell.cell_type == "code"] == [1, 1, 1]


@pytest.mark.parametrize("path", list_lessons(), ids=lambda path: path.stem[:2])
def test_every_lesson_has_figures_and_a_question_to_show(path):
    slides = lesson_slides(read_notebook(path)).cells
    assert sum(cell.cell_type == "code" for cell in slides) >= 4
    assert slides[0].source.startswith(f"# {path.name[:2]} · ") and len(slides[0].source.split("\n\n")[1]) > 20
    if path.name[:2] != "12":
        assert slides[-1].source.startswith("## For the group")


def test_a_lesson_is_written_under_its_name(tmp_path):
    page = write_lesson_deck(4, tmp_path)
    assert page == tmp_path / "04_inverted_bottleneck.html"
    assert "Inverted bottleneck" in page.read_text(encoding="utf-8")


def test_an_unknown_lesson_and_a_stale_one_are_refused(tmp_path, monkeypatch, refuses):
    with refuses(LessonError, "no lesson 77"):
        write_lesson_deck(77, tmp_path)
    monkeypatch.setattr(lesson_deck, "is_fresh", lambda path: False)
    with refuses(DeckError, "04_inverted_bottleneck.ipynb", "make lessons"):
        write_lesson_deck(4, tmp_path)
    assert not list(tmp_path.glob("*.html"))
