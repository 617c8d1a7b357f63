import ast
import copy

import pytest

from convnext_lessons.classroom.notebooks import find_lesson, list_lessons, read_notebook
from convnext_lessons.publish.replay import ReplayError, code_behind, replay, shows_explorer

TRAINING = {"train", "repeat", "score", "draw_costs"}  # these take long, or measure this machine


def explorers_of(path):
    cells = read_notebook(path).cells
    return [cells[: index + 1] for index, cell in enumerate(cells) if shows_explorer(cell)]


def test_only_what_is_needed_is_run_again():
    cells = [
        "import torch\nfrom torch import nn, optim\nfrom made.up import train",
        "!pip install something\nunused = train()\nfor inner in unused:\n    print(inner)",
        "kept = {}\nfor step in range(3):\n    kept[step] = nn.Linear(step, 2)",
        "def width(step):\n    return kept[step].out_features * factor",
        "factor = 1",
        "factor = 2\nprint(factor, [inner for inner in range(2)])",
        "Explorer({'step': range(3)}, width)",
    ]
    code = code_behind(cells)
    assert code.splitlines() == [
        "from torch import nn",
        "kept = {}",
        "for step in range(3):",
        "    kept[step] = nn.Linear(step, 2)",
        "def width(step):",
        "    return kept[step].out_features * factor",
        "factor = 2",
        "print(factor, [inner for inner in range(2)])",
        "_explorer = Explorer({'step': range(3)}, width)",
    ]


@pytest.mark.parametrize("path", list_lessons(), ids=lambda path: path.stem)
def test_every_explorer_of_a_lesson_is_found_and_needs_no_training(path):
    cells = read_notebook(path).cells
    written = sum("Explorer(" in cell.source for cell in cells if cell.cell_type == "code")
    found = explorers_of(path)
    assert len(found) == written > 0
    for upto in found:
        tree = ast.parse(code_behind(cell.source for cell in upto if cell.cell_type == "code"))
        called = {getattr(node.func, "id", "") for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not called & TRAINING


@pytest.fixture(scope="module")
def readers():
    """The cells up to the explorer of lesson 11, which is quick."""
    (cells,) = explorers_of(find_lesson(11))
    return cells


def test_a_committed_lessons_explorer_comes_back_as_it_was(readers):
    explorer = replay(readers, images="stand-in", note="Imagenette")
    assert {name: len(control.options) for name, control in explorer.controls.items()} == {"kernel": 5, "stride": 2}


def altered(cells):
    cells = copy.deepcopy(cells)
    return cells, cells[-1].outputs[-1].data


def test_another_sentence_than_the_lessons_is_refused(readers, refuses):
    cells, shown = altered(readers)
    shown["text/plain"] += " Or not."
    with refuses(ReplayError, "says something else"):
        replay(cells, images="stand-in", note="Imagenette")


def test_another_picture_than_the_lessons_is_refused(readers, refuses):
    cells, shown = altered(readers)
    (other,) = (
        output.data["image/png"]
        for cell in read_notebook(find_lesson(11)).cells
        for output in cell.get("outputs", ())
        if output.get("data", {}).get("text/plain", "").startswith("The road, summed up")
    )
    shown["image/png"] = other
    with refuses(ReplayError, "looks different"):
        replay(cells, images="stand-in", note="Imagenette")


def test_cells_that_fail_are_refused(readers, refuses):
    cells = copy.deepcopy(readers)
    cells[-1].source = "raise ValueError('no')\n" + cells[-1].source
    with refuses(ReplayError, "ValueError: no"):
        replay(cells, images="stand-in", note="Imagenette")


def test_other_images_than_the_lessons_are_refused(readers, refuses):
    cells = copy.deepcopy(readers)
    cells[
        -1
    ].source = f"from types import SimpleNamespace\nimages = SimpleNamespace(note='stand-in')\n{cells[-1].source}"
    with refuses(ReplayError, "Imagenette", "here it had stand-in"):
        replay(cells, images="stand-in", note="Imagenette")
