"""Everything that is looked at.

Diagrams read off a built network, plots of costs, roads and runs, tables, and the one palette that they share. Each
shows itself where it ends a cell, and carries a sentence for those who do not see it.
"""

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.comparison import Comparison, compare
from convnext_lessons.figures.costs import draw_changes, draw_costs, draw_sweep
from convnext_lessons.figures.curves import LiveCurve, draw_curves
from convnext_lessons.figures.diagrams import DrawingError, draw_block, draw_design, draw_network
from convnext_lessons.figures.palette import ACTIVATION, CHANGED, INK, NORM, POINTWISE, SOFT, SPATIAL, STREAM
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.figures.road import draw_flops_and_time, draw_road, draw_summary
from convnext_lessons.figures.tables import Table, show_gains

__all__ = [
    "ACTIVATION",
    "CHANGED",
    "INK",
    "NORM",
    "POINTWISE",
    "SOFT",
    "SPATIAL",
    "STREAM",
    "Comparison",
    "Diagram",
    "DrawingError",
    "LiveCurve",
    "Plot",
    "Table",
    "compare",
    "draw_block",
    "draw_changes",
    "draw_costs",
    "draw_curves",
    "draw_design",
    "draw_flops_and_time",
    "draw_network",
    "draw_road",
    "draw_summary",
    "draw_sweep",
    "new_figure",
    "show_gains",
]
