"""The files around the package agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest

from convnext_lessons.cost import sketch
from convnext_lessons.roadmap import architecture_after, paper_after

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement):
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
        macs = sketch(architecture_after(number)).macs / 1e9
        assert figures == [f"{paper.accuracy:.2f}", f"{paper.spread:.2f}", f"{macs:.2f}"]


@pytest.mark.parametrize("room", sorted(path.stem for path in (ROOT / "convnext_lessons").glob("[a-z]*.py")))
def test_rooms_import_only_from_below(room):
    order = [
        "machine",
        "architecture",
        "roadmap",
        "network",
        "cost",
        "recipe",
        "shapes",
        "images",
        "records",
        "training",
        "reference",
        "classroom",
        "picture",
        "drawing",
        "comparison",
        "plots",
        "widgets",
        "lessons",
        "cli",
    ]
    source = (ROOT / "convnext_lessons" / f"{room}.py").read_text()
    imported = re.findall(r"from convnext_lessons\.(\w+) import", source)
    assert all(order.index(name) < order.index(room) for name in imported)
    if room in order[: order.index("training") + 1]:
        assert not re.search(r"^(import|from) (matplotlib|ipywidgets|IPython|jupyter|nbformat)", source, re.M)
