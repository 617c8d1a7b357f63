"""Numbers inside networks: activation functions, distributions, the stream, outputs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import torch

from convnext_lessons.figures.palette import ACTIVATION, CHANGED, INK, NORM, POINTWISE, SOFT, SPATIAL, STREAM
from convnext_lessons.figures.plots import Plot, new_figure


def draw_activations(functions: Mapping[str, Callable[[torch.Tensor], torch.Tensor]]) -> Plot:
    """Value and slope of activation functions between −3 and 3.

    Args:
        functions: by name; their slopes are autograd's.
    """
    figure, (values, slopes) = new_figure(8.4, 2.8, columns=2)
    words = []
    for (name, function), color in zip(functions.items(), cycle((INK, CHANGED, SPATIAL, NORM)), strict=False):
        x = torch.linspace(-3, 3, 601, dtype=torch.float64, requires_grad=True)
        value = function(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
        at, value = x.detach(), value.detach()
        values.plot(at.numpy(), value.numpy(), color=color, lw=2, label=name)
        slopes.plot(at.numpy(), slope.numpy(), color=color, lw=2)
        words.append(f"{name}, values from {value.min():.2f}, slopes from {slope.min():.2f} to {slope.max():.2f}")
    for axes, title in ((values, "value"), (slopes, "slope")):
        axes.axhline(0, color=STREAM, lw=1, zorder=0)
        axes.set(xlim=(-3, 3), title=title)
    values.set_ylim(-0.5, 3)
    values.legend(frameon=False)
    return Plot(figure, f"Value and slope from −3 to 3: {'; '.join(words)}.")


def draw_arriving_and_leaving(arriving: torch.Tensor, leaving: torch.Tensor, place: str) -> Plot:
    """How the numbers are distributed that arrive at a layer and that leave it.

    Args:
        arriving, leaving: the numbers, flat.
        place: where the layer stands, for those who do not see the picture.
    """
    figure, panels = new_figure(8.4, 2.6, columns=2, share="x")
    words = []
    for panel, values, title in zip(panels, (arriving, leaving), ("arriving", "leaving"), strict=True):
        shares = torch.histc(values, bins=60, min=-3, max=3) / len(values)
        panel.bar(torch.linspace(-2.95, 2.95, 60).tolist(), shares.tolist(), 0.1, color=ACTIVATION, ec=INK, lw=0.3)
        zeros = (values == 0).float().mean()
        words.append(f"{title}: mean {_two_digits(values.mean().item())}, exact zeros {zeros:.0%}")
        panel.set(ylim=(0, 0.1), title=words[-1], xlabel="value", ylabel="share")
        _mark_cut_bars(panel)
    return Plot(figure, f"The numbers at {place}; {'; '.join(words)}.")


def _two_digits(value):
    """With two digits behind the point, and without a sign where these are zeros."""
    return f"{round(value, 2) + 0.0:.2f}"


def _mark_cut_bars(panel):
    """The shares of the bars that the top of a panel cuts, beside the last of them."""
    top = panel.get_ylim()[1]
    cut = [bar for bar in panel.patches if bar.get_height() > top]
    if cut:
        shares = ", ".join(f"{bar.get_height():.0%}" for bar in cut)
        end = cut[-1].get_x() + cut[-1].get_width()
        panel.annotate(f"↑ {shares}", (end, top), (3, -2), textcoords="offset points", va="top", size=9, color=INK)


Rebuilt = tuple[torch.Tensor, float]  # a picture [1, 3, H, W] from -1 to 1, and which share of it was lost


def draw_rebuilt(rebuilt: Mapping[str, Mapping[int, Rebuilt]]) -> Plot:
    """A picture as it comes back from patches: a row for each map, a column for each patch size.

    Args:
        rebuilt: what came back, by the map's name and the patch size; every map with the same sizes.
    """
    columns = max(map(len, rebuilt.values()))
    figure, panels = new_figure(1.4 * columns, 1.6 * len(rebuilt), rows=len(rebuilt), columns=columns)
    free = iter(panels)
    words = []
    for name, by_size in rebuilt.items():
        row = [next(free) for _ in by_size]
        row[0].set_ylabel(name, size=9)
        for panel, (size, found) in zip(row, by_size.items(), strict=True):
            _show_rebuilt(panel, size, found)
        losses = ", ".join(f"{size}×{size} {_lost_in_words(lost)}" for size, (_, lost) in by_size.items())
        words.append(f"{name} {losses}")
    return Plot(figure, f"What is lost of a picture rebuilt from its patches: {'; '.join(words)}.")


def draw_rebuilt_and_cost(size: int, rebuilt: Rebuilt, macs: Mapping[int, int], channels: int) -> Plot:
    """A picture as it comes back from patches of one size, beside what the network costs at every size.

    Args:
        size: of the patches, in pixels.
        macs: the network's multiply-adds by patch size.
        channels: that a patch becomes.
    """
    figure, (left, right) = new_figure(6.8, 3.2, columns=2)
    _show_rebuilt(left, size, rebuilt)
    names = [str(other) for other in macs]
    gmacs = [value / 1e9 for value in macs.values()]
    bars = right.bar(names, gmacs, color=[CHANGED if other == size else POINTWISE for other in macs])
    right.bar_label(bars, [f"{value:.2g}" for value in gmacs], size=9)
    right.set(xlabel="patch size", ylabel="network, 10⁹ multiply-adds")
    right.set_title(f"{3 * size**2} numbers a patch → {channels} channels", size=10)
    lost = f"{_lost_in_words(rebuilt[1])} of the picture is lost"
    return Plot(figure, f"Patches of {size}×{size}: {lost}, and the network costs {macs[size] / 1e9:.2f} G.")


def _show_rebuilt(panel, size, rebuilt):
    picture, lost = rebuilt
    panel.imshow((127.5 * (picture[0] + 1)).clamp(0, 255).byte().permute(1, 2, 0).numpy())
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    panel.set_title(f"{size}×{size}, lost: {_lost_in_words(lost)}", size=9)


def _lost_in_words(lost):
    return f"{100 * lost:.2g} %" if lost > 1e-12 else "nothing"


@dataclass(frozen=True)
class Distribution:
    """How the values of a tensor are distributed.

    Attributes:
        shares: of all values, in each of 64 equal bins from −8 to 8.
        mean, spread: their mean and standard deviation.
        low, high: eight of ten values lie between them.
    """

    shares: tuple[float, ...]
    mean: float
    spread: float
    low: float
    high: float

    @classmethod
    def of(cls, values: torch.Tensor) -> "Distribution":
        """The distribution of a tensor's values; of a very large one, ``low`` and ``high`` are of its first million."""
        values = values.detach().flatten().float()
        shares = torch.histc(values, _BINS, -_LIMIT, _LIMIT) / len(values)
        low, high = values[:1_000_000].quantile(torch.tensor([0.1, 0.9])).tolist()
        return cls(tuple(shares.tolist()), values.mean().item(), values.std().item(), low, high)


_LIMIT, _BINS = 8, 64  # of a distribution's histogram


def draw_stream(streams: Mapping[str, Sequence[Distribution]], block: int, ticks: Sequence[int] = ()) -> Plot:
    """The residual stream of networks, a row a network: its values after one block, and their range along the depth.

    Args:
        streams: what is in the stream after each block, by the network's name.
        block: the block to look at, counted from 1.
        ticks: the first block of each stage, to be named on the axis; every block has its number unless given.
    """
    figure, panels = new_figure(9.6, 0.6 + 2.4 * len(streams), rows=len(streams), columns=2)
    edges = torch.linspace(-_LIMIT, _LIMIT, _BINS + 1)[:-1].tolist()
    words = []
    for (name, stream), left, right in zip(streams.items(), panels[::2], panels[1::2], strict=True):
        here, depth = stream[block - 1], range(1, len(stream) + 1)
        left.bar(edges, here.shares, 2 * _LIMIT / _BINS, align="edge", color=ACTIVATION, ec=INK, lw=0.3)
        left.set(xlabel=f"value in the stream after block {block}", ylabel="share", ylim=(0, 0.5))
        left.set_title(name, size=10)
        _mark_cut_bars(left)
        low, high = [after.low for after in stream], [after.high for after in stream]
        right.fill_between(depth, low, high, color=STREAM, label="10th to 90th percentile")
        right.plot(depth, [after.mean for after in stream], color=SPATIAL, marker=".", label="mean")
        right.axvline(block, color=INK, ls=":")
        right.set(xlabel="block", ylabel="value", ylim=(-4.5, 5.5), xticks=ticks or depth)
        if ticks:
            right.set_xticklabels([f"{first}\nstage {stage}" for stage, first in enumerate(ticks, start=1)])
        numbers = f"mean {_two_digits(here.mean)}, standard deviation {here.spread:.2f}"
        right.set_title(numbers, size=10)
        words.append(f"{name}: {numbers}")
    panels[1].legend(frameon=False, loc="lower left", ncols=2, fontsize=9)
    return Plot(figure, f"The stream after block {block}. {'; '.join(words)}.")


def draw_outputs(
    outputs: Mapping[str, tuple[torch.Tensor, torch.Tensor]], limit: float | None = None, columns: int = 3
) -> Plot:
    """What networks say of one picture among several sets of companions: a dot for each set, a panel a network.

    Args:
        outputs: by the panel's title, the dots [sets, outputs] and the bars to compare them with [outputs], which
            are what the network says in evaluation mode.
        limit: of the vertical axis, above and below zero; what the numbers need unless given.
        columns: panels in a row.
    """
    rows = math.ceil(len(outputs) / columns)
    figure, panels = new_figure(3.2 * columns, 2.7 * rows, rows=rows, columns=columns, share="y")
    words = []
    for panel, (title, (dots, bars)) in zip(panels, outputs.items(), strict=False):
        places = range(1, len(bars) + 1)
        spread = f"spread of an output {dots.std(0).mean():.2f}"
        first, *_ = panel.plot(places, dots.T, "o", ms=4, color=SPATIAL, alpha=0.5)
        first.set_label("a set of companions")
        panel.plot(places, bars, "_", ms=14, mew=2, color=CHANGED, label="evaluation mode")
        panel.set_title(f"{title}\n{spread}", size=9)
        panel.set(xticks=places, xlabel="output")
        words.append(f"{title}: {spread}")
    panels[0].legend(frameon=False, fontsize=8)
    for empty in panels[len(outputs) :]:
        empty.axis("off")
    if limit:
        panels[0].set(ylim=(-limit, limit))
    return Plot(figure, f"The outputs for one picture. {'; '.join(words)}.")


def draw_leak(levels: Sequence[float], leaks: Mapping[str, Sequence[float]]) -> Plot:
    """How far the brightness of one picture moves what networks say of the others in its batch.

    Args:
        levels: the factors on its brightness.
        leaks: how far the outputs for the others move at each level, in percent, by the network's name.
    """
    figure, (axes,) = new_figure(7.6, 3.0)
    styles = cycle(((CHANGED, "-"), (SOFT, "-"), (SPATIAL, "--")))  # dashes, where lines lie on each other
    for (name, moved), (color, dash) in zip(leaks.items(), styles, strict=False):
        axes.plot(levels, moved, dash, color=color, marker="o", ms=4, lw=2, label=name)
    axes.set(xlabel="brightness of one picture (1 is unchanged)", ylabel="the others move by, %")
    axes.legend(frameon=False)
    words = ", ".join(f"{name} {max(moved):.0f} %" for name, moved in leaks.items())
    return Plot(figure, f"How far outputs move at most with the brightness of another picture: {words}.")
