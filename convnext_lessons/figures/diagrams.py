"""Diagrams read off the built network: change the module, and the picture changes.

One visual language everywhere: blue is a convolution (dark where it looks at neighbours, light where it is 1×1),
green a norm, yellow an activation, purple a layer scale, grey the residual stream, and a thick vermilion edge with a ◆
marks what has changed. Widths follow the channels. The colours are those of ``palette``.
"""

import math
import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from itertools import product

from torch import nn

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import (
    ACTIVATION,
    CHANGED,
    CHANGED_WORDS,
    INK,
    NORM,
    PAPER_WHITE,
    POINTWISE,
    SCALE,
    SOFT,
    SPATIAL,
    STREAM,
)
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import COSTS, count
from convnext_lessons.model.layers import build_on_meta, describe_layers
from convnext_lessons.model.roadmap import step_of
from convnext_lessons.system.errors import CourseError

Model = Architecture | nn.Module


class DrawingError(CourseError, ValueError):
    """A part of a network that is not there to be drawn."""


def draw_block(
    before: Model,
    after: Model | None = None,
    stage: int = 1,
    block: int = 2,
    names: tuple[str, str] = ("before", "after"),
) -> Diagram:
    """The diagram of one block, or of the same block before and after a change, side by side. What has changed is
    marked, unless that is every layer, where a mark would say nothing.

    Args:
        stage, block: which one, counted from 1; block 1 of the later stages is where the resolution halves.
        names: what to call the two.

    Raises:
        DrawingError: the network has no such block.
    """
    views = [block_view(model, stage, block) for model in (before, after) if model is not None]
    marked = changed_rows(*views) if after is not None else [set()]
    if all(rows >= {*view["residual"], *view["closing"]} for rows, view in zip(marked, views, strict=True)):
        marked = [set() for _ in views]
    widest = max(max(view["c_in"], view["c_out"], *(row.c_out or 0 for row in view["residual"])) for view in views)
    height = 172 + max(sum(height_of(row) + 8 for row in view["residual"] + view["closing"]) for view in views)
    titles = titles_of(before, after, names)
    described = "; then ".join(f"{in_words(view['residual'])}, shortcut {in_words(view['shortcut'])}" for view in views)
    picture = Diagram(COLUMN * len(views), height, f"Block {block} of stage {stage}: {described}.")
    for column, (view, title) in enumerate(zip(views, titles, strict=True)):
        heading = " · ".join(filter(None, (title, f"stage {stage}, block {block}")))
        picture.text(COLUMN * column + 10, 24, heading, size=15, bold=True)
        picture.text(COLUMN * column + 10, height - 30, view["sum"], color=SOFT)
        draw_column(picture, view, COLUMN * column, ROOM, ROOM / widest, marked[column])
    return picture


COLUMN, ROOM = 560, 190  # width of one block's diagram with shortcut and words, and of the layers in it


def draw_column(picture, view, left, room, scale, marked):
    """One block from top to bottom; every layer as wide as its channels, those on the shortcut a third of that."""
    side = left + 140
    axis = side + 55 + room / 2
    words_at = axis + room / 2 + 12
    top = y = 50
    draw_stream_bar(picture, axis, words_at, y, view["c_in"] * scale, f"in: {view['c_in']} × {view['size_in']}")
    y += 12
    channels = view["c_in"]

    def layers(rows, y, channels):
        for row in rows:
            c_in, c_out = row.c_in or channels, row.c_out or channels
            tall = height_of(row)
            y += 8
            draw_layer(picture, row, axis, y, c_in * scale, c_out * scale, row in marked, view["tips"][row.name])
            label_layer(picture, words_at, y + tall / 2, row.words.split(", ", 1), row in marked)
            y, channels = y + tall, c_out
        return y, channels

    y, channels = layers(view["residual"], y, channels)
    picture.line([(axis, y), (axis, y + 36)], SOFT)
    y += 21
    picture.line([(axis - view["c_in"] * scale / 2, top + 6), (side, top + 6), (side, y), (axis, y)], SOFT, width=2)
    picture.polygon([(axis + 11 * dx, y + 11 * dy) for dx, dy in CIRCLE], PAPER_WHITE, edge=SOFT, line=1.5)
    picture.line([(axis - 6, y), (axis + 6, y)], INK)
    picture.line([(axis, y - 6), (axis, y + 6)], INK)
    _draw_shortcut(picture, view, side, (top + y) / 2, scale / 3, marked)
    y, channels = layers(view["closing"], y + 11, channels)
    draw_stream_bar(picture, axis, words_at, y + 8, channels * scale, f"out: {view['c_out']} × {view['size_out']}")


def draw_stream_bar(picture, axis, words_at, y, width, words):
    """What goes into a block or comes out of it."""
    picture.box(axis - width / 2, y, width, 12, STREAM)
    picture.text(words_at, y + 11, words, color=SOFT)


def _draw_shortcut(picture, view, side, middle, scale, marked):
    if not view["shortcut"]:
        put_label(picture, side - 10, middle, "identity", view["shortcut_changed"], anchor="end")
    y, widest = middle - 24, max((row.c_out * scale for row in view["shortcut"]), default=0)
    for row in view["shortcut"]:
        draw_layer(picture, row, side, y, row.c_in * scale, row.c_out * scale, row in marked, view["tips"][row.name])
        words_at = side - max(widest / 2, 12) - 6
        label_layer(picture, words_at, y + height_of(row) / 2, row.words.split(", "), row in marked, "end")
        y += height_of(row) + 8


def label_layer(picture, x, y, lines, marked, anchor="start"):
    """What a layer is, in lines centred on y; only the first carries the ◆, and groups have a line of their own. Of
    more than three lines the others stand above, for below is the next layer's word."""
    lines = [*re.split(r" (?=in \d+ groups)", lines[0]), *lines[1:]]
    for number, words in enumerate(lines):
        base = y + 5 + 15 * (number - max((len(lines) - 1) / 2, len(lines) - 2))
        put_label(picture, x, base, words, marked, anchor, sign="" if number else "◆ ")


def draw_layer(picture, row, axis, y, top, bottom, marked, tip):
    """A layer, ``top`` pixels wide where channels come in and ``bottom`` where they go out, with strips for groups."""
    tall = height_of(row)
    corners = [(axis - top / 2, y), (axis + top / 2, y), (axis + bottom / 2, y + tall), (axis - bottom / 2, y + tall)]
    picture.polygon(corners, _FILL[row.kind], tip=tip, **_edge(marked))
    # Strips for the groups, between which nothing is mixed; no closer than the eye can part them.
    strips = min(row.strips, round(bottom / 5))
    for strip in range(1, strips):
        x = axis + bottom * (strip / strips - 0.5)
        picture.line([(x, y + 3), (x, y + tall - 3)], PAPER_WHITE, width=1)


def draw_design(
    architecture: Architecture, beside: Mapping[str, Architecture], widest: int, stage: int = 1, block: int = 2
) -> Diagram:
    """One block of a design and its cost as bars, with marks where other networks stand.

    Args:
        beside: what to compare with, by name.
        widest: how many channels fill the width, so that designs drawn with the same number have one scale.
        stage, block: which block, counted from 1.
    """
    view = block_view(architecture, stage, block)
    height = 150 + sum(height_of(row) + 8 for row in view["residual"] + view["closing"])
    bars = []
    for kind in COSTS:
        value, *others = (kind.of(count(model)) for model in (architecture, *beside.values()))
        bars.append((kind, value, dict(zip(beside, others, strict=True))))
    described = ", ".join(f"{kind.title} {in_units(value)}{kind.symbol}" for kind, value, _ in bars)
    height = max(height, BARS_TOP + BAR_ROOM * len(bars))
    picture = Diagram(1120, height, f"Block {block} of stage {stage}: {in_words(view['residual'])}; {described}.")
    picture.text(10, 24, f"stage {stage}, block {block}", size=15, bold=True)
    draw_column(picture, view, -70, 300, 300 / widest, set())
    left, wide = 690, 400
    for number, (kind, value, marks) in enumerate(bars):
        y = BARS_TOP + BAR_ROOM * number
        pixels = wide / (1.6 * max(marks.values()))
        picture.text(left, y, f"{kind.title}: {in_units(value)}{kind.symbol}", bold=True)
        picture.box(left, y + 10, min(value * pixels, wide), 22, SPATIAL)
        if value * pixels > wide:
            picture.text(left + wide - 4, y + 27, "»", anchor="end", color=PAPER_WHITE, bold=True)
        for name, mark in marks.items():
            x = left + mark * pixels
            picture.line([(x, y + 6), (x, y + 38)], CHANGED, width=2)
            anchor = "end" if mark < max(marks.values()) else "start"
            picture.text(
                x, y + 52, f"{name}: {in_units(mark)}{kind.symbol}", size=12, anchor=anchor, color=CHANGED_WORDS
            )
    return picture


BARS_TOP, BAR_ROOM = 60, 90  # where a design's first bar begins, and the height of each with its words


def draw_network(
    before: Model,
    after: Model | None = None,
    image_size: int = 224,
    names: tuple[str, str] = ("before", "after"),
) -> Diagram:
    """The whole network as a strip of blocks, or two strips under each other in one scale: every block as high as its
    channels, with the stream between them.

    An hourglass is wide outside and narrow inside, a barrel the other way round. Marked is what looks different, unless
    that is more than half of a strip, where a mark would say nothing.
    """
    views = [_network_view(model, image_size) for model in (before, after) if model is not None]
    marked = _changed_parts(*views) if after is not None else [set()]
    if any(len(parts) > len(view) / 2 for parts, view in zip(marked, views, strict=True)):
        marked = [set() for _ in views]
    scale = 140 / max(max(part["heights"]) for view in views for part in view)
    unit = 960 / max(sum(part["width"] for part in view) for view in views)
    titles = titles_of(before, after, names)
    described = "; then ".join(_stages_in_words(view) for view in views)
    picture = Diagram(1060, STRIP * len(views) + 26, f"The network as a strip of blocks: {described}.")
    for number, (view, title) in enumerate(zip(views, titles, strict=True)):
        macs, params = (in_units(sum(part[key] for part in view)) for key in ("macs", "params"))
        heading = ", ".join(filter(None, (title, f"{macs} multiply-adds", f"{params} parameters")))
        picture.text(10, STRIP * number + 24, heading, size=15, bold=True)
        _draw_strip(picture, view, STRIP * number, unit, scale, marked[number])
    _draw_legend(picture)
    return picture


STRIP, GAP = 270, 9  # height of one network's strip; between two blocks, in pixels


def _draw_strip(picture, view, top, unit, scale, marked):
    axis = top + 126
    x = 10
    for stage in dict.fromkeys(part["stage"] for part in view):
        start = x + GAP
        parts = [(index, part) for index, part in enumerate(view) if part["stage"] == stage]
        for index, part in parts:
            if index:
                stream = max(2, part["heights"][0] * scale)
                picture.box(x, axis - stream / 2, GAP if index > parts[0][0] else 2 * GAP, stream, STREAM)
            x += GAP if index > parts[0][0] else 2 * GAP
            wide = part["width"] * unit - GAP
            outline = _outline(x, wide, axis, part["heights"], scale)
            picture.polygon(outline, part["fill"], tip=part["tip"], **_edge(index in marked))
            beside = max(max(near["heights"]) for near in view[max(0, index - 1) : index + 2])
            for line, words in enumerate(reversed(part["label"])):
                picture.text(x + wide / 2, axis - beside * scale / 2 - 8 - 14 * line, words, size=12, anchor="middle")
            x += wide
        middle = (start + x) / 2
        put_label(picture, middle, top + 224, stage, any(index in marked for index, _ in parts), "middle")
        for line, words in enumerate(parts[-1][1]["notes"]):
            picture.text(middle, top + 242 + 16 * line, words, anchor="middle", color=SOFT)


def _outline(x, wide, axis, heights, scale):
    """A part as a polygon: straight where channels go in and come out, so that an hourglass is none of two halves of
    diamonds, and straight inside."""
    going_in, inside, coming_out = heights
    places = (0, 0.2, 0.4, 0.6, 0.8, 1)
    channels = (going_in, going_in, inside, inside, coming_out, coming_out)
    upper = [(x + place * wide, axis - max(2, high * scale) / 2) for place, high in zip(places, channels, strict=True)]
    return upper + [(px, 2 * axis - py) for px, py in reversed(upper)]


def _draw_legend(picture):
    x = 640
    for words, fill in (("a block", POINTWISE), ("the stream", STREAM), ("stem, downsampling", SPATIAL)):
        picture.box(x, 12, 14, 14, fill)
        picture.text(x + 20, 24, words, color=SOFT)
        x += 46 + 7.6 * len(words)


def _network_view(model, image_size):
    """The parts of a strip, from left to right, as dictionaries."""
    network = build_on_meta(model)
    cost = count(model, image_size)
    macs = cost.by_stage("macs")
    view = []

    def add(stage, name, width, heights, fill, words, label=()):
        mine = [layer for layer in cost.layers if layer.name.startswith(f"{name}.")]
        params, mine_macs = (sum(getattr(layer, key) for layer in mine) for key in ("params", "macs"))
        shape = "×".join(map(str, mine[-1].shape_out))
        tip = f"{words}: out {shape}, {in_units(params)} parameters, {in_units(mine_macs)} multiply-adds"
        part = {
            "stage": stage,
            "width": width,
            "heights": heights,
            "fill": fill,
            "label": label,
            "tip": tip,
            "macs": mine_macs,
            "params": params,
        }
        view.append({**part, "notes": (in_units(macs[stage]),)})

    channels = _channels_out(network.stem)
    add("stem", "stem", 1.2, (3, channels, channels), SPATIAL, "stem")
    for number, (transition, stage) in enumerate(zip(network.transitions, network.stages, strict=True)):
        title = f"stage {number + 1}"
        rows = describe_layers(transition)
        if rows:
            before, channels = channels, _channels_out(transition)
            label = [row.words.split(" ")[0] + (" /2" if row.kind == "spatial" else "") for row in rows]
            add(
                title,
                f"transitions.{number}",
                0.6,
                (before, before, channels),
                SPATIAL,
                f"downsampling before {title}",
                label,
            )
        for index, block in enumerate(stage):
            convs = [row for row in describe_layers(block.residual) if row.kind in ("spatial", "pointwise")]
            heights = (channels, convs[-1].c_in, convs[-1].c_out)
            add(title, f"stages.{number}.{index}", 1, heights, POINTWISE, f"{title}, block {index + 1}")
            channels = convs[-1].c_out
        size = next(layer.shape_out for layer in reversed(cost.layers) if layer.name.startswith(f"stages.{number}."))
        view[-1]["notes"] = (f"{len(stage)} blocks at {size[1]}×{size[2]}", in_units(macs[title]))
    add("head", "head", 0.8, (channels, channels, _channels_out(network.head)), STREAM, "head")
    return view


def _stages_in_words(view):
    return ", ".join(f"{part['stage']} {part['notes'][0]}" for part in view if len(part["notes"]) > 1)


def _changed_parts(before, after):
    """For each of two strips, the indices of the parts that differ."""
    marked = (set(), set())
    for stage in dict.fromkeys(part["stage"] for part in before + after):
        a, b = ([index for index, part in enumerate(view) if part["stage"] == stage] for view in (before, after))
        shapes = [[view[i]["heights"] for i in places] for view, places in ((before, a), (after, b))]
        # What is new stands at the end of a stage, or at its beginning where that has changed.
        turn = -1 if shapes[0][:1] != shapes[1][:1] else 1
        places = a[::turn], b[::turn]
        matcher = SequenceMatcher(None, *(shape[::turn] for shape in shapes), autojunk=False)
        for verb, a0, a1, b0, b1 in matcher.get_opcodes():
            if verb != "equal":
                marked[0].update(places[0][a0:a1])
                marked[1].update(places[1][b0:b1])
    return marked


def block_view(model, stage, block):
    """Everything that a block's diagram shows, read off the network."""
    network = build_on_meta(model)
    depths = [len(blocks) for blocks in network.stages]
    if not 1 <= stage <= len(depths) or not 1 <= block <= depths[stage - 1]:
        raise DrawingError(f"There is no block {block} in stage {stage}; the stages have {depths} blocks, from 1 on.")
    name = f"stages.{stage - 1}.{block - 1}"
    module = network.get_submodule(name)
    layers = {layer.name: layer for layer in count(model).layers if layer.name.startswith(f"{name}.")}
    parts = {
        "residual": describe_layers(module.residual, f"{name}.residual"),
        "shortcut": describe_layers(module.shortcut, f"{name}.shortcut"),
        "closing": describe_layers(module.after_addition, f"{name}.after_addition"),
    }
    shape_in, shape_out = layers[parts["residual"][0].name].shape_in, layers[parts["residual"][-1].name].shape_out
    macs, params = (sum(getattr(layer, key) for layer in layers.values()) for key in ("macs", "params"))
    return {
        **parts,
        "shortcut_changed": False,
        "c_in": shape_in[0],
        "c_out": shape_out[0],
        "size_in": f"{shape_in[1]}×{shape_in[2]}",
        "size_out": f"{shape_out[1]}×{shape_out[2]}",
        "tips": {row.name: tip_of(row, layers[row.name]) for rows in parts.values() for row in rows},
        "sum": f"{in_units(params)} parameters, {in_units(macs)} multiply-adds at 224 px",
    }


def changed_rows(before, after):
    """For each of two blocks, the layers that differ: those that are other, wider or in another place. A norm or an
    activation that moves along with its convolution is not marked as well."""
    marked = (set(), set())
    for part in ("residual", "shortcut", "closing"):
        pairs = _paired(before[part], after[part])
        gone = {row for row, other in pairs if other is None}
        new = {other for row, other in pairs if row is None}
        along = {row.words for row in gone if row.kind not in _CONVOLUTIONS} & {row.words for row in new}
        changed = [(row, other) for row, other in pairs if row and other and row.words != other.words]
        marked[0].update(row for row in gone if row.words not in along)
        marked[1].update(row for row in new if row.words not in along)
        marked[0].update(row for row, _ in changed)
        marked[1].update(other for _, other in changed)
    before["shortcut_changed"] = after["shortcut_changed"] = bool(before["shortcut"]) != bool(after["shortcut"])
    return marked


_CONVOLUTIONS = ("spatial", "pointwise")


def _paired(before, after):
    """Two lists of layers side by side in their order, None where one has no partner: only layers of a kind are
    partners, best those that are the same, and convolutions count more than what stands between them."""

    def worth(row, other):
        return (4 if row.kind in _CONVOLUTIONS else 1) * (2 if row.words == other.words else 1)

    best = {(i, j): (0, None) for i in range(len(before) + 1) for j in range(len(after) + 1)}
    for i, j in product(range(1, len(before) + 1), range(1, len(after) + 1)):
        row, other = before[i - 1], after[j - 1]
        choices = [(best[i - 1, j][0], (1, 0)), (best[i, j - 1][0], (0, 1))]
        if row.kind == other.kind:
            choices.append((best[i - 1, j - 1][0] + worth(row, other), (1, 1)))
        best[i, j] = max(choices)
    pairs, i, j = [], len(before), len(after)
    while i or j:
        back_i, back_j = best[i, j][1] or (int(i > 0), int(i == 0))
        pairs.append((before[i - 1] if back_i else None, after[j - 1] if back_j else None))
        i, j = i - back_i, j - back_j
    return pairs[::-1]


def in_words(rows):
    """Some layers in a row of words."""
    return ", ".join(row.words for row in rows) or "identity"


def titles_of(before, after, names):
    """What stands over one or two pictures: their names, with the step where an architecture is one of the road's. A
    module may have been changed since it was built, and has no step."""
    titles = []
    for model, name in zip((before, after), names if after is not None else ("",), strict=False):
        step = step_of(model) if isinstance(model, Architecture) else None
        titles.append(": ".join(filter(None, (name, f"step {step}" if step else ""))))
    return titles


def tip_of(row, layer):
    """What a layer tells of itself under the pointer."""
    shape_in, shape_out = ("×".join(map(str, shape)) for shape in (layer.shape_in, layer.shape_out))
    words = row.words.split(",")[0]
    return f"{words}: {shape_in} → {shape_out}, {layer.params:,} parameters, {in_units(layer.macs)} multiply-adds"


def put_label(picture, x, y, words, changed, anchor="start", sign="◆ "):
    """Words, with a mark where something has changed."""
    if changed:
        picture.text(x, y, sign + words, anchor=anchor, color=CHANGED_WORDS, bold=True)
    else:
        picture.text(x, y, words, anchor=anchor)


def _channels_out(module):
    return next(row.c_out for row in reversed(describe_layers(module)) if row.c_out)


def _edge(marked):
    return {"edge": CHANGED, "line": 3} if marked else {}


def height_of(row):
    """Of a layer in a block's diagram, in pixels."""
    return 34 if row.kind in ("spatial", "pointwise") else 12


def in_units(number):
    """A count with a prefix, such as 4.09 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


_FILL = {
    "spatial": SPATIAL,
    "pointwise": POINTWISE,
    "norm": NORM,
    "activation": ACTIVATION,
    "scale": SCALE,
    "other": STREAM,
}

CIRCLE = [(math.cos(turn * math.pi / 16), math.sin(turn * math.pi / 16)) for turn in range(32)]
