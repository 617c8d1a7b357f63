"""A lesson's explorer without its kernel: of the lesson's cells those that it needs are run again, and no others.

What comes of it is held against the picture that the executed lesson shows in its place. So a page never shows a moving
explorer that computes something else than its lesson did, because other pictures were at hand or a cell was left out.
"""

import ast
import base64
import builtins
import contextlib
import io
import re
import symtable
from collections.abc import Iterable, Sequence

import numpy as np
from nbformat import NotebookNode
from PIL import Image

from convnext_lessons.classroom.notebooks import environment
from convnext_lessons.classroom.widgets import Explorer
from convnext_lessons.system.errors import CourseError, in_a_line

CHANNEL_LEVELS, PIXELS = 32, 0.002  # where less than this share of pixels differs by more levels, pictures are alike


class ReplayError(CourseError):
    """An explorer that cannot be made again from its lesson's cells."""


def shows_explorer(cell: NotebookNode) -> bool:
    """Whether a cell ends in an explorer, and shows the picture that stands for it."""
    return cell.cell_type == "code" and _ends_in_explorer(cell.source) and _picture_of(cell) is not None


def replay(cells: Sequence[NotebookNode], images: str, note: str) -> Explorer:
    """The explorer that the last of some cells of an executed lesson shows, made again.

    Args:
        cells: the lesson's up to the one with the explorer.
        images: what ``CONVNEXT_LESSONS_IMAGES`` says while they run.
        note: on which images the lesson was executed.

    Raises:
        ReplayError: a cell failed, it needs the lesson's images and has others, or the explorer's picture is another
            than the one that the lesson shows.
    """
    code = code_behind(cell.source for cell in cells if cell.cell_type == "code")
    names = {"__name__": "lesson", "display": lambda *things: None, "get_ipython": lambda: None}
    settings = {"STATIC": "1", "FAST": "0", "IMAGES": images}
    with environment(**{f"CONVNEXT_LESSONS_{name}": value for name, value in settings.items()}):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, "lesson", "exec"), names)
            explorer = names[_RESULT]
            if "images" in names and names["images"].note != note:
                raise ReplayError(f"It shows what a network makes of {note}; here it had {names['images'].note}.")
            _compare(explorer.static(), _picture_of(cells[-1]))
        except ReplayError:
            raise
        except Exception as error:  # a cell may fail in any way, such as by an assertion about other pictures
            raise ReplayError(f"Its cells, run again, fail ({type(error).__name__}: {in_a_line(error)}).") from error
    return explorer


_RESULT = "_explorer"


def code_behind(sources: Iterable[str]) -> str:
    """What the last of some cells needs, in order: the imports of used names, and every other cell that a used name
    comes from. What the last cell ends in gets a name."""
    *before, last = (ast.parse(_plain(source)) for source in sources)
    last.body[-1] = ast.Assign([ast.Name(_RESULT, ast.Store())], last.body[-1].value, lineno=0)
    units = [unit for tree in before for unit in _units(tree)]
    codes = [ast.unparse(ast.fix_missing_locations(unit)) for unit in (*units, last)]
    names, called = [_names(code) for code in codes], set()
    while True:
        # From the last to the first, each used name from where it was bound last before. What a function uses may be
        # bound behind the function too, and is therefore looked for from the end on.
        chosen, wanted, inside = [], {_RESULT} | called, set()
        for code, (bound, used, used_inside) in reversed(list(zip(codes, names, strict=True))):
            if bound & wanted:
                chosen.append(code)
                wanted = (wanted - bound) | (used - bound)
                inside |= used_inside
        if inside <= called:
            return "\n".join(reversed(chosen))
        called |= inside


_FOR_IPYTHON = re.compile(r"\s*(\w+ = )?[!%]")  # such as !pip install, or names = !ls


def _plain(source):
    """A cell without the lines that only IPython reads."""
    return "\n".join(line for line in source.splitlines() if not _FOR_IPYTHON.match(line))


def _units(tree):
    """Each imported name by itself, then the rest of a cell as a whole: who needs a name needs no other import."""
    rest = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (ast.Module([ast.Import([name])], []) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (ast.Module([ast.ImportFrom(node.module, [name], 0)], []) for name in node.names)
        else:
            rest.append(node)
    yield ast.Module(rest, [])


def _names(code):
    """The names that a unit binds, those of others that it uses, and those that its functions use."""
    whole = symtable.symtable(code, "lesson", "exec")
    bound = {name.get_name() for name in whole.get_symbols() if name.is_assigned() or name.is_imported()}
    used = {name.get_name() for name in whole.get_symbols() if name.is_referenced()}
    inside, tables = set(), whole.get_children()
    for table in tables:
        inside |= {name.get_name() for name in table.get_symbols() if name.is_global()}
        tables += table.get_children()
    builtin = set(dir(builtins))
    return bound, used - builtin, inside - builtin


def _ends_in_explorer(source):
    with contextlib.suppress(SyntaxError):
        body = ast.parse(_plain(source)).body
        call = getattr(body[-1], "value", None) if body else None
        return isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("Explorer", "CostExplorer")
    return False


def _picture_of(cell):
    """The last picture that a cell shows, with its sentence."""
    shown = [output.data for output in cell.outputs if "image/png" in output.get("data", {})]
    return shown[-1] if shown else None


def _compare(here, shown):
    if here.alt != shown["text/plain"]:
        raise ReplayError("Its picture says something else than the lesson's.")
    one, other = (_pixels(png) for png in (here.png(), base64.b64decode(shown["image/png"])))
    if one.shape != other.shape or (abs(one - other).max(axis=2) > CHANNEL_LEVELS).mean() > PIXELS:
        raise ReplayError("Its picture looks different from the lesson's.")


def _pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
