"""Activation functions as gates: the factor by which each multiplies its input."""

from collections.abc import Callable, Mapping
from itertools import cycle

import torch

from convnext_lessons.figures.palette import CHANGED, INK, NORM, SPATIAL, STREAM
from convnext_lessons.figures.plots import Plot, new_figure


def draw_gates(gates: Mapping[str, Callable[[torch.Tensor], torch.Tensor]]) -> Plot:
    """By which factor activation functions multiply a number, from −3 to 3.

    Args:
        gates: the factor as a function of the number, by the activation's name.
    """
    figure, (axes,) = new_figure(4.6, 2.6)
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    words = []
    for (name, gate), color in zip(gates.items(), cycle((INK, CHANGED, SPATIAL, NORM)), strict=False):
        factor = gate(x)
        axes.plot(x.numpy(), factor.numpy(), color=color, lw=2, label=name)
        at = {number: factor[(x - number).abs().argmin()].item() for number in (-1, 1)}
        words.append(f"{name}, {at[-1]:.2f} at −1 and {at[1]:.2f} at 1")
    axes.axhline(0, color=STREAM, lw=1, zorder=0)
    axes.set(xlim=(-3, 3), ylim=(-0.1, 1.1), xlabel="input", ylabel="factor", title="output = factor × input")
    axes.legend(frameon=False)
    return Plot(figure, f"The factor on each number from −3 to 3: {'; '.join(words)}.")
