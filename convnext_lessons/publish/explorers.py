"""Every explorer of the lessons, frozen for a page, and kept until something behind it changes.

Making them takes minutes, since each of some hundred pictures is drawn once; so they are made beside each other, one
lesson in each process, and kept in a folder under a hash of all that they come from.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import torch

from convnext_lessons.classroom import frozen, widgets
from convnext_lessons.classroom.freshness import hash_sources, modules_behind
from convnext_lessons.classroom.notebooks import read_notebook
from convnext_lessons.data.datasets import IMAGENETTE, downloads_folder
from convnext_lessons.publish import replay
from convnext_lessons.system.storage import ensure_folder, read_json, write_json

ELSEWHERE = (
    "This explorer moves in the notebook only: where this page was made, the lesson's cells did not give the same "
    "picture again."
)


@dataclass(frozen=True)
class OnPage:
    """What stands for an explorer on a page.

    Attributes:
        html: of the explorer; empty where the lesson's own picture has to do, beside ``ELSEWHERE``.
        states: how many combinations its controls have.
        seconds: that it took to make.
        why: it does not move; empty where it does.
    """

    html: str
    states: int
    seconds: float
    why: str = ""

    @property
    def report(self) -> str:
        """Its figures in a line."""
        made = f"{self.states:,} states, " if self.states else ""
        return f"{made}{len(self.html) / 1000:,.0f} kB, {self.seconds:.1f} s{f'; {self.why}' if self.why else ''}"


def freeze_lessons(lessons: Sequence[Path], kept: Path) -> dict[str, dict[int, OnPage]]:
    """The explorers of lessons: ``{name of the lesson: {index of the cell: explorer}}``.

    Args:
        kept: the folder of those made before. What is not of these lessons is removed from it.

    Raises:
        LessonError: a notebook cannot be read.
        StorageError: the folder cannot be written.
    """
    ensure_folder(kept)
    fork_free = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(os.cpu_count(), fork_free, torch.set_num_threads, (1,)) as pool:
        found = list(pool.map(_freeze_lesson, lessons, [kept] * len(lessons)))
    names = {name for _, of_lesson in found for name in of_lesson}
    for path in kept.glob("*.json"):
        if path.stem not in names:
            path.unlink(missing_ok=True)
    return {path.stem: explorers for path, (explorers, _) in zip(lessons, found, strict=True)}


def _freeze_lesson(path, kept):
    """The explorers of one lesson by their cells, and the names of the files that hold them."""
    notebook, explorers, names = read_notebook(path), {}, []
    there = (downloads_folder() / IMAGENETTE.folder).exists()
    images = IMAGENETTE.name if there else "stand-in"  # nothing is downloaded for a page
    note, stored = (notebook.metadata.convnext_lessons.get(key) for key in ("images", "stored"))
    for index, cell in enumerate(notebook.cells):
        if replay.shows_explorer(cell):
            cells = notebook.cells[: index + 1]
            names.append(_name(cells, stored, f"{images} {note}"))
            explorers[index] = _kept_or_made(kept / f"{names[-1]}.json", cells, images, note)
    return explorers, names


def _name(cells, stored, images):
    code = replay.code_behind(cell.source for cell in cells if cell.cell_type == "code")
    versions = f"{torch.__version__} {matplotlib.__version__} {frozen.STATES} {frozen.BYTES}"
    here = [Path(module.__file__) for module in (frozen, widgets, replay)]
    texts = [code, str(cells[-1].outputs), images, versions]
    return hash_sources(texts, stored, [*modules_behind(code), *here])


def _kept_or_made(path, cells, images, note):
    try:
        return OnPage(**read_json(path))
    except (OSError, ValueError, TypeError):
        made = _make(cells, images, note)
        write_json(path, asdict(made))
        return made


def _make(cells, images, note):
    start = time.perf_counter()
    try:
        explorer = replay.replay(cells, images, note)
    except replay.ReplayError as error:
        return OnPage("", 0, time.perf_counter() - start, str(error))
    html = explorer.frozen()
    why = "" if "<script" in html else "too large for a page"
    return OnPage(html, explorer.number_of_states, time.perf_counter() - start, why)
