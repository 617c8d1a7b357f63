"""A committed lesson as a page of the website: its cells and results as they are, but for what only a kernel needs.

The set-up cell goes, pictures become files with their sentence as description, drawings get their details in words,
explorers move, predictions can be clicked. The notebook itself is read and never written.
"""

import base64
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

from convnext_lessons.classroom.colab import colab_address, is_set_up, without_stamp
from convnext_lessons.classroom.total import NOTHING
from convnext_lessons.publish.explorers import ELSEWHERE, OnPage
from convnext_lessons.publish.quiz import ask, grade, step_asked, step_graded

PICTURES = "pictures"  # the folder of the website that holds them


def page_of(
    notebook: NotebookNode, name: str, explorers: Mapping[int, OnPage], root: Path, url: str | None = None
) -> NotebookNode:
    """A lesson for Sphinx; its pictures are written into ``root/PICTURES``.

    Args:
        name: of the lesson's file, without its end.
        explorers: what stands for the explorer of a cell, by the cell's index.
        root: the folder of files that are copied to the website as they are.
        url: of the course's repository, for the link to Colab.

    Raises:
        QuizError: see ``quiz.grade``.
    """
    cells = []
    for index, cell in enumerate(notebook.cells):
        if is_set_up(cell.source):
            continue
        page = nbformat.from_dict({**cell, "source": without_stamp(cell.source)})
        if not index:
            title, _, rest = page.source.partition("\n")
            page.source = f"{title}\n\n{_actions(name, url)}\n{rest}"
        if cell.cell_type == "code":
            stem = f"{PICTURES}/{name[:2]}-{index}"
            page.outputs = _outputs(page, stem, explorers.get(index), root)
        cells.append(page)
    metadata = {"language_info": notebook.metadata.language_info, "kernelspec": notebook.metadata.kernelspec}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def minutes_of(notebook: NotebookNode) -> str:
    """The minutes that a lesson takes, in its own words; empty where it says nothing."""
    found = re.search(r"\*\*Time:\*\* about (\d+) minutes", notebook.cells[0].source)
    return found[1] if found else ""


def title_of(notebook: NotebookNode) -> str:
    """The title of a lesson."""
    return without_stamp(notebook.cells[0].source).partition("\n")[0].removeprefix("# ")


def _actions(name, url):
    colab = colab_address(url, f"{name}.ipynb")
    links = [f'<a href="{colab}">Open in Colab</a>'] if colab else []
    links.append(f'<a href="{name}.ipynb" download>Download the notebook</a>')
    return f'<p class="lesson-actions">{"".join(links)}</p>\n'


def _outputs(cell, stem, explorer, root):
    outputs = []
    for number, output in enumerate(cell.outputs):
        data = output.get("data", {})
        if data.get("text/plain") == NOTHING:
            outputs.append(_html(f'<pre class="tally">{escape(NOTHING)}</pre>', NOTHING))
            continue
        if "<th>it is</th>" in data.get("text/html", "") and (step := step_graded(cell.source)):
            output = _html(grade(step, data["text/html"]), data["text/plain"])
        elif step := step_asked(cell.source):
            output = _html(ask(step), data["text/plain"])
        elif "image/svg+xml" in data:
            drawing = data["image/svg+xml"]  # in the page, where its details can be read
            output = _html(drawing + _in_words(drawing), data["text/plain"])
        elif "image/png" in data and "text/html" not in data:
            output = _html(_picture(data, f"{stem}-{number}.png", root), data["text/plain"])
        outputs.append(output)
    if explorer:
        last = max(number for number, output in enumerate(cell.outputs) if "image/png" in output.get("data", {}))
        shown = explorer.html or f'{outputs[last].data["text/html"]}<p class="explorer-why"><em>{ELSEWHERE}</em></p>'
        outputs[last] = _html(shown, outputs[last].data["text/plain"])
    return outputs


def _in_words(drawing):
    """What a drawing tells under the pointer, as a folded list for everybody without one."""
    told = re.findall(r'<text class="tip"[^>]*>([^<]*)</text>', drawing)
    parts = "".join(f"<li>{words}</li>" for words in told)
    return (
        f'<details class="parts"><summary>its {len(told)} parts in words</summary><ol>{parts}</ol></details>'
        if told
        else ""
    )


def _picture(data, path, root):
    """A PNG as a file, and the HTML that shows it with its sentence and keeps its place while it loads."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(data["image/png"]))
    with Image.open(file) as picture:
        width, height = picture.size
    alt = escape(data["text/plain"])
    return f'<img alt="{alt}" src="../{path}" width="{width}" height="{height}" loading="lazy">'


def _html(html, words):
    return nbformat.v4.new_output("display_data", {"text/html": html, "text/plain": words})
