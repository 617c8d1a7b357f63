"""The one table of the course: as HTML in a notebook, as Markdown on a page, as text everywhere else."""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

from convnext_lessons.figures.palette import CHANGED_WORDS
from convnext_lessons.model.roadmap import PAPER_STEPS, TITLES, paper_after
from convnext_lessons.runs.significance import compare_steps, describe_family, pooled_spread, resolvable_difference
from convnext_lessons.system.errors import CourseError

_CODE = "text-align:left;vertical-align:top;padding:2px 10px;white-space:pre;font-family:monospace"


class TableError(CourseError, ValueError):
    """Rows that make no table."""


@dataclass(frozen=True)
class Table:
    """Rows of words under a head; shows itself where it ends a cell.

    Attributes:
        head: a word for each column.
        rows: the cells.
        note: what stands below.
        marked: indices of rows to be noticed: bold, and with a star in text.
        code: whether the cells are code, which keeps its spaces; marked rows are then coloured too.

    Raises:
        TableError: a row has more or fewer cells than the head, or other things than words.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    marked: Collection[int] = ()
    code: bool = False

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.head) or not all(isinstance(cell, str) for cell in row):
                raise TableError(f"The row {row!r} does not fit the table; give {len(self.head)} texts, one a column.")

    def markdown(self) -> str:
        """The table for a page of Markdown, without its note; the first cells of marked rows are bold."""
        rows = [
            [f"**{first}**" if index in self.marked else first, *rest] for index, (first, *rest) in enumerate(self.rows)
        ]
        lines = [self.head, ["---"] * len(self.head), *rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def __repr__(self):
        table = [self.head, *self.rows]
        wide = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, wide, strict=True)).rstrip() for row in table]
        if self.marked:
            lines = [f"{'* ' if index - 1 in self.marked else '  '}{line}" for index, line in enumerate(lines)]
        return "\n".join([*lines, *filter(None, [self.note])])

    def _repr_html_(self):
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.head)
        rows = [f"<tr>{self._cells(index, cells)}</tr>" for index, cells in enumerate(self.rows)]
        note = f"<small>{escape(self.note)}</small>" if self.note else ""
        return f"<table><tr>{head}</tr>{''.join(rows)}</table>{note}"

    def _cells(self, index, cells):
        style = _CODE if self.code else ""
        if index in self.marked:
            style += f";color:{CHANGED_WORDS};font-weight:bold" if self.code else "font-weight:bold"
        style = f' style="{style}"' if style else ""
        return "".join(f"<td{style}>{escape(cell)}</td>" for cell in cells)


def show_gains(until: int = PAPER_STEPS[-1]) -> Table:
    """The road in accuracies, the paper's and ours, and what each step adds; the last row is marked as the reader's.

    Args:
        until: the last step to show.

    Raises:
        SignificanceError: see ``runs.compare_steps``.
    """
    gains = compare_steps(until)
    papers = [paper_after(step) for step in range(until + 1)]
    rows = []
    for step, values in enumerate(list(gains.groups.values())[: until + 1]):
        row = [f"{step} {TITLES[step]}", f"{papers[step].accuracy:.2f} ± {papers[step].spread:.2f}", ""]
        row += [f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}", "", "", ""]
        if step:
            ours = gains.differences[step - 1]
            row[2] = f"{papers[step].accuracy - papers[step - 1].accuracy:+.2f}"
            row[4:] = f"{ours.points:+.1f}", ours.interval, "yes" if ours.resolved else "no"
        rows.append(row)
    seeds, spread = len(next(iter(gains.groups.values()))), pooled_spread(gains.groups.values())
    least = resolvable_difference(spread, seeds, len(gains.differences))
    note = (
        f"Paper: ImageNet, three seeds (Table 10). Here: Imagenette at pocket scale, {seeds} seeds. Gains are points "
        f"against the step before; Welch's intervals, {describe_family(gains.differences)}. With {seeds} seeds, a "
        f"true difference of {least:.1f} points would be resolved four times out of five. ± is one standard deviation."
    )
    head = ("step", "paper, %", "its gain", "here, %", "our gain", "interval", "resolved here")
    return Table(head, rows, note, marked=[until])
