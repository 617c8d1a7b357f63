"""Lessons on Colab: the set-up cell that all of them share, and the badges of whoever hosts the course.

Where the course lives is said once, as ``Repository`` under ``[project.urls]`` of pyproject.toml. Until it is said,
there are no badges, and the set-up cell takes a bundle that its user uploads (``make colab-bundle``).
"""

import re
import tomllib

from nbformat import NotebookNode

from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import CHECKOUT

# Without dependencies: what Colab has of torch, numpy and ipywidgets stays as it is.
_SET_UP = """\
import importlib.util

if not importlib.util.find_spec("convnext_lessons"):
    assert "google.colab" in str(get_ipython()), "The course is not installed: `make lab`, or `pip install -e .`"
"""

# The newest bundle among Colab's files and those of a mounted Drive, or the one that the upload dialog brings.
_BUNDLE = """\
    found = !ls -t convnext_lessons*.whl drive/MyDrive/convnext_lessons*.whl 2>/dev/null
    bundle = found[0] if found else next(iter(importlib.import_module("google.colab.files").upload()))
    !PYTHONPATH="{bundle}" python -m convnext_lessons.install "{bundle}\""""

_ADDRESS = "    !pip install -q --no-deps git+%s && pip install -q fvcore"

_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"

_BADGE_LINE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)\n\n")


def repository_address() -> str | None:
    """The address under which the course is hosted, out of pyproject.toml; None where nobody has set one.

    Raises:
        CourseError: the course is installed without its repository.
    """
    if not CHECKOUT:
        raise CourseError("There is no pyproject.toml beside the course; do this in a clone of its repository.")
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository")


def set_up_cell(url: str | None = None) -> str:
    """The source of every lesson's first code cell."""
    return _SET_UP + (_ADDRESS % url if url else _BUNDLE)


def without_stamp(source: str) -> str:
    """The source of a cell as it is where no address is set."""
    return set_up_cell() if source.startswith(_SET_UP) else _BADGE_LINE.sub("", source)


def is_set_up(source: str) -> bool:
    """Whether a cell is the set-up cell, whatever address is stamped into it."""
    return without_stamp(source) == set_up_cell()


def colab_address(url: str | None, name: str) -> str | None:
    """Where Colab opens the lesson with this file name; None without a repository, and for those outside GitHub, which
    is all that Colab opens from."""
    if not url or "://github.com/" not in url:
        return None
    repository = url.split("://github.com/")[1].removesuffix(".git").rstrip("/")
    return f"https://colab.research.google.com/github/{repository}/blob/HEAD/notebooks/{name}"


def stamp(notebook: NotebookNode, name: str, url: str | None = None) -> None:
    """Give a lesson the set-up cell and the badge that belong to an address, in place of those that it has.

    Args:
        notebook: is changed.
        name: of its file.
        url: of the repository; None takes the badge away, and so does one that ``colab_address`` has no address for.
    """
    for cell in notebook.cells:
        cell.source = without_stamp(cell.source)
        if is_set_up(cell.source):
            cell.source = set_up_cell(url)
    if target := colab_address(url, name):
        title = notebook.cells[0]
        title.source = f"[![Open in Colab]({_BADGE})]({target})\n\n{title.source}"
