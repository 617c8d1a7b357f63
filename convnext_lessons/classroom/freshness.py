"""Whether committed results are fresh: a hash over everything that made them, and over nothing else.

That is the text they come from, the syntax trees of the modules behind the figures (so that comments and docstrings
are free), and the stored files that were read.
"""

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

from convnext_lessons.system.settings import PACKAGE, reference_folder

# What makes a lesson's outputs, beside its own cells.
MODULES = (
    "model/architecture.py",
    "model/cost.py",
    "model/layers.py",
    "model/network.py",
    "model/roadmap.py",
    "runs/significance.py",
    "figures/*.py",
)


def hash_sources(texts: Iterable[str], stored: Iterable[str], modules: Iterable[Path] | None = None) -> str:
    """A short hash of texts, of stored files and of the modules behind the outputs.

    Args:
        stored: names of files in ``data/reference``.
        modules: ``MODULES`` unless given.
    """
    content = hashlib.sha256()
    for text in texts:
        content.update(f"{text}\n".encode())
    if modules is None:
        modules = (path for pattern in MODULES for path in sorted(PACKAGE.glob(pattern)))
    for path in modules:
        content.update(f"{path.name} {_strip(ast.parse(path.read_text(encoding='utf-8')))}\n".encode())
    for name in sorted(stored):
        content.update(f"{name}\n".encode())
        content.update((reference_folder() / name).read_bytes())
    return content.hexdigest()[:16]


def _strip(node):
    """A syntax tree as nested tuples without docstrings, positions and empty fields, which differ between versions of
    Python."""
    if isinstance(node, list):
        return [_strip(item) for item in node]
    if not isinstance(node, ast.AST):
        return node
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
        fields["body"] = fields["body"][1:]
    stripped = ((name, _strip(value)) for name, value in fields.items() if value not in (None, []))
    return (type(node).__name__, *stripped)
