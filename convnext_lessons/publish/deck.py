"""A notebook of slides as one page of HTML that needs nothing else: no network, no other file, no kernel.

nbconvert's ``SlidesExporter`` makes sections of the cells; the template in ``templates/deck`` writes reveal.js (see
``vendor/reveal``), our style and our keys into the page. In the browser: arrows, ``s`` for the speaker's view with
notes and clock, ``f`` for the full screen, ``d`` for light or dark, ``?`` for all keys.
"""

import copy
import itertools
import re
from pathlib import Path

from nbconvert.exporters import SlidesExporter
from nbformat import NotebookNode

from convnext_lessons.classroom.notebooks import execute, is_fresh, notebooks_folder, read_notebook
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import CHECKOUT, PACKAGE
from convnext_lessons.system.storage import atomic

TEMPLATES, REVEAL = PACKAGE / "publish" / "templates", PACKAGE / "vendor" / "reveal"

# What is behind the slides' figures beside the modules that are behind every lesson's.
SLIDE_MODULES = tuple(
    PACKAGE / name
    for name in (
        "classroom/frozen.py",
        "publish/slide_canvas.py",
        "publish/slide_explorer.py",
        "publish/slide_networks.py",
        "publish/slide_numbers.py",
        "publish/votes.py",
        "runs/recipes.py",
    )
)


class DeckError(CourseError):
    """Slides that cannot be made, or would show what is no longer true."""


def slides_folder() -> Path:
    """Where slides go unless another folder is named: ``build/slides`` in the checkout or the working folder."""
    return (CHECKOUT or Path.cwd()) / "build" / "slides"


def reading_group() -> Path:
    """The notebook of the reading group's deck."""
    return notebooks_folder() / "slides" / "reading_group.ipynb"


def execute_reading_group() -> Path:
    """Execute the reading group's notebook in its place, so that it shows what is stored now.

    Raises:
        LessonError: a cell failed; the notebook stays as it was.
        StorageError: it cannot be written.
    """
    execute(reading_group(), reading_group(), modules=SLIDE_MODULES)
    return reading_group()


def write_reading_group(folder: Path) -> Path:
    """Make the reading group's deck.

    Raises:
        DeckError: its results are stale.
        StorageError: the folder cannot be written.
    """
    if not is_fresh(reading_group(), SLIDE_MODULES):
        raise DeckError(
            f"{reading_group().name} was executed with other stored runs, figures or words than those that are here: "
            "execute it anew with `convnext-lessons slides --in-place`."
        )
    return write_deck(read_notebook(reading_group()), folder / "reading_group.html")


def write_deck(notebook: NotebookNode, page: Path) -> Path:
    """Write an executed notebook whose cells have a ``slide_type`` as a page.

    Raises:
        StorageError: the page cannot be written.
    """
    content = export_deck(notebook)
    with atomic(page) as part:
        part.write_text(content, encoding="utf-8")
    return page


def export_deck(notebook: NotebookNode) -> str:
    """The page of a deck. Where notes begin with a clock, such as ``**0:30**``, the speaker's view shows the pace; a
    second clock in the last notes says when the talk ends."""
    notebook = _with_timings(notebook)
    exporter = SlidesExporter(extra_template_basedirs=[str(TEMPLATES)], template_name="deck")
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = exporter.exclude_anchor_links = True
    scripts = [REVEAL / "reveal.js", REVEAL / "plugin" / "notes.js", TEMPLATES / "deck" / "deck.js"]
    title = next((found[1] for cell in notebook.cells if (found := re.match(r"#+ (.+)", cell.source))), "Slides")
    deck = {
        "title": title,
        "reveal_style": _read(REVEAL / "reveal.css"),
        "style": _read(TEMPLATES / "deck" / "deck.css"),
        "scripts": [_read(path) for path in scripts],
    }
    return exporter.from_notebook_node(notebook, resources={"deck": deck})[0]


def clocks_of(notes: str) -> list[int]:
    """The clocks in notes, in seconds: ``**1:30**`` is 90."""
    return [60 * int(minutes) + int(seconds) for minutes, seconds in re.findall(r"\*\*(\d+):(\d\d)\*\*", notes)]


def _with_timings(notebook):
    notebook, slide, begun = copy.deepcopy(notebook), None, []
    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type")
        if kind == "slide":
            slide = cell
        elif kind == "notes":
            begun += [(slide, clock) for clock in clocks_of(cell.source)]
    for (slide, clock), (_, following) in itertools.pairwise(begun):
        slide.metadata.slideshow["data"] = {"timing": str(following - clock)}
    return notebook


def _read(path):
    return path.read_text(encoding="utf-8")
