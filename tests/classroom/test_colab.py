import nbformat
import pytest

from convnext_lessons.classroom import colab
from convnext_lessons.classroom.colab import repository_address, set_up_cell, stamp, without_stamp
from convnext_lessons.system import CourseError

URL = "https://github.com/somebody/convnext-lessons"


@pytest.fixture
def notebook():
    cells = [
        nbformat.v4.new_markdown_cell("# 04 · Inverted bottleneck\n\n*A sentence.*"),
        nbformat.v4.new_code_cell(set_up_cell()),
        nbformat.v4.new_code_cell("print(1)"),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def sources(notebook):
    return [cell.source for cell in notebook.cells]


def test_the_set_up_cell_is_short_and_leaves_colabs_packages_alone():
    for url in (None, URL):
        lines = [line for line in set_up_cell(url).splitlines() if line]
        assert len(lines) <= 6
        assert not {"-U", "--upgrade"} & set(" ".join(lines).split())
    install = set_up_cell(URL).splitlines()[-1]
    assert "--no-deps" in install.split("&&")[0]
    assert install.split("&&")[1].split() == ["pip", "install", "-q", "fvcore"]


def test_stamping_and_back(notebook):
    before = sources(notebook)
    stamp(notebook, "04_inverted_bottleneck.ipynb", URL)
    title, set_up, rest = sources(notebook)
    assert title.startswith("[![Open in Colab](")
    assert "/github/somebody/convnext-lessons/blob/HEAD/notebooks/04_inverted_bottleneck.ipynb)" in title
    assert f"git+{URL}" in set_up and ".whl" not in set_up
    assert rest == "print(1)"
    assert [without_stamp(source) for source in sources(notebook)] == before
    stamp(notebook, "04_inverted_bottleneck.ipynb", None)
    assert sources(notebook) == before


def test_a_fork_takes_the_place_of_the_first_address(notebook):
    stamp(notebook, "04.ipynb", URL)
    stamp(notebook, "04.ipynb", "https://github.com/fork/lessons.git")
    title, set_up, _ = sources(notebook)
    assert title.count("[![Open in Colab]") == 1 and "github/fork/lessons/blob" in title
    assert set_up == set_up_cell("https://github.com/fork/lessons.git")


def test_another_host_gets_no_dead_badge(notebook):
    stamp(notebook, "04.ipynb", "https://example.org/lessons")
    assert "Colab" not in notebook.cells[0].source
    assert "git+https://example.org/lessons" in notebook.cells[1].source


def test_the_address_comes_from_pyproject(tmp_path, monkeypatch):
    project = tmp_path / "pyproject.toml"
    monkeypatch.setattr(colab, "CHECKOUT", tmp_path)
    project.write_text('[project]\nname = "x"\n')
    assert repository_address() is None
    project.write_text(f'[project]\nname = "x"\n[project.urls]\nRepository = "{URL}"\n')
    assert repository_address() == URL


def test_without_a_clone_there_is_nothing_to_stamp(monkeypatch, refuses):
    monkeypatch.setattr(colab, "CHECKOUT", None)
    with refuses(CourseError, "clone"):
        repository_address()
