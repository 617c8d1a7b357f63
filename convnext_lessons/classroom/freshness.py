"""Whether committed results are fresh: a hash over everything that made them, and over nothing else.

That is the text they come from, the syntax trees of the modules behind the figures (so that comments and docstrings
are free), and the stored files that were read.
"""

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from convnext_lessons.system.settings import PACKAGE, reference_folder

# What is behind every lesson's outputs, beside its own cells and the figures that these name.
MODULES = (
    "model/architecture.py",
    "model/cost.py",
    "model/layers.py",
    "model/network.py",
    "model/roadmap.py",
    "model/timing.py",
    "runs/significance.py",
    "runs/times.py",
    "figures/canvas.py",
    "figures/costs.py",
    "figures/diagrams.py",
    "figures/palette.py",
    "figures/plots.py",
    "figures/tables.py",
)


def hash_sources(texts: Iterable[str], stored: Iterable[str], modules: Iterable[Path] | None = None) -> str:
    """A short hash of texts, of stored files and of the modules behind the outputs.

    Args:
        stored: names of files in ``data/reference``.
        modules: those of ``modules_behind`` the texts unless given.
    """
    content, texts = hashlib.sha256(), list(texts)
    for text in texts:
        content.update(f"{text}\n".encode())
    for path in modules_behind("\n".join(texts)) if modules is None else modules:
        content.update(f"{path.parent.name}/{path.name} {_strip(_parse(path))}\n".encode())
    for name in sorted(stored):
        content.update(f"{name}\n".encode())
        content.update((reference_folder() / name).read_bytes())
    return content.hexdigest()[:16]


def modules_behind(text: str) -> list[Path]:
    """``MODULES``, and those of ``figures`` that define something which a text names."""
    words = set(re.findall(r"\w+", text))
    always = [PACKAGE / name for name in MODULES]
    others = sorted(set((PACKAGE / "figures").glob("[a-z]*.py")) - set(always))
    return always + [path for path in others if words & {getattr(node, "name", None) for node in _parse(path).body}]


def _parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def _strip(node):
    """A syntax tree as nested tuples without docstrings, positions and empty fields, which differ between versions of
    Python."""
    if isinstance(node, list):
        return [_strip(item) for item in node]
    if not isinstance(node, ast.AST):
        return node
    fields = dict(ast.iter_fields(node))
    if (
        isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node) is not None
    ):
        fields["body"] = fields["body"][1:]
    stripped = ((name, _strip(value)) for name, value in fields.items() if value not in (None, []))
    return (type(node).__name__, *stripped)
