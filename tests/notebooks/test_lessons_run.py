"""Every lesson executed from top to bottom in fast mode, and its committed form held against the rules of the house."""

import nbformat
import pytest

from convnext_lessons.lessons import execute, is_fresh, lessons

SPINE = (
    "Where we are",
    "Predict",
    "The idea",
    "The change",
    "Picture",
    "Cost",
    "Train",
    "What we saw",
    "Your turn",
    "Discuss",
)

every_lesson = pytest.mark.parametrize("path", lessons(), ids=lambda path: path.stem)


@pytest.fixture
def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


@every_lesson
def test_every_cell_runs(path, tmp_path):
    execute(path, tmp_path / path.name, fast=True)
    assert "NOT Imagenette" in nbformat.read(tmp_path / path.name, as_version=4).metadata.convnext_lessons.images


@every_lesson
def test_live_widgets_run_too(path, tmp_path):
    execute(path, tmp_path / path.name, fast=True, static=False)
    found = [output for output in outputs(nbformat.read(tmp_path / path.name, as_version=4)) if "data" in output]
    assert any("application/vnd.jupyter.widget-view+json" in output.data for output in found)


@every_lesson
def test_committed_results_are_fresh_and_from_real_pictures(path, read):
    assert is_fresh(path), f"{path.name} changed since it was executed: run `make lessons`"
    assert read.metadata.convnext_lessons.images.startswith("Imagenette v2")
    assert [cell.execution_count for cell in code(read)] == list(range(1, len(code(read)) + 1))
    assert not any(output.output_type == "error" for output in outputs(read))


@every_lesson
def test_committed_pages_read_well_without_a_kernel(path, read):
    assert "widgets" not in read.metadata
    for output in outputs(read):
        data = output.get("data", {})
        assert "application/vnd.jupyter.widget-view+json" not in data
        assert "<svg" not in data.get("text/html", "") or "image/png" in data
    assert path.stat().st_size < 500_000


@every_lesson
def test_lessons_keep_their_limits(path, read):
    words = sum(len(cell.source.split()) for cell in read.cells if cell.cell_type == "markdown")
    assert len(read.cells) <= 35 and words <= 1500
    assert max(len(cell.source.splitlines()) for cell in code(read)) <= 25
    assert len(code(read)[0].source.splitlines()) <= 6


@every_lesson
def test_lessons_have_the_spine_and_prove_their_claims(path, read):
    headings = [
        line[3:]
        for cell in read.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line[:3] == "## "
    ]
    places = [next(i for i, heading in enumerate(headings) if heading.startswith(part)) for part in SPINE]
    assert places == sorted(places)
    claims = [i for i, cell in enumerate(read.cells) if cell.cell_type == "markdown" and "*Claim " in cell.source]
    assert len(claims) >= 3
    assert all(read.cells[place + 1].cell_type == "code" for place in claims)
