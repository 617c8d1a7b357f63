"""What the explorers show while a slider moves is counted by ``count``; here its counts are held against fvcore's over
every choice that a lesson offers."""

import ast
import itertools

import nbformat
import pytest

from convnext_lessons.classroom.notebooks import list_lessons
from convnext_lessons.model import architecture_after, build, count, count_with_fvcore
from convnext_lessons.model.cost import MULTIPLY_ADDS
from convnext_lessons.system import CourseError

SMALL = 64  # pixels: the counts grow with the picture in the same way, and a trace takes less time
BESIDE = {  # explorers that draw in a manner of their own
    1: [architecture_after(1).change(depths=depths) for depths in ((1, 1, 15, 1), (15, 1, 1, 1), (1, 1, 1, 15))],
    2: [architecture_after(2).change(patch_size=size) for size in (2, 4, 7, 8)],
    3: [
        architecture_after(2).change(width=width, **kind)
        for width in (64, 72, 80, 88, 96)
        for kind in ({"groups": 1}, {"groups": 2}, {"groups": 4}, {"groups": 8}, {"depthwise": True})
    ],
    5: [
        architecture_after(4).change(depthwise_first=first, kernel_size=size)
        for first in (True, False)
        for size in range(3, 20, 2)
    ],
    6: [architecture_after(6).change(kernel_size=size) for size in (3, 5, 7, 9, 11)],
}


def offered():
    """Every design that a CostExplorer of a lesson can reach, read off its call."""
    for path in list_lessons()[:12]:  # the last one changes no architecture
        number = int(path.name[:2])
        names = {"before": architecture_after(max(0, number - 1)), "after": architecture_after(number)}
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and "CostExplorer(" in cell.source:
                yield from _designs(number, cell.source, names)
        yield from ((number, design) for design in BESIDE.get(number, ()))


def _designs(number, source, names):
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    (call,) = [call for call in calls if getattr(call.func, "id", "") == "CostExplorer"]
    base = eval(ast.unparse(call.args[0]), {**names, "architecture_after": architecture_after})
    choices = eval(ast.unparse(next(word.value for word in call.keywords if word.arg == "choices")), {"range": range})
    for values in itertools.product(*choices.values()):
        try:
            yield number, base.change(**dict(zip(choices, values, strict=True)))
        except CourseError:
            continue  # values that do not fit together have no picture either


@pytest.mark.parametrize(("number", "design"), list(dict.fromkeys(offered())))
def test_an_explorer_counts_as_fvcore_does(number, design):
    counted, operators = count(design, SMALL), count_with_fvcore(design, SMALL)
    assert counted.macs == sum(operators.get(name, 0) for name in MULTIPLY_ADDS)
    assert counted.params == sum(parameter.numel() for parameter in build(design).parameters())
