import hashlib
import html
import re

import nbformat
import pytest

from convnext_lessons.classroom.notebooks import LessonError, is_fresh, read_notebook
from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.model import LAST_STEP, architecture_after, count, paper_after
from convnext_lessons.publish import deck
from convnext_lessons.publish.deck import (
    REVEAL,
    SLIDE_MODULES,
    DeckError,
    clocks_of,
    export_deck,
    reading_group,
    write_reading_group,
)
from convnext_lessons.publish.slide_numbers import ORIGINAL_ACCURACY

NOTEBOOK = read_notebook(reading_group())


def cells_of(kind):
    return [cell for cell in NOTEBOOK.cells if cell.metadata.get("slideshow", {}).get("slide_type") == kind]


@pytest.fixture(scope="module")
def page():
    return export_deck(NOTEBOOK)


def small_deck(*outputs):
    slide = nbformat.v4.new_markdown_cell("# Title", metadata={"slideshow": {"slide_type": "slide"}})
    return nbformat.v4.new_notebook(cells=[slide, nbformat.v4.new_code_cell("draw()", outputs=list(outputs))])


def shown(**data):
    return nbformat.v4.new_output("display_data", {key.replace("__", "/"): value for key, value in data.items()})


def test_the_committed_slides_are_fresh_and_every_cell_ran():
    assert is_fresh(reading_group(), SLIDE_MODULES)
    code = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs if output.output_type in ("error", "stream")]


def test_slides_have_few_words_and_their_notes_a_clock_that_can_be_kept():
    slides, notes = cells_of("slide"), cells_of("notes")
    assert 15 <= len(slides) == len(notes) <= 20
    for slide in slides:
        assert len(re.sub(r"[#*]", "", slide.source).split()) <= 25, slide.source
    clocks = [clock for note in notes for clock in clocks_of(note.source)]
    assert clocks == sorted(clocks) and clocks[0] == 0 and clocks[-1] == 20 * 60
    assert len(clocks) == len(notes) + 1
    for slide, note, begin, end in zip(slides, notes, clocks, clocks[1:], strict=False):
        said = 60 * len(note.source.split()) / 130  # words that one can say in a minute
        assert said + (45 if slide.source.startswith("## Vote") else 0) <= end - begin, note.source


def test_numbers_that_are_typed_into_slides_are_true():
    words = "\n".join(cell.source for cell in cells_of("slide"))
    points = paper_after(LAST_STEP).accuracy - ORIGINAL_ACCURACY
    before, after = (count(architecture_after(step)) for step in (3, 4))
    typed = {
        "points": f"{points:.2f} points",
        "start": f"from {paper_after(0).accuracy:.2f} %",
        "macs": f"multiply-adds −{100 * (1 - after.macs / before.macs):.0f} %",
    }
    for number in typed.values():
        assert number in words
    assert 1.4 < after.activation_bytes / before.activation_bytes < 1.6  # "rises by half"
    assert set(re.findall(r"\d+\.\d+", words)) == {f"{points:.2f}", f"{paper_after(0).accuracy:.2f}"}


def test_the_page_holds_all_it_needs(page):
    written = re.sub(r"<script>.*?</script>", "<script></script>", page, flags=re.S)
    assert written.count("<script></script>") == 4  # reveal.js, its notes, our keys, and the explorer's own
    assert not re.findall(r"""(?:src|href)=["'](?!data:)[^"']*|url\((?!data:)[^)]*|@import""", written)
    for own in ("RevealNotes", "Begin the vote anew", ".reveal-viewport"):
        assert own in page
    assert page.count('<aside class="notes">') == len(cells_of("notes"))
    assert page.count("data-timing=") == 2 * len(cells_of("slide"))  # nbconvert nests a section in a section
    assert len(page) < 2_000_000


def test_no_script_ends_before_its_end():
    scripts = [*REVEAL.rglob("*.js"), deck.TEMPLATES / "deck" / "deck.js"]
    assert len(scripts) == 3 and not [path for path in scripts if "</script" in path.read_text(encoding="utf-8")]


def test_every_picture_has_its_sentence(page):
    figures = re.findall(r"<svg[^>]*>", page)
    assert len(figures) >= 15
    assert all('role="img"' in figure and re.search(r'aria-label="[^"]{30,}"', figure) for figure in figures)
    data = [output.data for cell in NOTEBOOK.cells if cell.cell_type == "code" for output in cell.outputs]
    assert all(output.get("text/plain", "") for output in data)


def test_words_from_cells_are_escaped():
    nasty = "<b onclick='x'>&"
    page = export_deck(small_deck(shown(image__png="AAAA", text__plain=nasty)))
    assert f'alt="{html.escape(nasty, quote=False)}"' in page and nasty not in page
    code = small_deck()
    code.cells[1].source = "</pre><script>alert(1)</script>"
    assert "<script>alert(1)" not in export_deck(code)


def test_a_diagram_of_a_lesson_is_shown_as_it_is():
    picture = Diagram(100, 50, "a box")
    picture.text(1, 2, "words in it")
    page = export_deck(small_deck(shown(text__html=picture.svg(), image__png="UNSEEN", text__plain="a box")))
    assert "words in it</text>" in page and 'aria-label="a box"' in page and "UNSEEN" not in page


def test_the_slide_before_a_clock_gets_the_time_until_it():
    def cell(kind, source):
        return nbformat.v4.new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}})

    cells = [cell("slide", "# One"), cell("notes", "**0:00** Hello."), cell("slide", "## Two")]
    cells.append(cell("notes", "**1:30** This.\n\n**2:00** End."))
    notebook = nbformat.v4.new_notebook(cells=cells)
    page = export_deck(notebook)
    assert re.findall(r'data-timing="(\d+)"', page) == ["90", "90", "30", "30"]
    assert "data" not in notebook.cells[0].metadata.slideshow  # the notebook itself stays as it was


def test_stale_slides_are_refused_and_nothing_is_written(tmp_path, monkeypatch, refuses):
    monkeypatch.setattr(deck, "is_fresh", lambda path, modules: False)
    with refuses(DeckError, "reading_group.ipynb", "slides --in-place"):
        write_reading_group(tmp_path / "slides")
    assert not (tmp_path / "slides").exists()


def test_other_stored_runs_make_the_slides_stale(tmp_path, monkeypatch):
    stored = NOTEBOOK.metadata.convnext_lessons.stored
    assert stored == ["bench.json", "pocket.jsonl"]
    from convnext_lessons.classroom import freshness

    for name in stored:
        (tmp_path / name).write_bytes((freshness.reference_folder() / name).read_bytes())
    monkeypatch.setattr(freshness, "reference_folder", lambda: tmp_path)
    assert is_fresh(reading_group(), SLIDE_MODULES)
    with open(tmp_path / "bench.json", "ab") as file:
        file.write(b" ")
    assert not is_fresh(reading_group(), SLIDE_MODULES)


def test_slides_that_fail_stay_as_they_were(tmp_path, monkeypatch):
    broken = tmp_path / "reading_group.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), broken)
    before = broken.read_bytes()
    monkeypatch.setattr(deck, "reading_group", lambda: broken)
    with pytest.raises(LessonError, match="ZeroDivisionError"):
        deck.execute_reading_group()
    assert broken.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "checksum"),
    [
        ("reveal.js", "aa1bbbf2617b23a623b23612cb3c5bdb63de512e652bf20fcfa832b045d37844"),
        ("reveal.css", "615ee850cbbb98a0f688b60ed37b21819a3f54c9f3e6f20e33e63693ab74a0c0"),
        ("plugin/notes.js", "447c42f365876e41853de81453d0c53c580c5b2099132e8f61200de4a0ba2af3"),
        ("LICENSE", "b2883e4b610bfa1b4d8fff84c4d4b825cc7d553cbd9fec4777c04068a2859dc0"),
    ],
)
def test_reveal_is_as_its_makers_published_it(name, checksum):
    assert hashlib.sha256((REVEAL / name).read_bytes()).hexdigest() == checksum
