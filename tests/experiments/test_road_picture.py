import pytest
from PIL import Image

from convnext_lessons.classroom import freshness
from convnext_lessons.experiments import road_picture as module
from convnext_lessons.experiments.road_picture import STORED, draw_road_picture, road_picture, road_picture_is_fresh
from convnext_lessons.system import reference_folder


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """The README's picture, drawn into a folder of its own."""
    monkeypatch.setattr(module, "road_picture", lambda: tmp_path / "road.png")
    assert draw_road_picture() == tmp_path / "road.png"
    return tmp_path / "road.png"


def test_the_committed_picture_of_the_road_is_drawn_from_what_is_stored():
    assert road_picture_is_fresh(), "data/reference or a figure changed since data/road.png was drawn: `make lessons`"


def test_the_picture_lies_beside_the_stored_runs():
    assert road_picture() == reference_folder().parent / "road.png"


def test_a_picture_of_the_road_drawn_anew_is_fresh(drawn):
    assert Image.open(drawn).format == "PNG"
    assert road_picture_is_fresh()


@pytest.mark.parametrize("name", STORED)
def test_a_picture_of_other_runs_or_times_is_stale(name, drawn, tmp_path, monkeypatch):
    for each in STORED:
        (tmp_path / each).write_bytes((reference_folder() / each).read_bytes())
    monkeypatch.setattr(freshness, "reference_folder", lambda: tmp_path)
    assert road_picture_is_fresh()
    (tmp_path / name).write_bytes((reference_folder() / name).read_bytes() + b"\n")
    assert not road_picture_is_fresh()
