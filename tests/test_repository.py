"""The files around the package agree with each other."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from convnext_lessons.model.cost import count
from convnext_lessons.model.roadmap import architecture_after, paper_after

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def group_name(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower()


def version(words):
    return tuple(int(part) for part in re.match(r"[\d.]+", words)[0].rstrip(".").split("."))


def test_every_dependency_has_a_lower_bound_and_a_tested_version():
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]:
        name, bound = requirement.split(">=")
        assert name in tested, f"{name} has no tested version in constraints.txt"
        assert version(tested[name]) >= version(bound)


def test_the_lowest_versions_are_those_of_pyproject():
    lowest = dict(line.split("==") for line in (ROOT / "tests" / "lowest.txt").read_text().splitlines() if "==" in line)
    bounds = dict(requirement.split(">=") for requirement in PROJECT["dependencies"])
    assert {name: version(bound) for name, bound in bounds.items()} == {
        name: version(lowest[name])[: len(version(bounds[name]))] for name in bounds
    }


def test_conda_gets_the_same_environment():
    environment = (ROOT / "environment.yml").read_text()
    assert f"python{PROJECT['requires-python']}" in environment
    assert "--constraint constraints.txt" in environment and "--editable .[test]" in environment


def test_the_readme_names_commands_that_exist():
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^    make ([a-z-]+)", readme, re.M))
    assert {"lab", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), f"the README says `make {target}`, the Makefile does not"


def test_the_readme_tells_the_road_as_it_is():
    rows = re.findall(
        r"^\|[^|]*\| (\d+) \|[^|]*\| ([\d.]+) ± ([\d.]+) % \| ([\d.]+) G \|$", (ROOT / "README.md").read_text(), re.M
    )
    assert [int(number) for number, *_ in rows] == list(range(12))
    for number, *figures in rows:
        paper = paper_after(number)
        macs = count(architecture_after(number)).macs / 1e9
        assert figures == [f"{paper.accuracy:.2f}", f"{paper.spread:.2f}", f"{macs:.2f}"]


# From the ground up; the first of them, up to training, run on a bare GPU machine.
ROOMS = (
    "machine",
    "architecture",
    "roadmap",
    "network",
    "cost",
    "recipe",
    "shapes",
    "images",
    "shards",
    "files",
    "processes",
    "loading",
    "records",
    "checkpoints",
    "training",
    "budget",
    "transfer",
    "evidence",
    "reference",
    "gpu",
    "sprints",
    "hints",
    "classroom",
    "colab",
    "picture",
    "drawing",
    "comparison",
    "plots",
    "predictions",
    "exercises",
    "widgets",
    "lessons",
    "bench",
    "cli",
)
BARE = {"convnext_lessons", "torch", "torchvision", "numpy", "PIL"}


def imports_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def tree_of(room):
    return ast.parse((ROOT / "convnext_lessons" / f"{room}.py").read_text(encoding="utf-8"))


def test_every_room_has_its_place():
    assert {path.stem for path in (ROOT / "convnext_lessons").glob("[a-z]*.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_from_below(room):
    imported = [name.split(".")[1] for name in imports_of(tree_of(room)) if name.startswith("convnext_lessons.")]
    assert all(ROOMS.index(name) < ROOMS.index(room) for name in imported)


@pytest.mark.parametrize("room", ROOMS[: ROOMS.index("training") + 1])
def test_a_room_runs_on_a_bare_gpu_machine(room):
    tree = tree_of(room)
    for inner in ast.walk(tree):
        if isinstance(inner, ast.FunctionDef):
            inner.body = []  # what is imported inside a function is imported only when asked for
    used = {name.split(".")[0] for name in imports_of(tree)}
    assert used - set(sys.stdlib_module_names) <= BARE


def test_what_is_measured_on_a_gpu_needs_torch_alone():
    blocked = "import sys; sys.modules |= dict.fromkeys(('scipy', 'fvcore', 'matplotlib', 'IPython', 'ipywidgets'))"
    code = f"{blocked}; import convnext_lessons.gpu, convnext_lessons.sprints, convnext_lessons.cli"
    subprocess.run([sys.executable, "-c", code], check=True)
