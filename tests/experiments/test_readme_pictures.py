import pytest
from PIL import Image

from convnext_lessons.classroom import freshness
from convnext_lessons.experiments import readme_pictures as module
from convnext_lessons.experiments.readme_pictures import PICTURES, draw_readme_pictures, is_fresh, readme_picture
from convnext_lessons.system import reference_folder

STORED = [(name, stored) for name, (_, files) in PICTURES.items() for stored in files]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """The README's pictures, drawn into a folder of their own."""
    monkeypatch.setattr(module, "readme_picture", lambda name: tmp_path / name)
    assert draw_readme_pictures() == [tmp_path / name for name in PICTURES]
    return tmp_path


@pytest.mark.parametrize("name", PICTURES)
def test_a_committed_picture_is_drawn_from_what_is_stored(name):
    assert is_fresh(name), f"data/reference or a figure changed since data/{name} was drawn: `make lessons`"


@pytest.mark.parametrize("name", PICTURES)
def test_the_readme_shows_them_from_beside_the_stored_runs(name):
    assert readme_picture(name) == reference_folder().parent / name
    assert f"](data/{name})" in (reference_folder().parent.parent / "README.md").read_text()


def test_pictures_drawn_anew_are_fresh(drawn):
    for name in PICTURES:
        assert Image.open(drawn / name).format == "PNG"
        assert is_fresh(name)


@pytest.mark.parametrize(("name", "changed"), STORED)
def test_a_picture_of_other_runs_or_times_is_stale(name, changed, drawn, tmp_path, monkeypatch):
    for _, each in STORED:
        (tmp_path / each).write_bytes((reference_folder() / each).read_bytes())
    monkeypatch.setattr(freshness, "reference_folder", lambda: tmp_path)
    assert is_fresh(name)
    (tmp_path / changed).write_bytes((reference_folder() / changed).read_bytes() + b"\n")
    assert not is_fresh(name)
