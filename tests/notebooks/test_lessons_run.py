"""Every lesson executed from top to bottom in fast mode, and its committed form held against the rules of the house."""

import ast
import re

import nbformat
import pytest

from convnext_lessons.classroom.colab import repository_address, stamp
from convnext_lessons.classroom.notebooks import execute, is_fresh, list_lessons
from convnext_lessons.model import STEPS

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

FRONT_DOOR = ("The road", "Two ends", "One module", "Train", "What short runs can show", "The experiment", "Discuss")

RECIPE = (
    "Where we are",
    "Predict",
    "Six techniques",
    "The average and the schedule",
    "What each part brings",
    "What it costs",
    "Train",
    "For real",
    "Transfer",
    "Your turn",
    "Discuss",
)

every_lesson = pytest.mark.parametrize("path", list_lessons(), ids=lambda path: path.stem)


@pytest.fixture
def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def test_there_is_a_lesson_for_every_step_of_the_paper():
    steps = [f"{step.number:02d}_{step.slug}" for step in STEPS if step.paper]
    assert [path.stem for path in list_lessons()] == ["00_the_road_to_convnext", *steps, "12_imagenet_recipe"]


@every_lesson
def test_every_cell_runs_with_live_widgets(path, tmp_path):
    # Pictures in their places are tested by every execution whose results are committed.
    execute(path, tmp_path / path.name, fast=True, static=False)
    executed = nbformat.read(tmp_path / path.name, as_version=4)
    assert "NOT Imagenette" in executed.metadata.convnext_lessons.images
    found = [output for output in outputs(executed) if "data" in output]
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
        words = "".join(output.get("text", "")) + "".join(data.get("text/plain", ""))
        assert not re.search(r"/(root|home|Users|tmp|work)/", words), "a path of the machine that executed it"
    assert path.stat().st_size < 500_000


@every_lesson
def test_lessons_keep_their_limits(path, read):
    words = sum(len(cell.source.split()) for cell in read.cells if cell.cell_type == "markdown")
    assert len(read.cells) <= 40 and words <= 1700
    assert max(len(cell.source.splitlines()) for cell in code(read)) <= 25


def imports(notebook):
    """The modules of the course that a notebook imports from, as dotted names."""
    for cell in code(notebook):
        lines = (line for line in cell.source.splitlines() if not re.match(r"\s*(\w+ = )?[!%]", line))
        for node in ast.walk(ast.parse("\n".join(lines))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                # "from convnext_lessons import model" is the face model, too.
                inner = node.module == "convnext_lessons"
                names = [f"{node.module}.{alias.name}" for alias in node.names] if inner else [node.module]
            yield from (name for name in names if name.split(".")[0] == "convnext_lessons")


@every_lesson
def test_lessons_import_from_few_faces_and_never_past_one(path, read):
    found = set(imports(read))
    assert all(len(name.split(".")) == 2 for name in found), f"past a face: {sorted(found)}"
    assert "convnext_lessons.experiments" not in found, "the authors' tools are no part of a lesson"
    assert 1 <= len(found) <= 5


@every_lesson
def test_lessons_share_the_set_up_cell_and_say_where_they_live(path, read):
    stamped = nbformat.read(path, as_version=4)
    stamp(stamped, path.name, repository_address())
    assert [cell.source for cell in stamped.cells] == [cell.source for cell in read.cells], "run convnext-lessons stamp"
    assert code(read)[0].source.startswith("import importlib.util")
    assert "open_lesson(step=" in code(read)[1].source


@every_lesson
def test_lessons_have_the_spine_and_prove_their_claims(path, read):
    headings = [
        line[3:]
        for cell in read.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line[:3] == "## "
    ]
    spine = {"00": FRONT_DOOR, "12": RECIPE}.get(path.name[:2], SPINE)
    places = [next(i for i, heading in enumerate(headings) if heading.startswith(part)) for part in spine]
    assert places == sorted(places)
    claims = [i for i, cell in enumerate(read.cells) if cell.cell_type == "markdown" and "*Claim " in cell.source]
    assert len(claims) >= 3
    assert all(read.cells[place + 1].cell_type == "code" for place in claims)
