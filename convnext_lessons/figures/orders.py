"""A block's convolutions alone, in the order in which they run, before and after a change and beside Swin's block."""

import math
from dataclasses import dataclass

from torch import nn

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import CHANGED, CHANGED_WORDS, POINTWISE, SOFT, SPATIAL
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import count
from convnext_lessons.model.layers import build_on_meta, describe_layers
from convnext_lessons.model.roadmap import step_of


@dataclass(frozen=True)
class _Layer:
    spatial: bool  # it looks at other positions
    words: str
    c_in: int
    c_out: int
    where: str = ""  # the positions that it is computed at, with its multiply-adds
    size: tuple[int, ...] = ()


def draw_orders(
    before: Architecture, after: Architecture, stage: int = 1, block: int = 2, swin: nn.Module | None = None
) -> Diagram:
    """The convolutions of one block before and after a change, from top to bottom, as wide as their channels.

    A spatial layer that has moved past a 1×1 is marked, and so is a resolution that is another after the change.

    Args:
        stage, block: which block, counted from 1.
        swin: a block of torchvision's Swin Transformer, to be drawn in front.
    """
    titles = [_title(name, design, stage, block) for name, design in (("before", before), ("after", after))]
    columns = {title: _ours(design, stage, block) for title, design in zip(titles, (before, after), strict=True)}
    moved = len({_place(layers) for layers in columns.values()}) > 1
    resized = _resized(*columns.values())
    if swin is not None:
        columns = {SWIN: _swins(swin), **columns}
    widest = max(max(layer.c_in, layer.c_out) for layers in columns.values() for layer in layers)
    described = "; ".join(
        f"{title}: {', '.join(' '.join(filter(None, (layer.words, layer.where))) for layer in layers)}"
        for title, layers in columns.items()
    )
    height = TOP + 3 * PITCH + 10
    picture = Diagram(COLUMN * len(columns) + 10, height, f"Block {block} of stage {stage}. {described}.")
    ends = []
    for number, (title, layers) in enumerate(columns.items()):
        axis = COLUMN * number + 100
        picture.text(axis - 84, 24, title, size=15, bold=True)
        _draw_shortcuts(picture, axis, ((0, 1), (1, 3)) if title == SWIN else ((0, 3),))
        for place, layer in enumerate(layers):
            y = TOP + PITCH * place
            marked = moved and layer.spatial and title != SWIN
            _draw_layer(picture, layer, axis, y, ROOM / widest, marked, layer.words in resized)
            if marked:
                ends.append((axis, y + TALL / 2, layer.c_in / 2 * ROOM / widest))
    if moved:
        _draw_arrow(picture, *ends)
    return picture


SWIN = "Swin's block"
COLUMN, ROOM = 330, 130  # width of a column with its words, and of the widest layer in it
TOP, PITCH, TALL = 58, 74, 44  # where the first layer begins, the way to the next, the height of one


def _title(name, architecture, stage, block):
    label = step_of(architecture)
    return f"{name}: {f'step {label}, ' if label else ''}stage {stage}, block {block}"


def _ours(architecture, stage, block):
    name = f"stages.{stage - 1}.{block - 1}.residual"
    costs = {layer.name: layer for layer in count(architecture).layers}
    found = []
    for row in describe_layers(build_on_meta(architecture).get_submodule(name), name):
        if row.kind in ("spatial", "pointwise"):
            size, macs = costs[row.name].shape_out[1:], costs[row.name].macs
            where = f"at {size[0]}×{size[1]}: {macs / 1e6:.3g} M"
            found.append(_Layer(row.kind == "spatial", row.words, row.c_in, row.c_out, where, size))
    return found


def _swins(block):
    stream = block.attn.qkv.in_features
    linear = [layer for layer in block.mlp if isinstance(layer, nn.Linear)]
    names = [f"linear, {layer.in_features} → {layer.out_features}" for layer in linear]
    mlp = [_Layer(False, name, it.in_features, it.out_features) for name, it in zip(names, linear, strict=True)]
    return [_Layer(True, f"attention, {stream}", stream, stream), *mlp]


def _place(layers):
    """Behind how many 1×1 the spatial layer stands."""
    return [layer.spatial for layer in layers].index(True)


def _resized(before, after):
    """The words of the 1×1 that run at another resolution after the change."""
    ones = ([layer for layer in layers if not layer.spatial] for layers in (before, after))
    return {old.words for old, new in zip(*ones, strict=True) if old.words == new.words and old.size != new.size}


def _draw_layer(picture, layer, axis, y, scale, moved, resized):
    top, bottom = layer.c_in * scale / 2, layer.c_out * scale / 2
    corners = [(axis - top, y), (axis + top, y), (axis + bottom, y + TALL), (axis - bottom, y + TALL)]
    edge = {"edge": CHANGED, "line": 3} if moved else {}
    picture.polygon(corners, SPATIAL if layer.spatial else POINTWISE, **edge)
    at = axis + ROOM / 2 + 14
    kind, *details = layer.words.split(", ", 1)
    color = {"color": CHANGED_WORDS, "bold": True} if moved else {}
    picture.text(at, y + 10, kind, **color)
    picture.text(at, y + 26, *details, **color)
    picture.text(at, y + 42, layer.where, **({"color": CHANGED_WORDS, "bold": True} if resized else {"color": SOFT}))


def _draw_shortcuts(picture, axis, spans):
    side = axis - ROOM / 2 - 16
    picture.line([(axis, TOP - 18), (axis, TOP + 3 * PITCH - 12)], SOFT)
    for first, last in spans:
        top, end = TOP + PITCH * first - 14, TOP + PITCH * last - 18
        picture.line([(axis, top), (side, top), (side, end), (axis, end)], SOFT, width=2)


def _draw_arrow(picture, start, end):
    """From the words beside one layer to the left edge of the other."""
    (x0, y0), (x1, y1) = (start[0] + ROOM / 2 + 136, start[1]), (end[0] - end[2] - 6, end[1])
    length = math.hypot(x1 - x0, y1 - y0)
    along, across = (x1 - x0) / length, (y1 - y0) / length  # one pixel towards the end
    picture.line([(x0, y0), (x1 - 10 * along, y1 - 10 * across)], CHANGED, width=2.5)
    barbs = [(x1 - 13 * along - side * across, y1 - 13 * across + side * along) for side in (6, -6)]
    picture.polygon([(x1, y1), *barbs], CHANGED)
