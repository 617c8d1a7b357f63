import json
import os
import shutil

import nbformat
import pytest

from convnext_lessons.classroom import freshness, notebooks
from convnext_lessons.classroom.colab import set_up_cell
from convnext_lessons.classroom.notebooks import (
    LessonError,
    copy_lessons,
    execute,
    find_lesson,
    is_fresh,
    source_hash,
    stamp_lessons,
)
from convnext_lessons.system import reference_folder
from convnext_lessons.system.storage import StorageError


def notebook(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two small lessons, in a folder of its own."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    set_up = "from types import SimpleNamespace\nimages = SimpleNamespace(note='ten shapes')"
    nbformat.write(notebook(set_up, "1 + 1"), folder / "01_first.ipynb")
    nbformat.write(notebook(set_up, "raise ValueError('too wide')"), folder / "02_second.ipynb")
    monkeypatch.setattr(notebooks, "notebooks_folder", lambda: folder)
    return folder


def test_lessons_are_found_by_number(course, refuses):
    assert find_lesson(2).name == "02_second.ipynb"
    with refuses(LessonError, "no lesson 7", "1, 2"):
        find_lesson(7)


def test_execution_keeps_results_and_says_from_which_pictures(course, tmp_path):
    to = tmp_path / "out" / "01_first.ipynb"
    execute(course / "01_first.ipynb", to)
    done = nbformat.read(to, as_version=4)
    assert [cell.execution_count for cell in done.cells] == [1, 2]
    assert done.cells[1].outputs[0].data["text/plain"] == "2"
    assert done.metadata.convnext_lessons.images == "ten shapes"
    assert is_fresh(to) and "widgets" not in done.metadata
    assert not is_fresh(course / "01_first.ipynb")


def test_a_cell_that_fails_is_named_and_nothing_is_written(course, tmp_path, refuses):
    to = tmp_path / "out.ipynb"
    before = (course / "02_second.ipynb").read_bytes()
    with pytest.raises(LessonError, match=r"02_second.ipynb: code cell 2 failed with ValueError: too wide"):
        execute(course / "02_second.ipynb", to)
    assert not to.exists() and (course / "02_second.ipynb").read_bytes() == before


def test_a_place_that_cannot_be_written_shows_before_the_lesson_runs(course, tmp_path, monkeypatch, refuses):
    (tmp_path / "file").touch()
    monkeypatch.setattr(notebooks, "NotebookClient", None)  # which a lesson that runs would call
    with refuses(StorageError, "file"):
        execute(course / "01_first.ipynb", tmp_path / "file" / "01_first.ipynb")


def test_results_of_the_stand_in_are_not_kept_where_real_ones_are_wanted(course, refuses):
    before = (course / "01_first.ipynb").read_bytes()
    with refuses(LessonError, "01_first.ipynb", "ten shapes", "Imagenette"):
        execute(course / "01_first.ipynb", course / "01_first.ipynb", real=True)
    assert (course / "01_first.ipynb").read_bytes() == before


def test_a_cell_that_takes_too_long(course, tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "SECONDS_PER_FAST_CELL", 1)
    nbformat.write(notebook("import time; time.sleep(30)"), course / "03_slow.ipynb")
    with pytest.raises(LessonError, match="took longer than 1 s"):
        execute(course / "03_slow.ipynb", tmp_path / "out.ipynb", fast=True)


def test_fast_and_static_reach_the_kernel_and_leave_this_process_alone(course, tmp_path, full_mode):
    source = "import os; print(*(os.environ[f'CONVNEXT_LESSONS_{name}'] for name in ('FAST', 'STATIC')))"
    nbformat.write(notebook("class images: note = ''", source), course / "03_modes.ipynb")
    execute(course / "03_modes.ipynb", tmp_path / "out.ipynb", fast=True, static=False)
    assert nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[1].outputs[0].text == "1 0\n"
    assert "CONVNEXT_LESSONS_FAST" not in os.environ and "CONVNEXT_LESSONS_STATIC" not in os.environ


def test_copies_have_no_results_and_are_never_overwritten(course, tmp_path):
    execute(course / "01_first.ipynb", course / "01_first.ipynb")
    copies = copy_lessons(tmp_path / "mine")
    assert [copy.name for copy in copies] == ["01_first.ipynb", "02_second.ipynb"]
    cells = nbformat.read(copies[0], as_version=4).cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    copies[0].write_text("a learner's work")
    copy_lessons(tmp_path / "mine")
    assert copies[0].read_text() == "a learner's work"


def test_the_hash_follows_cells_and_the_stored_files_that_were_read(monkeypatch, tmp_path):
    monkeypatch.setattr(freshness, "reference_folder", lambda: tmp_path)
    (tmp_path / "runs.jsonl").write_text("{}\n")
    (tmp_path / "other.jsonl").write_text("{}\n")
    one = notebook("a")
    one.metadata.convnext_lessons = {"stored": ["runs.jsonl"]}
    first = source_hash(one)
    assert source_hash(notebook("a")) != first
    one.cells[0].source = "b"
    assert source_hash(one) != first
    one.cells[0].source = "a"
    (tmp_path / "other.jsonl").write_text("{}\n{}\n")
    assert source_hash(one) == first
    (tmp_path / "runs.jsonl").write_text("{}\n{}\n")
    assert source_hash(one) != first


def test_the_hash_follows_the_modules_behind_the_figures(monkeypatch):
    first = source_hash(notebook("a"))
    assert source_hash(notebook("a")) == first
    monkeypatch.setattr(freshness, "MODULES", freshness.MODULES[1:])
    assert source_hash(notebook("a")) != first


def test_a_file_that_is_no_notebook(course, tmp_path, refuses):
    (course / "01_first.ipynb").write_text("{")
    with refuses(LessonError, "cannot be read as a notebook"):
        execute(course / "01_first.ipynb", tmp_path / "out.ipynb")
    (course / "01_first.ipynb").write_text(json.dumps({"cells": 3}))
    with refuses(LessonError, "cannot be read as a notebook"):
        execute(course / "01_first.ipynb", tmp_path / "out.ipynb")


def test_stamping_changes_the_set_up_cell_and_no_hash(course):
    path = course / "01_first.ipynb"
    content = notebook(set_up_cell(), "1 + 1")
    content.cells.insert(0, nbformat.v4.new_markdown_cell("# 01 · First"))
    nbformat.write(content, path)
    before, hashed = path.read_bytes(), source_hash(content)
    assert path in stamp_lessons("https://github.com/somebody/lessons")
    stamped = nbformat.read(path, as_version=4)
    assert "github/somebody/lessons" in stamped.cells[0].source and "git+" in stamped.cells[1].source
    assert source_hash(stamped) == hashed
    assert stamp_lessons("https://github.com/somebody/lessons") == []
    stamp_lessons(None)
    assert path.read_bytes() == before


# The stored files that a lesson reads ---------------------------------------------------------------------------------


IMAGES = "class images: note = 'none'"


@pytest.mark.parametrize(
    ("sources", "stored"),
    [
        (["1 + 1"], []),
        (["from convnext_lessons.runs import reference_runs\nlen(reference_runs('sprints'))"], ["sprints.jsonl"]),
        (
            [
                "from convnext_lessons.runs import read_measurements, reference_runs",
                "read_measurements('engine')['device']",
                "len(reference_runs(step=4)), len(reference_runs(step=4))",
            ],
            ["engine.json", "pocket.jsonl"],
        ),
        (["from convnext_lessons.figures import show_gains\nshow_gains(until=2)"], ["pocket.jsonl"]),
        (
            [
                "from convnext_lessons.system import reference_folder",
                "open(reference_folder() / 'trials.jsonl').close()",
                "len((reference_folder() / 'pace.jsonl').read_text())",
                "len((reference_folder().parent / 'README.md').read_text())",  # of another folder
                "(reference_folder() / 'bench.json').exists()",  # not opened
            ],
            ["pace.jsonl", "trials.jsonl"],
        ),
    ],
)
def test_execution_notes_which_stored_files_were_opened(sources, stored, course, tmp_path):
    to = tmp_path / "out.ipynb"
    nbformat.write(notebook(IMAGES, *sources), course / "03_reading.ipynb")
    execute(course / "03_reading.ipynb", to, fast=True)
    done = nbformat.read(to, as_version=4)
    assert done.metadata.convnext_lessons.stored == stored
    assert [cell.source for cell in done.cells] == [IMAGES, *sources]
    assert is_fresh(to)


def test_a_lesson_is_stale_once_a_file_that_it_read_changes(course, tmp_path, monkeypatch):
    to = tmp_path / "out.ipynb"
    source = "from convnext_lessons.runs import reference_runs\nlen(reference_runs('sprints'))"
    nbformat.write(notebook(IMAGES, source), course / "03_reading.ipynb")
    execute(course / "03_reading.ipynb", to, fast=True)
    copied = tmp_path / "reference"
    shutil.copytree(reference_folder(), copied)
    monkeypatch.setattr(freshness, "reference_folder", lambda: copied)
    assert is_fresh(to)
    (copied / "trials.jsonl").write_text("")
    assert is_fresh(to)
    with open(copied / "sprints.jsonl", "a") as file:
        file.write("{}\n")
    assert not is_fresh(to)


def test_what_the_course_adds_to_a_kernel_is_not_in_the_lessons_way(course, tmp_path):
    # A lesson that uses a name without importing it must fail here as it would fail a learner.
    nbformat.write(notebook(IMAGES, "sys.version"), course / "03_lacking.ipynb")
    with pytest.raises(LessonError, match="code cell 2 failed with NameError: name 'sys'"):
        execute(course / "03_lacking.ipynb", tmp_path / "out.ipynb", fast=True)
