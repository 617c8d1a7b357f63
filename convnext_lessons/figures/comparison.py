"""Two networks beside each other: what was decided, the code, and the layers, all read off the objects."""

import re
from difflib import SequenceMatcher

from torch import nn

from convnext_lessons.figures.tables import Table
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import count
from convnext_lessons.model.layers import build_on_meta, describe_layers

Pair = tuple[str, str]  # a line before, a line after


class Comparison:
    """What ``compare`` found: lists of (before, after) lines, equal where nothing changed, "" where one side has none.

    Attributes:
        configuration: the fields of the two architectures that differ.
        code: the modules of one block as PyTorch prints them.
        layers: the layers of the whole network with what they cost.
    """

    def __init__(self, configuration: list[Pair], code: list[Pair], layers: list[Pair]):
        self.configuration, self.code, self.layers = configuration, code, layers

    def _tables(self):
        changed = [pair for pair in self.layers if pair[0] != pair[1]]
        yield "configuration", _tabulate(self.configuration)
        yield "code of one block", _tabulate(self.code)
        yield f"layers that differ ({len(changed)} of {len(self.layers)})", _tabulate(changed)

    def _repr_html_(self):
        return "".join(
            f"<details{' open' if number < 2 else ''}><summary><b>{title}</b></summary>{table._repr_html_()}</details>"
            for number, (title, table) in enumerate(self._tables())
        )

    def __repr__(self):
        return "\n\n".join(f"{title}\n{'-' * len(title)}\n{table!r}" for title, table in self._tables())


def compare(
    before: Architecture | nn.Module, after: Architecture | nn.Module, stage: int = 1, block: int = 2
) -> Comparison:
    """Configuration, code of one block and layer table of two networks, side by side.

    Args:
        stage, block: whose code to show, counted from 1.
    """
    networks = [build_on_meta(model) for model in (before, after)]
    differences = networks[0].arch.differences(networks[1].arch)
    configuration = [(f"{name} = {old!r}", f"{name} = {new!r}") for name, (old, new) in differences.items()]
    code = _aligned(*(_code(network.stages[stage - 1][block - 1]) for network in networks))
    layers = _aligned(*(_table(network) for network in networks))
    return Comparison(configuration, code, layers)


def _code(block):
    """PyTorch's own print of a block, without default values and without square numbers written twice."""
    code = re.sub(r"\((\d+), \1\)", r"\1", str(block))
    return re.sub(r", (eps=.*(?=\))|stride=1(?!\d)|padding=0)", "", code).splitlines()


def _table(network):
    words = {row.name: row.words for row in describe_layers(network)}
    lines = []
    for layer in count(network).layers:
        shape = "×".join(map(str, layer.shape_out))
        if layer.name in words:
            lines.append(
                f"{layer.name:26} {words[layer.name]:34} {shape:12} {layer.params:>9,} params {layer.macs:>11,} macs"
            )
    return lines


def _aligned(before, after):
    """Pair the lines of two lists, "" where the other side has none."""
    pairs = []
    for _, a0, a1, b0, b1 in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        left, right = before[a0:a1], after[b0:b1]
        length = max(len(left), len(right))
        pairs += zip(left + [""] * (length - len(left)), right + [""] * (length - len(right)), strict=True)
    return pairs


def _tabulate(pairs):
    differ = [index for index, (before, after) in enumerate(pairs) if before != after]
    return Table(("before", "after"), pairs, note="" if pairs else "no difference", marked=differ, code=True)
