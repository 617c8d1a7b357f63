"""A deck of one lesson: its title and question, its figures under their headings, its question for the group.

No cell is tagged for it. A slide is a picture (PNG, SVG or a diagram's HTML) that a cell shows whose code, imports left
out, names one of the course's figures: a function ``draw_…``, ``compare`` or ``show_gains``, also inside an explorer.
Its heading is the nearest one above, and what stands between that heading and the cell becomes the speaker's notes.
Cells under *Your turn* are left out, since they show what the room has yet to find.
"""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from convnext_lessons.classroom.notebooks import find_lesson, is_fresh, read_notebook
from convnext_lessons.publish.deck import DeckError, write_deck

_FIGURES = re.compile(r"\b(draw_\w+|compare|show_gains)\b")
_IMPORTS = re.compile(r"^from \S+ import (\([^)]*\)|.*)$", re.M)
_PICTURES = ("text/html", "image/svg+xml", "image/png")
_LEFT_OUT = ("Your turn",)


def write_lesson_deck(number: int, folder: Path) -> Path:
    """Make the deck of a lesson.

    Raises:
        LessonError: there is no such lesson.
        DeckError: its results are stale.
        StorageError: the folder cannot be written.
    """
    path = find_lesson(number)
    if not is_fresh(path):
        raise DeckError(f"{path.name} was executed with other stored runs or figures than those here: `make lessons`.")
    return write_deck(lesson_slides(read_notebook(path)), folder / f"{path.stem}.html")


def lesson_slides(lesson: NotebookNode) -> NotebookNode:
    """The slides of an executed lesson, as a notebook."""
    title, question = _opening(lesson.cells[0].source)
    cells = [_slide(f"# {title}\n\n{question}")]
    heading, told = "", []
    for cell in lesson.cells[1:]:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^## (.+)$", cell.source, re.M)
            heading, told = (headings[-1], []) if headings else (heading, told)
            told.append(_without_details(cell.source))
        elif heading not in _LEFT_OUT and _FIGURES.search(_IMPORTS.sub("", cell.source)):
            for picture in _pictures_of(cell):
                cells += [_slide(f"## {heading}"), picture]
                if any(told):
                    cells.append(_notes("\n\n".join(filter(None, told))))
                told = []
    prose = "\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    questions = re.findall(r"^- \*For the group:\*(.+?)(?=^- |\Z)", prose, re.M | re.S)
    if questions:
        words = [" ".join(one.split()) for one in questions]
        cells.append(_slide("## For the group\n\n" + "\n".join(f"- {one[0].upper()}{one[1:]}" for one in words)))
    return nbformat.v4.new_notebook(cells=cells)


def _opening(source):
    """The title of a lesson, and the sentence in italics below it."""
    title = re.search(r"^# (.+)$", source, re.M)
    question = re.search(r"^\*(.+?)\*$", source, re.M | re.S)
    return title[1] if title else "A lesson", " ".join(question[1].split()) if question else ""


def _pictures_of(cell):
    """A cell for each picture that a cell shows."""
    shown = [output for output in cell.outputs if any(kind in output.get("data", {}) for kind in _PICTURES)]
    return [nbformat.v4.new_code_cell(cell.source, outputs=[output]) for output in shown]


def _without_details(source):
    """What is said aloud: no headings, and no folded answers."""
    return re.sub(r"^#+ [^\n]+$|<details>.*?</details>", "", source, flags=re.M | re.S).strip()


def _slide(source):
    return _markdown(source, "slide")


def _notes(source):
    return _markdown(source, "notes")


def _markdown(source, kind):
    return nbformat.v4.new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}})
