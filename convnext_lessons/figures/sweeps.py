"""What designs cost over the values of a choice: splits of blocks, groups and width, kernels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import (
    CHANGED,
    CHANGED_WORDS,
    INK,
    NORM,
    PAPER_WHITE,
    SOFT,
    SPATIAL,
    STAGES,
    STREAM,
)
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import COSTS, count


def draw_kernels(designs: Mapping[str, Sequence[Architecture]], beside: Mapping[str, Architecture]) -> Plot:
    """Multiply-adds over the kernel size, a line for each family of designs.

    Args:
        designs: by name, the same network with one kernel size after another.
        beside: what to compare with, by name; dashed.
    """
    figure, (axes,) = new_figure(7.6, 3.2)
    words = []
    for (name, family), color in zip(designs.items(), cycle((SPATIAL, STREAM, NORM)), strict=False):
        kernels = [design.kernel_size for design in family]
        gmacs = [count(design).macs / 1e9 for design in family]
        axes.plot(kernels, gmacs, color=color, marker="o", label=name)
        axes.set_xticks(kernels)
        words.append(f"{name} {', '.join(f'{k}×{k} {g:.2f}' for k, g in zip(kernels, gmacs, strict=True))}")
    for name, design in beside.items():
        level = count(design).macs / 1e9
        axes.axhline(level, color=CHANGED, ls="--", lw=1, label=name)
        words.append(f"{name} {level:.2f}")
    axes.set(xlabel="kernel size k", ylabel="10⁹ multiply-adds", ylim=(0, None))
    axes.legend(frameon=False)
    return Plot(figure, f"10⁹ multiply-adds by kernel size: {'; '.join(words)}.")


def draw_splits(designs: Sequence[Architecture], full: Mapping[str, float]) -> Diagram:
    """How designs spread their costs over their blocks: a row for each cost, in it a box for each block, as wide as
    what it costs. The stages, named over the first row, go from light to dark; stem and head are grey.

    Args:
        designs: which differ in ``depths``.
        full: how much of a cost fills a row, by its key, such as ``{"macs": 6e9}``, so that designs drawn with the same
            numbers have one scale.
    """
    kinds = [kind for kind in COSTS if kind.key in full]
    tall = 66 + 40 * len(kinds)
    picture = Diagram(1060, tall * len(designs) + 10, f"Costs by block: {'; '.join(map(_split_in_words, designs))}.")
    for number, design in enumerate(designs):
        top = tall * number
        picture.text(10, top + 26, f"{sum(design.depths)} blocks: {design.depths}", size=15, bold=True)
        for row, kind in enumerate(kinds):
            x, y = ROW_LEFT, top + 40 * row + 56
            spans = defaultdict(list)  # the edges of the boxes of each stage
            picture.text(10, y + 21, kind.title.split(",")[0])
            for stage, value in _parts_of(design, kind):
                wide = min(value / full[kind.key] * ROW_FULL, ROW_END - x)
                spans[stage] += [x, x + wide]
                picture.box(x, y, wide, 30, _STAGE_FILL.get(stage, STREAM), edge=PAPER_WHITE)
                x += wide
            cut = "» " if x > ROW_END - 1 else ""
            picture.text(x + 8, y + 21, f"{cut}{_amount(design, kind)}", bold=True)
            if row == 0:
                _name_stages(picture, y - 6, spans)
    return picture


ROW_LEFT, ROW_FULL, ROW_END = 160, 760, 920  # where a row begins, how wide a full one is, where a longer one is cut
_STAGE_FILL = {f"stage {number}": color for number, color in enumerate(STAGES, start=1)}


def _name_stages(picture, y, spans):
    """The name of each stage over the middle of its boxes; its number alone where they are narrow."""
    for stage in filter(spans.__contains__, _STAGE_FILL):
        left, right = min(spans[stage]), max(spans[stage])
        if right - left > 8:
            name = stage if right - left > 54 else stage.removeprefix("stage ")
            picture.text((left + right) / 2, y, name, size=12, anchor="middle", color=SOFT)


def _parts_of(design, kind):
    """(stage, cost) of the stem, of every block, of what stands before a stage and of the head, from left to right."""
    cost, sums = count(design), defaultdict(int)
    for layer in cost.layers:
        part = layer.name.split(".")[:3] if layer.name.startswith("stages.") else [layer.stage]
        sums[layer.stage, *part] += kind.of(layer)
    order = list(cost.by_stage(kind.key))
    parts = [(stage, value) for (stage, *_), value in sums.items() if value]
    return sorted(parts, key=lambda part: order.index(part[0]))


def _amount(design, kind):
    return f"{kind.of(count(design)) / kind.unit:.4g} {kind.unit_name}"


def _split_in_words(design):
    return f"{design.depths} {', '.join(f'{_amount(design, kind)} {kind.title}' for kind in COSTS)}"


def draw_groups_and_widths(
    designs: Mapping[int, Sequence[Architecture]], groups: Sequence[str], beside: Mapping[str, Architecture]
) -> Plot:
    """Multiply-adds over the groups of the spatial convolution, a line for each width.

    Args:
        designs: of each width, from the fewest groups to the most.
        groups: what these are called.
        beside: what to compare with, by name; dashed.
    """
    figure, (axes,) = new_figure(7.6, 3.4)
    last = len(groups) - 1
    words = []
    for width, of_width in designs.items():
        gmacs = [count(design).macs / 1e9 for design in of_width]
        axes.plot(groups, gmacs, color=SPATIAL, marker="o", ms=4)
        axes.text(last + 0.08, gmacs[-1], f"width {width}", size=8, va="center", color=SPATIAL)
        words.append(f"width {width} {', '.join(f'{value:.2f}' for value in gmacs)}")
    for name, design in beside.items():
        level = count(design).macs / 1e9
        axes.plot([0, last], [level, level], color=CHANGED, ls="--", lw=1)
        words.append(f"{name} {level:.2f}")
    axes.set_xticks(range(len(groups)), [name if name.isdigit() else f"\n{name}" for name in groups])
    axes.set(xlabel="groups of the 3×3", ylabel="10⁹ multiply-adds", xlim=(-0.2, last + 0.7), ylim=(0, None))
    if beside:
        axes.set_title(f"dashed: {', '.join(beside)}", size=10, color=CHANGED_WORDS)
    return Plot(figure, f"10⁹ multiply-adds by groups ({', '.join(groups)}): {'; '.join(words)}.")


def draw_relative_costs(values: Sequence[float], costs: Mapping[str, Sequence[float]], name: str, than: str) -> Plot:
    """Costs in relation to those of another network, a line for each; where one crosses 1, the two cost the same.

    Args:
        values: of the number that is varied.
        costs: by name, one for each of ``values``.
        name: what the number is called.
        than: what the other network is called.
    """
    figure, (axes,) = new_figure(7.6, 3.4)
    words = []
    for (title, relative), color in zip(costs.items(), cycle((SPATIAL, NORM, CHANGED, SOFT)), strict=False):
        axes.plot(values, relative, color=color, marker="o", label=title)
        words.append(f"{title} {', '.join(f'{cost:.2f}' for cost in relative)}")
    axes.axhline(1, color=INK, lw=1)
    axes.set(xlabel=name, ylabel=f"relative to {than}", xticks=values, ylim=(0, None))
    axes.legend(frameon=False)
    return Plot(figure, f"Costs, relative to {than}, for {name} {', '.join(map(str, values))}: {'; '.join(words)}.")
