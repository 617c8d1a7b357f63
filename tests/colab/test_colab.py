"""Lessons in an environment with Colab's versions and without the course, from their set-up cell to their last.

`make test-colab` makes that environment, names its Python in COLAB_PYTHON and the bundle in COLAB_BUNDLE.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from convnext_lessons.classroom.colab import set_up_cell
from convnext_lessons.classroom.notebooks import find_lesson

PYTHON, BUNDLE = os.environ.get("COLAB_PYTHON"), os.environ.get("COLAB_BUNDLE")
STAND_IN = Path(__file__).parent / "stand_in"
LESSONS = (0, 4, 8, 12)

pytestmark = [
    pytest.mark.colab,
    pytest.mark.skipif(not (PYTHON and BUNDLE), reason="no environment like Colab's: run `make test-colab`"),
]


@pytest.fixture
def content(tmp_path, monkeypatch):
    """A folder like Colab's /content, a kernel of the other environment, and the course taken out of it."""
    kernel = tmp_path / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    argv = [PYTHON, "-m", "google.colab.kernel", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
    settings = {
        "JUPYTER_PATH": tmp_path / "jupyter",
        "PYTHONPATH": STAND_IN,
        "PATH": f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}",
        "CONVNEXT_LESSONS_STATIC": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    pip("uninstall", "--yes", "convnext_lessons", "fvcore")
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


def pip(*arguments):
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run(notebook, folder):
    NotebookClient(notebook, timeout=300, kernel_name="colab", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def texts(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_runs_from_its_bundle_and_changes_nothing_of_colabs(number, content):
    shutil.copy(BUNDLE, content)
    before = set(pip("freeze").splitlines())
    notebook = run(nbformat.read(find_lesson(number), as_version=4), content)
    after = set(pip("freeze").splitlines())
    assert before <= after
    assert any(line.startswith("fvcore") for line in after - before)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "no GPU found (on Colab: Runtime, Change runtime type, T4 GPU)" in texts(code[1])
    data = [output.data for cell in code for output in cell.outputs if "data" in output]
    assert any("application/vnd.jupyter.widget-view+json" in found for found in data)
    # The stored runs came along.
    assert any("stored" in found.get("text/plain", "") for found in data)


def set_up(folder):
    """What the set-up cell says, and whether the course can be imported behind it."""
    behind = "from convnext_lessons.runs import reference_runs\nprint(len(reference_runs(step=4)))"
    cells = [nbformat.v4.new_code_cell(source) for source in (set_up_cell(), behind)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    try:
        run(notebook, folder)
    except CellExecutionError:
        return texts(notebook.cells[0]), False
    return texts(notebook.cells[0]), texts(notebook.cells[1]).strip() == "5"


def test_without_a_bundle_the_dialog_opens_and_any_name_will_do(content, monkeypatch):
    monkeypatch.setenv("CHOSEN_FILE", BUNDLE)
    said, there = set_up(content)
    assert "The course is installed from" in said and "(1).whl" in said and there


def test_a_bundle_in_the_drive_is_found(content):
    (content / "drive" / "MyDrive").mkdir(parents=True)
    shutil.copy(BUNDLE, content / "drive" / "MyDrive")
    said, there = set_up(content)
    assert "drive/MyDrive" in said and there


def test_what_could_not_be_installed_is_said(content):
    (content / "convnext_lessons-0.1.0-py3-none-any.whl").write_bytes(b"torn")
    said, there = set_up(content)
    assert "No module named" in said and not there
