"""Everything that is looked at.

Diagrams read off a built network, plots of costs, roads and runs, tables, and the one palette that they share. Each
shows itself where it ends a cell, and carries a sentence for those who do not see it.
"""

from convnext_lessons.figures.answers import draw_answers
from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.comparison import Comparison, compare
from convnext_lessons.figures.costs import draw_changes, draw_costs, draw_sweep
from convnext_lessons.figures.curves import LiveCurve, draw_curves
from convnext_lessons.figures.diagrams import DrawingError, draw_block, draw_design, draw_network
from convnext_lessons.figures.downsampling import draw_downsampling
from convnext_lessons.figures.ends import draw_ends
from convnext_lessons.figures.gates import draw_gates
from convnext_lessons.figures.orders import draw_orders
from convnext_lessons.figures.palette import ACTIVATION, CHANGED, INK, NORM, POINTWISE, SOFT, SPATIAL, STREAM
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.figures.prices import draw_positions_and_weights
from convnext_lessons.figures.ranking import draw_ranking
from convnext_lessons.figures.reach import (
    draw_fields,
    draw_live_shares,
    draw_live_taps,
    draw_norm_reach,
    draw_readers,
    draw_seen_pixels,
    draw_who_hears,
)
from convnext_lessons.figures.road import draw_flops_and_time, draw_road, draw_summary
from convnext_lessons.figures.stems import draw_stems
from convnext_lessons.figures.sweeps import draw_groups_and_widths, draw_kernels, draw_relative_costs, draw_splits
from convnext_lessons.figures.swin import draw_three_blocks
from convnext_lessons.figures.tables import Table, show_gains
from convnext_lessons.figures.techniques import (
    draw_altered,
    draw_budget,
    draw_depth,
    draw_ladder,
    draw_mixed,
    draw_parts,
    draw_schedules,
    draw_smoothed,
)
from convnext_lessons.figures.trials import (
    draw_early_losses,
    draw_kernel_accuracies,
    draw_losses,
    draw_memory_and_accuracy,
    draw_two_by_two,
)
from convnext_lessons.figures.values import (
    Distribution,
    draw_activations,
    draw_arriving_and_leaving,
    draw_leak,
    draw_outputs,
    draw_rebuilt,
    draw_rebuilt_and_cost,
    draw_stream,
)
from convnext_lessons.figures.windows import draw_windows

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
    "Distribution",
    "DrawingError",
    "LiveCurve",
    "Plot",
    "Table",
    "compare",
    "draw_activations",
    "draw_altered",
    "draw_answers",
    "draw_arriving_and_leaving",
    "draw_block",
    "draw_budget",
    "draw_changes",
    "draw_costs",
    "draw_curves",
    "draw_depth",
    "draw_design",
    "draw_downsampling",
    "draw_early_losses",
    "draw_ends",
    "draw_fields",
    "draw_flops_and_time",
    "draw_gates",
    "draw_groups_and_widths",
    "draw_kernel_accuracies",
    "draw_kernels",
    "draw_ladder",
    "draw_leak",
    "draw_live_shares",
    "draw_live_taps",
    "draw_losses",
    "draw_memory_and_accuracy",
    "draw_mixed",
    "draw_network",
    "draw_norm_reach",
    "draw_orders",
    "draw_outputs",
    "draw_parts",
    "draw_positions_and_weights",
    "draw_ranking",
    "draw_readers",
    "draw_rebuilt",
    "draw_rebuilt_and_cost",
    "draw_relative_costs",
    "draw_road",
    "draw_schedules",
    "draw_seen_pixels",
    "draw_smoothed",
    "draw_splits",
    "draw_stems",
    "draw_stream",
    "draw_summary",
    "draw_sweep",
    "draw_three_blocks",
    "draw_two_by_two",
    "draw_who_hears",
    "draw_windows",
    "new_figure",
    "show_gains",
]
