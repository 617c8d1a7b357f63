import itertools

import pytest

from convnext_lessons.figures import STREAM, draw_groups_and_widths, draw_kernels, draw_relative_costs, draw_splits
from convnext_lessons.figures.palette import STAGES
from convnext_lessons.model import RESNET50, architecture_after, count


def test_kernels_are_a_line_for_each_family(is_drawn):
    base, kernels = architecture_after(5), (3, 7, 11)
    families = {
        "in front": [base.change(kernel_size=kernel) for kernel in kernels],
        "in the middle": [base.change(kernel_size=kernel, depthwise_first=False) for kernel in kernels],
    }
    plot = draw_kernels(families, {"step 4": architecture_after(4)})
    assert is_drawn(plot)
    for words in ("in front 3×3 4.07, 7×7 4.15, 11×11 4.29", "in the middle 3×3 4.64", "; step 4 4.64."):
        assert words in plot.alt
    (axes,) = plot.figure.axes
    *lines, level = axes.lines
    for line, family in zip(lines, families.values(), strict=True):
        assert list(line.get_xdata()) == list(kernels)
        assert list(line.get_ydata()) == pytest.approx([count(design).macs / 1e9 for design in family])
    assert level.get_ydata()[0] == pytest.approx(count(architecture_after(4)).macs / 1e9)
    assert list(axes.get_xticks()) == list(kernels)


def test_kernels_with_nothing_beside_them(is_drawn):
    plot = draw_kernels({"here": [architecture_after(5)]}, {})
    assert is_drawn(plot)
    assert plot.alt == "10⁹ multiply-adds by kernel size: here 3×3 4.07."


FULL = {"macs": 6e9, "params": 75e6, "activation_bytes": 180e6}


def boxes(picture):
    """(left, right, fill) of every box, row by row."""
    found = {}
    for kind, *rest in picture.items:
        if kind == "polygon":
            points, fill, *_ = rest
            found.setdefault(points[0][1], []).append((points[0][0], points[1][0], fill))
    return list(found.values())


def test_splits_have_a_box_for_each_block_as_wide_as_its_cost():
    picture = draw_splits([RESNET50, RESNET50.change(depths=(3, 3, 9, 3))], FULL)
    assert "(3, 4, 6, 3) 4.089 × 10⁹ multiply-adds" in picture.alt
    assert "(3, 3, 9, 3) 4.526 × 10⁹ multiply-adds, 28.63 × 10⁶ parameters" in picture.alt
    rows = boxes(picture)
    assert [len(row) for row in rows] == [18, 18, 18, 20, 20, 20]  # stem and head with the blocks
    assert [fill for *_, fill in rows[0]] == [
        STREAM,
        *[color for color, depth in zip(STAGES, (3, 4, 6, 3), strict=True) for _ in range(depth)],
        STREAM,
    ]
    costs = count(RESNET50)
    wide = [row[-1][1] - row[0][0] for row in rows[:3]]
    wanted = [760 * getattr(costs, key) / full for key, full in FULL.items()]
    assert wide == pytest.approx(wanted)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(rows[0]))


def test_separate_downsampling_stands_before_its_stage():
    design = architecture_after(11).change(depths=(1, 1, 1, 1))
    (row,) = boxes(draw_splits([design], {"params": count(design).params}))
    assert [fill for *_, fill in row] == [STREAM, STAGES[0], *[color for color in STAGES[1:] for _ in range(2)], STREAM]
    assert row[-1][1] == pytest.approx(160 + 760)


def test_stages_are_named_over_the_first_row_and_narrow_ones_numbered():
    design = RESNET50.change(depths=(15, 1, 1, 1))
    picture = draw_splits([design], FULL)
    middles = [(rest[2], rest[0]) for kind, *rest in picture.items if kind == "text" and rest[4] == "middle"]
    assert [name for name, _ in middles] == ["stage 1", "2", "3", "4"]
    for (_, middle), (left, right, _) in zip(middles[1:], boxes(picture)[0][-4:-1], strict=True):
        assert middle == pytest.approx((left + right) / 2)


def test_a_split_that_costs_more_than_a_row_holds_is_cut():
    (row,) = boxes(draw_splits([RESNET50], {"macs": 2e9}))
    assert row[-1][1] == 920
    words = [rest[2] for kind, *rest in draw_splits([RESNET50], {"macs": 2e9}).items if kind == "text"]
    named = ["stage 1", "stage 2", "stage 3"]  # nothing is left of stage 4
    assert words == ["16 blocks: (3, 4, 6, 3)", "multiply-adds", "» 4.089 × 10⁹", *named]
    assert "» " not in draw_splits([RESNET50], FULL).svg()


def test_groups_and_widths_are_a_line_for_each_width(is_drawn):
    base = architecture_after(2)
    designs = {width: [base.change(width=width, groups=groups) for groups in (1, 2)] for width in (64, 96)}
    plot = draw_groups_and_widths(designs, ["1", "2"], {"step 2": base})
    assert is_drawn(plot)
    assert plot.alt == "10⁹ multiply-adds by groups (1, 2): width 64 4.42, 3.38; width 96 9.93, 7.59; step 2 4.42."
    (axes,) = plot.figure.axes
    assert len(axes.lines) == 3
    for line, of_width in zip(axes.lines, designs.values(), strict=False):
        assert list(line.get_ydata()) == pytest.approx([count(design).macs / 1e9 for design in of_width])
    assert axes.get_title() == "dashed: step 2"


def test_groups_and_widths_with_nothing_beside_them(is_drawn):
    plot = draw_groups_and_widths({64: 2 * [architecture_after(2)]}, ["1", "all"], {})
    assert is_drawn(plot)
    assert plot.figure.axes[0].get_title() == "" and plot.alt.endswith("width 64 4.42, 4.42.")
    assert [label.get_text() for label in plot.figure.axes[0].get_xticklabels()] == ["1", "\nall"]


def test_relative_costs_are_drawn_around_one(is_drawn):
    costs = {"time": [0.5, 1.25], "memory": [1.0, 1.5]}
    plot = draw_relative_costs((64, 96), costs, name="width", than="step 2")
    assert is_drawn(plot)
    assert plot.alt == "Costs, relative to step 2, for width 64, 96: time 0.50, 1.25; memory 1.00, 1.50."
    (axes,) = plot.figure.axes
    *lines, level = axes.lines
    assert [list(line.get_ydata()) for line in lines] == list(costs.values())
    assert set(level.get_ydata()) == {1}
    assert len({line.get_color() for line in lines}) == 2
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("width", "relative to step 2")
