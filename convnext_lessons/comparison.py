"""Two networks beside each other: what was decided, the code, and the layers, all read off the objects."""

import re
from difflib import SequenceMatcher
from html import escape

from convnext_lessons.cost import sketch
from convnext_lessons.drawing import CHANGED, built, rows_of

CELL = "text-align:left;vertical-align:top;padding:2px 10px;white-space:pre;font-family:monospace"
MARKED = f"{CELL};color:{CHANGED};font-weight:bold"


class Comparison:
    """What ``compare`` found: lists of (before, after) lines, equal where nothing changed, "" where one side has none.

    Attributes:
        configuration: the fields of the two architectures that differ.
        code: the modules of one block as PyTorch prints them.
        layers: the layers of the whole network with what they cost.
    """

    def __init__(self, configuration, code, layers):
        self.configuration, self.code, self.layers = configuration, code, layers

    def _parts(self):
        changed_layers = [pair for pair in self.layers if pair[0] != pair[1]]
        yield "configuration", self.configuration
        yield "code of one block", self.code
        yield f"layers that differ ({len(changed_layers)} of {len(self.layers)})", changed_layers

    def _repr_html_(self):
        html = []
        for number, (title, pairs) in enumerate(self._parts()):
            rows = "".join(f"<tr>{_cells(*pair)}</tr>" for pair in pairs) or "<tr><td>no difference</td></tr>"
            table = f"<table><tr><th>before</th><th>after</th></tr>{rows}</table>"
            html.append(f"<details{' open' if number < 2 else ''}><summary><b>{title}</b></summary>{table}</details>")
        return "".join(html)

    def __repr__(self):
        lines = []
        for title, pairs in self._parts():
            wide = max((len(before) for before, _ in pairs), default=0)
            lines += ["", title, "-" * len(title)]
            lines += [f"{'  ' if a == b else '* '}{a:{wide}}  {b}" for a, b in pairs] or ["  no difference"]
        return "\n".join(lines[1:])


def compare(before, after, stage=1, block=2):
    """Configuration, code of one block and layer table of two networks, side by side.

    Args:
        before, after: an ``Architecture`` or a network.
        stage, block: whose code to show, counted from 1.
    """
    networks = [built(what) for what in (before, after)]
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
    words = {row.name: row.words for row in rows_of(network)}
    lines = []
    for layer in sketch(network).layers:
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


def _cells(before, after):
    style = CELL if before == after else MARKED
    return f'<td style="{style}">{escape(before)}</td><td style="{style}">{escape(after)}</td>'
