import subprocess
import sys

import pytest

from convnext_lessons.classroom import freshness
from convnext_lessons.classroom.freshness import MODULES, hash_sources
from convnext_lessons.system.settings import PACKAGE

NETWORK = '''\
"""What a network is."""

KERNEL = 7  # odd


class Block:
    """One block."""

    def __init__(self, width=None):
        """With a width."""
        self.width = width

    def size(self, *, times=2):
        # Twice as wide.
        return times * self.width if self.width else []
'''

ROAD = "STEPS = (1, 2, 3)\n"


@pytest.fixture
def modules(tmp_path):
    """Two small modules."""
    paths = [tmp_path / "model" / "network.py", tmp_path / "model" / "roadmap.py"]
    paths[0].parent.mkdir()
    for path, content in zip(paths, (NETWORK, ROAD), strict=True):
        path.write_text(content)
    return paths


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A folder of stored files, which takes the place of data/reference."""
    folder = tmp_path / "reference"
    folder.mkdir()
    for name in ("pocket.jsonl", "times.json"):
        (folder / name).write_text("{}\n")
    monkeypatch.setattr(freshness, "reference_folder", lambda: folder)
    return folder


def hashed(modules, texts=("a cell",), stored=()):
    return hash_sources(texts, stored, modules)


def test_a_hash_is_short_and_the_same_for_the_same(modules):
    assert hashed(modules) == hashed(modules)
    assert len(hashed(modules)) == 16
    int(hashed(modules), 16)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  # odd", ""),
        ("# odd", "# so that there is a centre"),
        ("# Twice as wide.", "# What it says."),
        ('"""What a network is."""\n', ""),
        ('"""What a network is."""', '"""What a network is.\n\nIn more words.\n"""'),
        ('"""One block."""', '"""Any block."""'),
        ('        """With a width."""\n', ""),
        ("\n\n\n", "\n"),
        ("KERNEL = 7", "KERNEL  =  7"),
        ("KERNEL = 7", "KERNEL = (7)"),
        ("(self, width=None)", "(\n        self,\n        width=None,\n    )"),
    ],
)
def test_what_is_said_beside_the_code_changes_nothing(before, after, modules):
    first = hashed(modules)
    assert before in NETWORK
    modules[0].write_text(NETWORK.replace(before, after))
    assert hashed(modules) == first


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("KERNEL = 7", "KERNEL = 9"),
        ("KERNEL = 7", "KERNEL = 7.0"),
        ("KERNEL = 7", "KERNEL = '7'"),
        ("KERNEL", "WIDTH"),
        ("width=None", "width=0"),
        ("times=2", "times=3"),
        ("*, times", "times"),
        ("else []", "else ()"),
        ("times * self.width", "self.width * times"),
        ("class Block", "class Layer"),
        ("self.width = width", "pass"),
    ],
)
def test_another_constant_name_or_operation_changes_the_hash(before, after, modules):
    first = hashed(modules)
    assert before in NETWORK
    modules[0].write_text(NETWORK.replace(before, after))
    assert hashed(modules) != first


def test_every_module_counts(modules):
    first = hashed(modules)
    modules[1].write_text(ROAD.replace("3", "4"))
    assert hashed(modules) != first
    modules[1].write_text(ROAD)
    assert hashed(modules) == first
    assert hashed(modules[:1]) != first


def test_texts_count_each_by_itself(modules):
    first = hashed(modules, texts=("a", "b"))
    assert hashed(modules, texts=iter(("a", "b"))) == first
    for other in (("a",), ("ab",), ("b", "a"), ("a", "b", "")):
        assert hashed(modules, texts=other) != first


def test_a_stored_file_counts_where_it_is_named(modules, stored):
    first = hashed(modules, stored=["pocket.jsonl"])
    (stored / "pocket.jsonl").write_text("{}\n{}\n")
    assert hashed(modules, stored=["pocket.jsonl"]) != first


def test_a_stored_file_that_is_not_named_does_not_count(modules, stored):
    first = hashed(modules, stored=["pocket.jsonl"])
    (stored / "times.json").write_text("{}\n{}\n")
    assert hashed(modules, stored=["pocket.jsonl"]) == first
    (stored / "times.json").unlink()
    assert hashed(modules, stored=["pocket.jsonl"]) == first


def test_which_stored_files_are_named_counts_and_their_order_does_not(modules, stored):
    both = hashed(modules, stored=["pocket.jsonl", "times.json"])
    assert hashed(modules, stored=["times.json", "pocket.jsonl"]) == both
    assert len({both, hashed(modules, stored=["pocket.jsonl"]), hashed(modules, stored=["times.json"])}) == 3


def test_the_courses_own_modules_are_taken_unless_others_are_given():
    paths = [path for pattern in MODULES for path in sorted(PACKAGE.glob(pattern))]
    assert hash_sources(["a"], []) == hashed(paths, texts=["a"]) != hashed(paths[1:], texts=["a"])


@pytest.mark.parametrize("pattern", MODULES)
def test_every_pattern_finds_modules(pattern):
    assert list(PACKAGE.glob(pattern))


def test_a_hash_is_the_same_in_another_process(modules):
    code = "import sys; from pathlib import Path; from convnext_lessons.classroom.freshness import hash_sources; "
    code += "print(hash_sources(['a cell'], [], map(Path, sys.argv[1:])))"
    done = subprocess.run([sys.executable, "-c", code, *map(str, modules)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == hashed(modules)
