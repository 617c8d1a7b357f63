"""The folded solutions of lessons 08 to 10 pass the checks of their own cells, and typical mistakes are told what they
are."""

import copy
import re
from html import unescape

import nbformat
import pytest
import torch
from torch import nn

from convnext_lessons.classroom import check, check_value
from convnext_lessons.classroom.notebooks import list_lessons
from convnext_lessons.model import architecture_after, build

BLOCK, PATH, FOLD = (8, "FirstBlock"), (10, "ResidualPath"), (9, "folded_forward")


def cells(number):
    return nbformat.read(list_lessons()[number], as_version=4).cells


def solution(number, name):
    """The source of a class or function as a lesson's folded solution has it."""
    words = "\n".join(cell.source for cell in cells(number) if cell.cell_type == "markdown")
    found = re.search(rf"<pre>((?:class|def) {name}\b.*?)</pre>", words, re.DOTALL)
    return unescape(found[1])


def code_with(number, words):
    """The one code cell of a lesson that holds these words."""
    (source,) = [cell.source for cell in cells(number) if cell.cell_type == "code" and words in cell.source]
    return source


def run(source, **names):
    names = {"torch": torch, "nn": nn, "copy": copy, "build": build, **names}
    exec(source, names)
    return names


def answer(exercise, old="", new=""):
    """What the check says of a solution, with some of it replaced."""
    number, name = exercise
    source = solution(number, name)
    assert old in source
    written = run(source.replace(old, new) if old else source)[name]
    if exercise == FOLD:
        return check_value(written, run(code_with(number, "def find_fault"))["find_fault"])
    after = build(architecture_after(number))
    if exercise == BLOCK:
        return check(written(), after.stages[1][0], shape=[2, 96, 14, 14])
    return check(written(), after.stages[3][0].residual, shape=[2, 384, 14, 14])


@pytest.mark.parametrize("exercise", [BLOCK, PATH, FOLD], ids=lambda exercise: exercise[1])
def test_the_solution_is_right(exercise):
    assert "\n\n" not in solution(*exercise), "a blank line ends the folded part"
    assert answer(exercise).startswith("Well done")


@pytest.mark.parametrize(
    ("exercise", "old", "new", "words"),
    [
        (BLOCK, "self.shortcut(x) + ", "", "look at their order and at forward"),
        (BLOCK, "192, 1, stride=2", "192, 1", "layer 8 (Conv2d): stride is 1, expected 2"),
        (BLOCK, "nn.BatchNorm2d(96),", "nn.BatchNorm2d(96), nn.GELU(),", "layer 3 is GELU, expected Conv2d"),
        (BLOCK, "stride=2, bias=False), nn.BatchNorm2d(192))", "stride=2, bias=False))", "8 layers, expected 9"),
        (PATH, ", eps=1e-6", "", "layer 2 (LayerNorm): eps is 1e-05, expected 1e-06"),
        (PATH, "3072", "1536", "layer 3 (Linear): it goes from 384 to 1536, expected 384 to 3072"),
        (PATH, "nn.GELU", "nn.ReLU", "layer 4 is ReLU, expected GELU"),
        (PATH, "groups=384)", "groups=384, bias=False)", "layer 1 (Conv2d) has no bias, expected one"),
        (PATH, ".permute(0, 3, 1, 2)", "", "its output is [2, 7, 7, 768], and should be [2, 768, 7, 7]"),
        (FOLD, "factor[:, None, None]", "factor[:, None, None, None]", "it cannot be used"),
        (FOLD, "conv.bias + ", "", "outputs differ by up to"),
    ],
)
def test_a_mistake_is_told_what_it_is(exercise, old, new, words):
    assert words in answer(exercise, old, new)


def verdict_on_the_bug(number, capsys, mend):
    """What lesson 08's or 09's bug cell prints once its friend's path was changed."""
    run(mend(code_with(number, "def friends_path")), after=architecture_after(number), check=check)
    return capsys.readouterr().out


def test_lesson_08_accepts_only_the_gelu_between_the_1x1(capsys):
    def mend(source):
        lines = source.splitlines()
        moved = lines.pop(next(place for place, line in enumerate(lines) if line.strip() == "nn.GELU(),"))
        lines.insert(next(place for place, line in enumerate(lines) if "BatchNorm2d(4 * c)" in line) + 1, moved)
        return "\n".join(lines)

    assert "Not step 8's block yet." in verdict_on_the_bug(8, capsys, lambda source: source)
    assert "This is step 8's block." in verdict_on_the_bug(8, capsys, mend)


def test_lesson_09_accepts_biases_and_no_gelu_at_the_front(capsys):
    def with_biases(source):
        return source.replace("4 * c_out, 1, bias=False", "4 * c_out, 1").replace("c_out, 1, bias=False", "c_out, 1")

    def with_the_gelu_in_front(source):
        source = with_biases(source).replace("        nn.GELU(),\n", "")
        return source.replace("nn.Sequential(\n", "nn.Sequential(\n        nn.GELU(),\n")

    assert "Not step 9's block yet." in verdict_on_the_bug(9, capsys, lambda source: source)
    assert "This is step 9's block." in verdict_on_the_bug(9, capsys, with_biases)
    assert "Not step 9's block yet." in verdict_on_the_bug(9, capsys, with_the_gelu_in_front)
