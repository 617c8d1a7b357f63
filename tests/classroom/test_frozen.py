import base64
import io
import json
import re
import zlib

import pytest
from PIL import Image

from convnext_lessons.classroom import CostExplorer, Explorer, frozen
from convnext_lessons.figures import Diagram, Plot, new_figure
from convnext_lessons.model import architecture_after
from convnext_lessons.system import CourseError


@pytest.fixture(autouse=True)
def static(monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_STATIC", "1")


def draw(number, kind):
    if (number, kind) == (2, "b"):
        raise CourseError("2 and <b> do not fit.")
    return Diagram(10 * number, 10, f"{number} <{kind}>")


def explorer(**settings):
    return Explorer({"number": (1, 2, 3), "kind": {"A & B": "a", "B": "b"}}, draw, "Find <it>.", **settings)


def content_of(html):
    packed = re.search(r'<script type="text/plain">([^<]*)</script>', html)[1]
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_every_choice_has_its_picture_and_its_sentence():
    content = content_of(explorer().frozen())
    told = [words for _, words in content["states"]]
    assert told[0] == "number 1, kind A & B: 1 <a>" and told[-1] == "number 3, kind B: 3 <b>" and len(told) == 6
    shown = [content["pictures"][place] for place, _ in content["states"]]
    assert [re.search(r'aria-label="([^"]*)"', picture)[1] for picture in shown if "aria-label" in picture] == [
        f"{number} &lt;{kind}&gt;" for number, kind in ((1, "a"), (1, "b"), (2, "a"), (3, "a"), (3, "b"))
    ]


def test_values_that_do_not_fit_say_so_in_their_place():
    content = content_of(explorer().frozen())
    place, words = content["states"][3]
    assert content["pictures"][place] == "<b>2 and &lt;b&gt; do not fit.</b>"
    assert words == "number 2, kind B: 2 and <b> do not fit."


def test_it_begins_where_the_explorer_begins():
    html = explorer(start={"number": 3, "kind": "b"}).frozen()
    assert 'aria-label="3 &lt;b&gt;"' in html.partition('class="explorer-view"')[2].partition("</div>")[0]
    assert 'max="2" value="2"' in html and 'aria-valuetext="3"' in html
    assert "<option>A &amp; B</option><option selected>B</option>" in html
    assert "Find &lt;it&gt;." in html


def test_equal_pictures_are_kept_once():
    always = Diagram(10, 10, "always the same")
    content = content_of(Explorer({"number": range(9)}, lambda number: always, "").frozen())
    assert len(content["pictures"]) == 1 and len(content["states"]) == 9


def test_a_plot_is_an_image_of_the_same_pixels(monkeypatch):
    figure, (axes,) = new_figure(2, 1)
    axes.plot([1, 2])
    plot = Plot(figure, 'a "line"')
    png = plot.png()
    monkeypatch.setattr(plot, "png", lambda: png)  # drawn twice, the layout may move by a hundredth of a pixel
    html = frozen.html_of(plot)
    assert html.startswith('<img alt="a &quot;line&quot;" width="240" height="120"')
    webp = base64.b64decode(re.search(r"base64,([^\"]*)", html)[1])
    assert pixels(webp) == pixels(png)


def pixels(data):
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def test_too_many_states_are_a_picture_and_it_is_said_so():
    stands = Diagram(10, 10, "stands for it")
    calls = []
    large = Explorer({"a": range(20), "b": range(20)}, lambda *values: calls.append(values), "", static=stands)
    html = large.frozen()
    assert "Its 400 settings are too many for a page" in html and 'aria-label="stands for it"' in html
    assert "<script" not in html and not calls


def test_too_much_is_a_picture_and_it_is_said_so(monkeypatch):
    monkeypatch.setattr(frozen, "BYTES", 1000)
    html = explorer().frozen()
    assert "Its pictures are too large for a page" in html and 'aria-label="1 &lt;a&gt;"' in html
    assert "<script" not in html


def test_a_lessons_explorer_can_be_frozen():
    base = architecture_after(4).thinner(1 / 8)
    html = CostExplorer(base, {"expansion": (1, 2, 4), "kernel_size": (3, 5)}, {"step 4": base}, "").frozen()
    assert len(content_of(html)["states"]) == 6 and len(html) < 20_000
