"""The files around the package agree with each other."""

import ast
import graphlib
import importlib
import inspect
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import convnext_lessons
from convnext_lessons.model import STEPS, architecture_after, count, paper_after

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def package_name(requirement):
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


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {convnext_lessons.__version__}\n" in citation and f"license: {PROJECT['license']}\n" in citation


def test_the_readme_names_commands_that_exist():
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"(?:^    |`)make ([a-z-]+)", readme, re.M))
    assert {"lab", "test", "slides", "site"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), f"the README says `make {target}`, the Makefile does not"


def test_the_readme_tells_the_road_as_it_is():
    rows = re.findall(
        r"^\|[^|]*\| (\d+) \|[^|]*\| ([\d.]+) ± ([\d.]+) % \| ([\d.]+) G \|$", (ROOT / "README.md").read_text(), re.M
    )
    assert [int(number) for number, *_ in rows] == [0, *(step.number for step in STEPS if step.paper)]
    for number, *figures in rows:
        paper = paper_after(number)
        macs = count(architecture_after(number)).macs / 1e9
        assert figures == [f"{paper.accuracy:.2f}", f"{paper.spread:.2f}", f"{macs:.2f}"]


# From the ground up: a folder imports only from those before it.
FOLDERS = ("system", "model", "data", "runs", "training", "figures", "classroom", "experiments", "publish")
BARE = FOLDERS[: FOLDERS.index("training") + 1]  # these run on a bare GPU machine
BARE_NEEDS = {"convnext_lessons", "torch", "torchvision", "numpy", "PIL", "filelock"}  # torch brings filelock

PACKAGE = Path(convnext_lessons.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def folder_of(path):
    inside = path.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else None


def imports_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def without_types(tree):
    """A module without what is imported for a type checker alone."""
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return tree


def tree_of(path):
    return without_types(ast.parse(path.read_text(encoding="utf-8")))


def test_the_package_is_nine_folders_what_others_made_and_the_command_line():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*FOLDERS, "vendor"}
    modules = {"__init__", "__main__", "cli", "commands", "doctor", "install"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == modules


@pytest.mark.parametrize("path", [path for path in MODULES if folder_of(path)], ids=lambda path: f"{path.stem}")
def test_folders_import_only_from_those_below(path):
    here = FOLDERS.index(folder_of(path))
    imported = [name.split(".")[1] for name in imports_of(tree_of(path)) if name.startswith("convnext_lessons.")]
    assert all(name in FOLDERS and FOLDERS.index(name) <= here for name in imported)


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_of_a_folder_import_each_other_in_one_direction(folder):
    graph = {}
    for path in (PACKAGE / folder).glob("*.py"):
        if path.stem != "__init__":
            names = [name for name in imports_of(tree_of(path)) if name.startswith(f"convnext_lessons.{folder}.")]
            graph[path.stem] = {name.split(".")[2] for name in names}
    graphlib.TopologicalSorter(graph).prepare()  # raises where there is a cycle


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_face_says_what_a_folder_is_and_hands_out_annotated_names(folder):
    face = importlib.import_module(f"convnext_lessons.{folder}")
    assert len(face.__doc__.split()) > 20
    for name in getattr(face, "__all__", ()):
        thing = getattr(face, name)
        if inspect.isfunction(thing):
            hints = thing.__annotations__
            given = [one for one in inspect.signature(thing).parameters.values() if one.kind != one.VAR_KEYWORD]
            assert "return" in hints and all(one.name in hints for one in given), f"{folder}.{name}"
        elif inspect.isclass(thing):
            assert thing.__doc__, f"{folder}.{name}"


@pytest.mark.parametrize("path", [path for path in MODULES if folder_of(path) in BARE], ids=lambda path: path.stem)
def test_a_folder_runs_on_a_bare_gpu_machine(path):
    tree = tree_of(path)
    for inner in ast.walk(tree):
        if isinstance(inner, ast.FunctionDef):
            inner.body = []  # what is imported inside a function is imported only when asked for
    used = {name.split(".")[0] for name in imports_of(tree)}
    assert used - set(sys.stdlib_module_names) <= BARE_NEEDS


def test_the_package_is_drawn_as_it_is():
    tree = re.findall(r"^ +([a-z]+)/ ", (ROOT / "CONTRIBUTING.md").read_text().split("convnext_lessons/\n")[1], re.M)
    assert tuple(tree[: len(FOLDERS)]) == FOLDERS


PAGES = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data" / "README.md")


def test_pages_of_prose_have_whole_lines():
    for page in PAGES:
        words = page.read_text()
        assert words.endswith("\n") and not words.endswith("\n\n"), page
        assert not re.search(r"[^#\n]## ", words), f"{page}: a heading inside a line"
        for before, after in itertools.pairwise(words.splitlines()):
            assert not (after.startswith("#") and before), f"{page}: no empty line before {after}"


def test_pages_of_prose_are_wrapped():
    for page in PAGES:
        long = [
            line
            for line in page.read_text().splitlines()
            if len(line) > 120 and line[:1] not in "|<" and "](" not in line
        ]
        assert not long, f"{page.name}: {long[0][:60]} …"


def test_what_is_measured_on_a_gpu_needs_torch_alone():
    blocked = "import sys; sys.modules |= dict.fromkeys(('scipy', 'fvcore', 'matplotlib', 'IPython', 'ipywidgets'))"
    code = f"{blocked}; import convnext_lessons.training, convnext_lessons.experiments.gpu, convnext_lessons.cli"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_lessons_as_files_need_no_torch():
    code = "import sys, convnext_lessons.classroom.notebooks; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
