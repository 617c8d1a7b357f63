"""The lessons as files: finding them, executing them, knowing whether their outputs are fresh, the learner's copies."""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from convnext_lessons.classroom.colab import stamp, without_stamp
from convnext_lessons.classroom.freshness import hash_sources, modules_behind
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import CHECKOUT, PACKAGE, data_folder, fast_mode, reference_folder
from convnext_lessons.system.storage import atomic, ensure_folder

SECONDS_PER_CELL = 1800
SECONDS_PER_FAST_CELL = 120

# Run by the kernel before the first cell: it notes which stored files the lesson opens.
_NOTE_STORED = (
    "_opened = set(); "
    "__import__('sys').addaudithook(lambda event, details: event == 'open' and _opened.add(str(details[0])))"
)

# Run behind the last cell and dropped again, so that the page says truly where its results come from.
_TELL_SOURCES = (
    "import json; "
    "print(json.dumps({'images': getattr(globals().get('images'), 'note', None), 'opened': sorted(_opened)}))"
)


class LessonError(CourseError):
    """A lesson that does not exist, or does not run."""


def notebooks_folder() -> Path:
    """Where the lessons are, in a checkout or beside the installed package."""
    return CHECKOUT / "notebooks" if CHECKOUT else PACKAGE / "notebooks"


def learners_folder() -> Path:
    """Where the learner's copies go: ``my_lessons`` in the checkout, or in the working folder without one."""
    return (CHECKOUT or Path.cwd()) / "my_lessons"


def list_lessons() -> list[Path]:
    """The paths of all lessons, in order."""
    return sorted(notebooks_folder().glob("[0-9][0-9]_*.ipynb"))


def find_lesson(number: int) -> Path:
    """The path of a lesson.

    Raises:
        LessonError: there is no such lesson.
    """
    for path in list_lessons():
        if path.name.startswith(f"{int(number):02d}_"):
            return path
    there = ", ".join(str(int(path.name[:2])) for path in list_lessons())
    raise LessonError(f"There is no lesson {number}; there are {there}.")


def copy_lessons(folder: str | Path) -> list[Path]:
    """Put a copy of every lesson into a folder, results cleared; a copy that is there is left as it is.

    Returns:
        The paths of the copies.
    """
    folder = ensure_folder(folder)
    copies = []
    for path in list_lessons():
        copy = folder / path.name
        if not copy.exists():
            with atomic(copy) as part:
                nbformat.write(_without_results(read_notebook(path)), part)
        copies.append(copy)
    return copies


def execute(
    path: Path, to: Path, fast: bool = False, static: bool = True, real: bool = False, modules: Iterable[Path] = ()
) -> None:
    """Run a lesson from top to bottom in a fresh kernel and write it with its results.

    Args:
        path: the notebook.
        to: where to write the executed copy; the notebook itself may be overwritten.
        fast: in fast mode, with a tight time limit a cell.
        static: pictures in the places of widgets.
        real: refuse results from other pictures than Imagenette's.
        modules: see ``source_hash``.

    Raises:
        LessonError: a cell failed or took too long, or the pictures are not those wanted; nothing is written then.
        StorageError: the copy cannot be written.
    """
    ensure_folder(to.parent)  # now, so that a folder that cannot be written shows before the lesson runs
    notebook = _without_results(read_notebook(path))
    fast = fast or fast_mode()
    limit = SECONDS_PER_FAST_CELL if fast else SECONDS_PER_CELL
    notebook.cells.append(nbformat.v4.new_code_cell(_TELL_SOURCES))
    client = NotebookClient(
        notebook,
        timeout=limit,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR", f"--IPKernelApp.exec_lines={_NOTE_STORED}"],
    )
    settings = {
        "CONVNEXT_LESSONS_FAST": str(int(fast)),
        "CONVNEXT_LESSONS_STATIC": str(int(static)),
        "CONVNEXT_LESSONS_DATA": str(data_folder()),
    }
    try:
        with environment(**settings):
            client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise LessonError(_what_failed(path, notebook, error, limit)) from error
    sources = json.loads(notebook.cells.pop().outputs[0].text)
    note = sources["images"]
    if real and not str(note).startswith("Imagenette"):
        raise LessonError(f"{path.name} ran on '{note}'; its results are kept only from Imagenette: fetch it first.")
    opened = {Path(name) for name in sources["opened"]}
    stored = sorted(path.name for path in opened if path.parent == reference_folder())
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "convnext_lessons": {"images": note, "stored": stored},
        }
    )
    notebook.metadata.convnext_lessons.source_hash = source_hash(notebook, modules)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    with atomic(to) as part:
        nbformat.write(notebook, part)


def source_hash(notebook: NotebookNode, modules: Iterable[Path] = ()) -> str:
    """A hash of all that a lesson's results depend on: its cells (whoever hosts them), what is behind its figures, and
    the stored files that it read when it was executed.

    Args:
        modules: what is behind its figures beside the modules that ``freshness`` knows; a lesson has none.
    """
    texts = [f"{cell.cell_type}\n{without_stamp(cell.source)}" for cell in notebook.cells]
    stored = notebook.metadata.get("convnext_lessons", {}).get("stored", [])
    return hash_sources(texts, stored, [*modules_behind("\n".join(texts)), *modules])


def stamp_lessons(url: str | None) -> list[Path]:
    """Write an address into every lesson: the badge over its title and what its set-up cell installs; see ``colab``.

    Returns:
        The paths of the lessons that changed.
    """
    changed = []
    for path in list_lessons():
        notebook = read_notebook(path)
        before = [cell.source for cell in notebook.cells]
        stamp(notebook, path.name, url)
        if before != [cell.source for cell in notebook.cells]:
            with atomic(path) as part:
                nbformat.write(notebook, part)
            changed.append(path)
    return changed


def is_fresh(path: Path, modules: Iterable[Path] = ()) -> bool:
    """Whether a lesson's results come from its cells, network and stored runs as they are now; see ``source_hash``."""
    notebook = read_notebook(path)
    return notebook.metadata.get("convnext_lessons", {}).get("source_hash") == source_hash(notebook, modules)


def read_notebook(path: Path) -> NotebookNode:
    """A notebook with its results as they are in its file.

    Raises:
        LessonError: it cannot be read.
    """
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
def environment(**settings: str) -> Iterator[None]:
    """Environment variables as they should be in this block."""
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
