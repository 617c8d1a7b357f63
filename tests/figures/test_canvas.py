import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from convnext_lessons.figures import Diagram


@pytest.fixture
def diagram():
    made = Diagram(120, 80, 'a "red" <box>')
    made.box(10, 10, 50, 30, "#FF0000", tip="5 < 6 & more")
    made.line([(0, 60), (120, 60)], "#0000FF", width=4)
    made.text(60, 75, "words & <more>", anchor="middle")
    return made


def pixels(diagram, scale=1):
    return np.array(Image.open(io.BytesIO(diagram.png(scale))).convert("RGB"))


def test_svg_is_well_formed_and_escapes_what_it_is_given(diagram):
    root = ElementTree.fromstring(diagram.svg())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "words & <more>" in texts and "5 < 6 & more" in texts
    assert root.get("aria-label") == diagram.alt


def test_png_shows_what_the_svg_says(diagram):
    seen = pixels(diagram)
    assert seen.shape == (80, 120, 3)
    assert tuple(seen[25, 30]) == (255, 0, 0)
    assert tuple(seen[60, 5]) == (0, 0, 255)
    assert tuple(seen[5, 100]) == (255, 255, 255)


def test_scale_gives_more_pixels(diagram):
    assert pixels(diagram, 2).shape == (160, 240, 3)


def test_class_names_belong_to_one_drawing(diagram):
    other = Diagram(120, 80, "another")
    other.box(0, 0, 5, 5, "#000000")
    names = [ElementTree.fromstring(drawn.svg()).get("class") for drawn in (diagram, other)]
    assert names[0] != names[1]
    assert names[0] == ElementTree.fromstring(diagram.svg()).get("class")


def test_every_form_is_shown_where_it_can_be(diagram, monkeypatch):
    assert set(diagram._repr_mimebundle_()) == {"text/html", "image/png", "text/plain"}
    monkeypatch.setenv("CONVNEXT_LESSONS_STATIC", "1")
    assert set(diagram._repr_mimebundle_()) == {"image/svg+xml", "image/png", "text/plain"}


def test_details_can_be_reached_with_the_keyboard(diagram):
    root = ElementTree.fromstring(diagram.svg())
    (group,) = root.iter("{http://www.w3.org/2000/svg}g")
    assert group.get("tabindex") == "0"
    name = root.get("class")
    assert f".{name} g:focus .tip{{display:block}}" in root.find("{http://www.w3.org/2000/svg}style").text
