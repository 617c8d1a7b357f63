"""How long is a piece of code? Lines of code alone, so that two blocks can be compared."""

import ast
import inspect
from textwrap import dedent
from typing import Any


def count_lines(*parts: Any) -> int:
    """The lines of functions and classes as they are written, without blank lines, comments and docstrings.

    A class counts as its first line and its methods; so classes that stand in a notebook, whose text Python finds only
    by their methods, are counted like those in a file.
    """
    return sum(_lines_of_class(part) if inspect.isclass(part) else _lines(part) for part in parts)


def _lines_of_class(part):
    return 1 + sum(_lines(member) for member in vars(part).values() if inspect.isfunction(member))


def _lines(function):
    source = dedent(inspect.getsource(function))
    texts = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr) and _is_text(node.value)]
    said = {number for text in texts for number in range(text.lineno, text.end_lineno + 1)}
    code = (line.strip() for number, line in enumerate(source.splitlines(), start=1) if number not in said)
    return sum(bool(line) and not line.startswith("#") for line in code)


def _is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
