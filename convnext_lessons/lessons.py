"""The lessons as files: finding them, executing them, knowing whether their outputs are fresh, the learner's copies."""

import contextlib
import hashlib
import io
import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from convnext_lessons.colab import stamp, unstamped
from convnext_lessons.machine import (
    CHECKOUT,
    PACKAGE,
    CourseError,
    atomic,
    data_folder,
    fast_mode,
    made,
    reference_folder,
)
from convnext_lessons.plots import draw_summary

SECONDS_PER_CELL = 1800
SECONDS_PER_FAST_CELL = 120
# Stored files that only a lesson which names them shows.
OF_ONE_LESSON = ("bench", "engine", "gpu", "leaderboard", "rehearsal", "sprints")


class LessonError(CourseError):
    """A lesson that does not exist, or does not run."""


def notebooks_folder():
    """Where the lessons are, in a checkout or beside the installed package."""
    return CHECKOUT / "notebooks" if CHECKOUT else PACKAGE / "notebooks"


def learners_folder():
    """Where the learner's copies go: ``my_lessons`` in the checkout, or in the working folder without one."""
    return (CHECKOUT or Path.cwd()) / "my_lessons"


def lessons():
    """The paths of all lessons, in order."""
    return sorted(notebooks_folder().glob("[0-9][0-9]_*.ipynb"))


def find_lesson(number):
    """The path of a lesson.

    Raises:
        LessonError: there is no such lesson.
    """
    for path in lessons():
        if path.name.startswith(f"{int(number):02d}_"):
            return path
    there = ", ".join(str(int(path.name[:2])) for path in lessons())
    raise LessonError(f"There is no lesson {number}; there are {there}.")


def copy_lessons(folder):
    """Put a copy of every lesson into a folder, results cleared; a copy that is there is left as it is.

    Returns:
        The paths of the copies.
    """
    folder = made(folder)
    copies = []
    for path in lessons():
        copy = folder / path.name
        if not copy.exists():
            with atomic(copy) as part:
                nbformat.write(_without_results(_read(path)), part)
        copies.append(copy)
    return copies


def execute(path, to, fast=False, static=True, real=False):
    """Run a lesson from top to bottom in a fresh kernel and write it with its results.

    Args:
        path: the notebook.
        to: where to write the executed copy; the notebook itself may be overwritten.
        fast: in fast mode, with a tight time limit a cell.
        static: pictures in the places of widgets.
        real: refuse results from other pictures than Imagenette's.

    Raises:
        LessonError: a cell failed or took too long, or the pictures are not those wanted; nothing is written then.
    """
    notebook = _without_results(_read(path))
    fast = fast or fast_mode()
    limit = SECONDS_PER_FAST_CELL if fast else SECONDS_PER_CELL
    # Read off the kernel, and dropped again, so that the page says truly which pictures its results come from.
    notebook.cells.append(nbformat.v4.new_code_cell("print(images.note)"))
    client = NotebookClient(
        notebook,
        timeout=limit,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    settings = {
        "CONVNEXT_LESSONS_FAST": str(int(fast)),
        "CONVNEXT_LESSONS_STATIC": str(int(static)),
        "CONVNEXT_LESSONS_DATA": str(data_folder()),
    }
    try:
        with _environment(**settings):
            client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise LessonError(_what_failed(path, notebook, error, limit)) from error
    note = notebook.cells.pop().outputs[0].text.strip()
    if real and not note.startswith("Imagenette"):
        raise LessonError(f"{path.name} ran on '{note}'; its results are kept only from Imagenette: fetch it first.")
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "convnext_lessons": {"images": note, "source_hash": source_hash(notebook)},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    with atomic(to) as part:
        nbformat.write(notebook, part)


def road_picture():
    """Where the README's picture of the road is."""
    return reference_folder().parent / "road.png"


def draw_road_picture():
    """Draw the road, summed up, for the README, with a hash inside of what it was drawn from."""
    info = PngInfo()
    info.add_text("source_hash", _hash_of([]))
    with Image.open(io.BytesIO(draw_summary().png())) as drawn, atomic(road_picture()) as part:
        drawn.save(part, "png", optimize=True, pnginfo=info)
    return road_picture()


def road_picture_is_fresh():
    """Whether the README's picture was drawn from what is stored now."""
    with Image.open(road_picture()) as drawn:
        return drawn.text.get("source_hash") == _hash_of([])


def source_hash(notebook):
    """A hash of all that a lesson's results depend on: its cells (whoever hosts them), the network behind them, and
    what is stored in data/reference."""
    return _hash_of(f"{cell.cell_type}\n{unstamped(cell.source)}\n" for cell in notebook.cells)


def _hash_of(parts):
    parts = "".join(parts)
    content = hashlib.sha256(parts.encode())
    stored = [path for path in stored_runs() if path.stem not in OF_ONE_LESSON or path.stem in parts]
    for path in [*(PACKAGE / f"{room}.py" for room in ("architecture", "roadmap", "network")), *stored]:
        content.update(path.read_bytes())
    return content.hexdigest()[:16]


def stored_runs():
    """The files of ``data/reference``, in order."""
    return sorted(reference_folder().glob("*.json*"))


def stamp_lessons(url):
    """Write an address into every lesson: the badge over its title and what its set-up cell installs; see ``colab``.

    Returns:
        The paths of the lessons that changed.
    """
    changed = []
    for path in lessons():
        notebook = _read(path)
        before = [cell.source for cell in notebook.cells]
        stamp(notebook, path.name, url)
        if before != [cell.source for cell in notebook.cells]:
            with atomic(path) as part:
                nbformat.write(notebook, part)
            changed.append(path)
    return changed


def is_fresh(path):
    """Whether a lesson's results come from its cells, network and stored runs as they are now."""
    notebook = _read(path)
    return notebook.metadata.get("convnext_lessons", {}).get("source_hash") == source_hash(notebook)


def _read(path):
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # whatever is wrong with a file, nbformat has an exception of another kind for it
        raise LessonError(f"{path} cannot be read as a notebook ({type(error).__name__}); fetch it again.") from error


def _without_results(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def _what_failed(path, notebook, error, limit):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    failed = [n for n, cell in enumerate(code, start=1) if any(out.output_type == "error" for out in cell.outputs)]
    if isinstance(error, CellTimeoutError):
        return f"{path.name}: a cell took longer than {limit} s."
    if isinstance(error, DeadKernelError) or not failed:
        return f"{path.name}: the kernel died ({error}); is there enough memory?"
    last = re.sub(r"\x1b\[[0-9;]*m", "", f"{error.ename}: {error.evalue}")
    return f"{path.name}: code cell {failed[0]} failed with {last}"


@contextlib.contextmanager
def _environment(**settings):
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
