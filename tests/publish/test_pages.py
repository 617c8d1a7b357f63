import base64
import copy
import re

import nbformat
import pytest

from convnext_lessons.classroom.colab import is_set_up, stamp
from convnext_lessons.classroom.notebooks import find_lesson, list_lessons, read_notebook
from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.publish.explorers import ELSEWHERE, OnPage
from convnext_lessons.publish.pages import minutes_of, page_of, title_of


def page_of_lesson(number, root, explorers=(), url=None):
    path = find_lesson(number)
    return page_of(read_notebook(path), path.stem, dict(explorers), root, url)


def html_of(page):
    return "".join(
        output.data.get("text/html", "")
        for cell in page.cells
        for output in cell.get("outputs", ())
        if "data" in output
    )


@pytest.mark.parametrize("path", list_lessons(), ids=lambda path: path.stem)
def test_every_lesson_becomes_a_page(path, tmp_path):
    notebook = read_notebook(path)
    before = copy.deepcopy(notebook)
    page = page_of(notebook, path.stem, {}, tmp_path)
    assert notebook == before
    assert len(page.cells) == len(notebook.cells) - 1 and not any(is_set_up(cell.source) for cell in page.cells)
    pictures = re.findall(r'<img alt="([^"]*)" src="../([^"]*)" width="\d+" height="\d+"', html_of(page))
    shown = [
        output.data
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {}) and not {"text/html", "image/svg+xml"} & set(output.data)
    ]
    assert [(tmp_path / place).read_bytes() for _, place in pictures] == [
        base64.b64decode(data["image/png"]) for data in shown
    ]
    assert len(pictures) == len({place for _, place in pictures}) == len(shown)
    assert all(len(alt) > 10 for alt, _ in pictures)
    assert minutes_of(notebook).isdecimal() and title_of(notebook).startswith(path.name[:2])


def test_what_a_drawing_tells_under_the_pointer_stands_in_words_below_it(tmp_path):
    drawing = Diagram(10, 10, "a box")
    drawing.box(0, 0, 5, 5, "#000000", tip="a <layer>: 3 parameters")
    drawing.box(5, 5, 5, 5, "#000000")
    notebook = read_notebook(find_lesson(11))
    cell = next(cell for cell in notebook.cells if "image/svg+xml" in str(cell.get("outputs")))
    cell.outputs = [
        nbformat.v4.new_output("display_data", {"image/svg+xml": picture.svg(), "text/plain": picture.alt})
        for picture in (drawing, Diagram(10, 10, "nothing to tell"))
    ]
    html = html_of(page_of(notebook, find_lesson(11).stem, {}, tmp_path))
    assert re.findall("<summary>its (.*?) parts in words</summary><ol>(.*?)</ol>", html) == [
        ("1", "<li>a &lt;layer&gt;: 3 parameters</li>"),
    ]


def test_a_lesson_can_be_downloaded_and_where_there_is_an_address_opened_on_colab(tmp_path):
    title = page_of_lesson(4, tmp_path).cells[0].source
    assert title.startswith("# 04") and '<a href="04_inverted_bottleneck.ipynb" download>' in title
    assert "Colab" not in title
    title = page_of_lesson(4, tmp_path, url="https://github.com/someone/course").cells[0].source
    target = "https://colab.research.google.com/github/someone/course/blob/HEAD/notebooks/04_inverted_bottleneck.ipynb"
    assert f'<a href="{target}">Open in Colab</a>' in title


def test_a_stamped_lesson_brings_no_badge_from_elsewhere(tmp_path):
    path, url = find_lesson(4), "https://github.com/someone/course"
    notebook = read_notebook(path)
    stamp(notebook, path.name, url)
    page = page_of(notebook, path.stem, {}, tmp_path, url)
    assert "colab-badge" not in str(page) and not any(is_set_up(cell.source) for cell in page.cells)
    assert title_of(notebook) == "04 · Inverted bottleneck"


def test_predictions_can_be_clicked_and_are_graded(tmp_path):
    html = html_of(page_of_lesson(10, tmp_path))  # its score stands beside other results of a cell
    assert html.count('<form class="predictions" data-step="10">') == 1
    assert html.count('<div class="score" id="score-10"') == 1
    assert "○" not in html


def test_the_last_lesson_of_the_road_sums_the_predictions_up(tmp_path):
    assert '<pre class="tally">Nothing was predicted yet' in html_of(page_of_lesson(11, tmp_path))


def test_an_explorer_stands_in_the_place_of_its_picture(tmp_path):
    html = html_of(page_of_lesson(11, tmp_path, {8: OnPage("<i>it moves</i>", 10, 1.0)}))
    assert html.count("<i>it moves</i>") == 1
    assert len(re.findall("<img", html)) == len(re.findall("<img", html_of(page_of_lesson(11, tmp_path)))) - 1


def test_a_picture_that_stays_says_why(tmp_path):
    html = html_of(page_of_lesson(11, tmp_path, {8: OnPage("", 0, 1.0, "another")}))
    assert re.search(rf'<img [^>]*><p class="explorer-why"><em>{re.escape(ELSEWHERE)}', html)
