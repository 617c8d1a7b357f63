"""Slides of networks and blocks: three networks beside each other, all twelve blocks, blocks before and after.

Drawn for a large room from the same modules as the lessons' diagrams, in the same language of colours: a layer is as
wide as its channels, and a thick vermilion edge marks what has changed.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torchvision.models import swin_t

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
from convnext_lessons.model.cost import count
from convnext_lessons.model.layers import build_on_meta, describe_layers
from convnext_lessons.model.roadmap import LAST_STEP, SWIN_T, TITLES, architecture_after, paper_after
from convnext_lessons.publish.slide_canvas import (
    ATTENTION,
    BODY,
    HEIGHT,
    LARGE,
    PAPER_SOURCE,
    SMALL,
    WIDTH,
    SlideFigure,
    gain,
    signed,
)

FILL = {
    "spatial": SPATIAL,
    "pointwise": POINTWISE,
    "norm": NORM,
    "activation": ACTIVATION,
    "scale": SCALE,
    "other": STREAM,
}


def draw_all_blocks() -> SlideFigure:
    """The block of every step in a row, without words but for its colours."""
    alt = "The blocks of all twelve networks in a row, from ResNet-50's to ConvNeXt-T's."
    picture = SlideFigure(alt, height=480)  # the first slide has a larger title
    draw_row_of_blocks(picture, 4, 10, WIDTH - 4, 1.35)
    picture.source("Light blue: 1×1. Dark blue: 3×3 or 7×7. Green: norm. Yellow: activation. Pink: layer scale.")
    return picture


def draw_row_of_blocks(
    picture: SlideFigure, left: float, top: float, width: float, scale: float, numbers: bool = True
) -> None:
    """Second block of stage 1 of every step, side by side on one ground line, with its number below if wanted."""
    room = width / (LAST_STEP + 1)
    tallest = max(_height(_rows(architecture_after(step)), scale) for step in range(LAST_STEP + 1))
    for step in range(LAST_STEP + 1):
        architecture = architecture_after(step)
        rows, axis = _rows(architecture), left + room * (step + 0.53)
        draw_block_at(picture, architecture, axis, top + tallest - _height(rows, scale), room * 0.74, scale)
        if numbers:
            ends = step in (0, LAST_STEP)
            picture.text(axis, top + tallest + 34, str(step), BODY, "middle", INK if ends else SOFT, bold=ends)


def draw_three_networks() -> SlideFigure:
    """ResNet-50, Swin-T and ConvNeXt-T as strips of blocks, each as high as its channels, with what each costs."""
    resnet, convnext = architecture_after(0), architecture_after(LAST_STEP)
    networks = (
        ("ResNet-50", "2015", resnet, _strip(resnet), f"{paper_after(0).accuracy:.1f} %", "with modern training"),
        ("Swin-T", "2021", swin_t, _swin_strip(), f"{SWIN_T.accuracy:.1f} %", "attention in windows"),
        (
            "ConvNeXt-T",
            "2022",
            convnext,
            _strip(convnext),
            f"{paper_after(LAST_STEP).accuracy:.1f} %",
            "no attention",
        ),
    )
    words = []
    picture = SlideFigure("")
    for number, (name, year, network, stages, accuracy, remark) in enumerate(networks):
        top, cost = 162 * number, count(network)
        costs = f"{cost.macs / 1e9:.1f} G multiply-adds", f"{cost.params / 1e6:.0f} M parameters"
        picture.text(0, top + 66, name, size=26, bold=True)
        for line, text in enumerate((year, remark)):
            picture.text(0, top + 94 + 24 * line, text, size=SMALL, color=SOFT)
        _draw_strip(picture, stages, 210, top + 74, 630, 140 / 3072)
        picture.text(870, top + 58, accuracy, size=LARGE, bold=True, color=SPATIAL)
        for line, text in enumerate(costs):
            picture.text(870, top + 88 + 25 * line, text, size=BODY - 2)
        words.append(f"{name}, {year}: {accuracy} {remark}, {', '.join(costs)}, {_blocks(stages)} blocks")
    picture.source("Height: channels. Light: 1×1 and linear layers; orange: attention. Accuracies: paper, Table 10.")
    picture.alt = f"Three networks as strips of blocks. {'; '.join(words)}."
    return picture


def draw_first_two_steps() -> SlideFigure:
    """The whole network before and after steps 1 and 2; what has changed is marked."""
    picture = SlideFigure("")
    ends = [architecture_after(step) for step in (0, 2)]
    before, after = map(_strip, ends)
    for number, (title, stages) in enumerate((("before", before), ("after", after))):
        top = 215 * number
        changed = {index for index in range(5) if len(before[index]) != len(after[index]) or not index}
        _draw_strip(picture, stages, 150, top + 100, 680, 160 / 2048, changed)
        picture.text(0, top + 84, title, size=26, bold=True)
        picture.text(0, top + 110, "stem:", size=SMALL, color=CHANGED_WORDS)
        for line, words in enumerate(_stem_in_words(ends[number])):
            picture.text(0, top + 132 + 22 * line, words, size=SMALL, color=CHANGED_WORDS)
        _label_stages(picture, stages, 150, top + 207, 680, changed)
    for number, step in enumerate((1, 2)):
        words = (f"{step} {TITLES[step]}", f"{count(architecture_after(step)).macs / 1e9:.2f} G multiply-adds")
        picture.headline(880, 90 + 130 * number, gain(step, step - 1), words)
    spread = f"± {paper_after(2).spread:.2f}: the spread of its seeds"
    picture.text(880, 90 + 130 + 80, spread, size=SMALL, color=CHANGED_WORDS)
    picture.source(PAPER_SOURCE)
    picture.alt = (
        f"The network before and after steps 1 and 2: {_blocks(before)} blocks become {_blocks(after)}, and the stem "
        f"one 4×4 convolution; the paper gains {gain(1, 0)} and {gain(2, 1)} points."
    )
    return picture


def draw_blocks(steps: Sequence[int | str], notes: Mapping[int | str, str]) -> SlideFigure:
    """The block after each of some steps in columns with words, marked where it differs from the column before.

    Args:
        notes: what stands over a column in place of the step's title.
    """
    picture = SlideFigure("")
    column = WIDTH / len(steps)
    described, before = [], None
    for number, step in enumerate(steps):
        architecture, left = architecture_after(step), column * number
        paper = paper_after(step)
        picture.text(left, 26, notes[step], size=24, bold=True)
        draw_block_at(picture, architecture, left + 95, 56, 150, 1.25, before, words=True)
        macs = f"{count(architecture).macs / 1e9:.2f} G multiply-adds"
        points = "" if before is None else f"  ({gain(step, steps[number - 1])})"
        picture.text(left, HEIGHT - 74, f"{paper.accuracy:.2f} %{points}", size=26, bold=True, color=SPATIAL)
        picture.text(left, HEIGHT - 44, macs, size=BODY - 2)
        described.append(f"{notes[step]}: {_in_words(architecture)}, {paper.accuracy:.2f} %, {macs}")
        before = architecture
    picture.source(PAPER_SOURCE)
    picture.alt = f"Blocks beside each other. {'; '.join(described)}."
    return picture


def draw_micro_steps() -> SlideFigure:
    """The block before and after steps 7 to 10, and what each of them gains in the paper."""
    before, after = architecture_after(6), architecture_after(10)
    picture = SlideFigure("")
    for number, (title, architecture, than) in enumerate((("step 6", before, None), ("step 10", after, before))):
        left = 390 * number
        picture.text(left, 26, title, size=24, bold=True)
        draw_block_at(picture, architecture, left + 110, 56, 170, 1.5, than, words=True)
    for number, step in enumerate(range(7, 11)):
        gained = paper_after(step).accuracy - paper_after(step - 1).accuracy
        color = SPATIAL if gained > paper_after(step).spread else SOFT
        picture.headline(840, 100 + 96 * number, signed(gained), (f"{step} {TITLES[step]}",), color)
    picture.source(f"{PAPER_SOURCE} Grey: no more than the spread of its own seeds.")
    gains = ", ".join(f"step {step} {gain(step, step - 1)}" for step in range(7, 11))
    picture.alt = (
        f"The block at step 6: {_in_words(before)}; at step 10: {_in_words(after)}. The paper's gains: {gains}."
    )
    return picture


def draw_downsampling() -> SlideFigure:
    """Which positions a strided 1×1 shortcut reads, and which a 2×2 layer between the stages reads."""
    side, cells = 42, 8
    picture = SlideFigure("")
    read = {"1×1, stride 2": lambda x, y: x % 2 == y % 2 == 0, "2×2, stride 2": lambda x, y: True}
    shares = []
    for number, (title, reads) in enumerate(read.items()):
        left, top = 420 * number, 50
        places = [(x, y) for x in range(cells) for y in range(cells)]
        for x, y in places:
            fill = SPATIAL if reads(x, y) else "#DDDDDD"
            picture.box(left + side * x + 2, top + side * y + 2, side - 4, side - 4, fill)
        share = sum(reads(*place) for place in places) / len(places)
        shares.append(f"{title} reads {100 * share:.0f} %")
        picture.text(left, 26, title, size=24, bold=True)
        picture.text(left, top + side * cells + 38, f"{100 * share:.0f} % of the positions", size=26, bold=True)
        after = ("the old shortcut", "a layer of its own, behind a norm")[number]
        picture.text(left, top + side * cells + 68, after, size=BODY - 1, color=SOFT)
    end = paper_after(LAST_STEP).accuracy
    picture.headline(860, 100, gain(LAST_STEP, LAST_STEP - 1), (f"{LAST_STEP} {TITLES[LAST_STEP]}",))
    picture.headline(860, 210, f"{end:.2f} %", ("this is ConvNeXt-T",))
    picture.headline(860, 320, signed(end - SWIN_T.accuracy), ("points beside Swin-T",))
    picture.source(PAPER_SOURCE)
    picture.alt = f"Two grids of positions: {'; '.join(shares)}. The paper reaches {end:.2f} %."
    return picture


def draw_block_at(
    picture: SlideFigure,
    architecture: Architecture,
    axis: float,
    top: float,
    room: float,
    scale: float,
    before: Architecture | None = None,
    words: bool = False,
) -> None:
    """Second block of stage 1 from top to bottom around an axis, its widest layer as wide as the room.

    Args:
        scale: of the heights; 1 makes a convolution 34 pixels high.
        before: another network; layers that its block has not are marked.
        words: whether each layer is named at the right.
    """
    rows = _rows(architecture)
    unit = room / _WIDEST
    changed = _changed(_rows(before), rows) if before is not None else set()
    channels, side, y = architecture.stream(0), axis - room / 2 - 10, top
    picture.box(axis - channels * unit / 2, y, channels * unit, 8 * scale, STREAM)
    y += 8 * scale
    for index, (row, closing) in enumerate(rows):
        if closing:
            y = _draw_addition(picture, axis, side, top, y, channels * unit, scale)
        c_in, c_out, tall = row.c_in or channels, row.c_out or channels, _tall(row) * scale
        marked = index in changed
        y += 7 * scale
        corners = [(-c_in, y), (c_in, y), (c_out, y + tall), (-c_out, y + tall)]
        edge = {"edge": CHANGED, "line": 3} if marked else {}
        picture.polygon([(axis + dx * unit / 2, py) for dx, py in corners], FILL[row.kind], **edge)
        if words:
            color = CHANGED_WORDS if marked else INK
            x = axis + room / 2 + 16
            picture.text(x, y + tall / 2 + 7, row.words.replace(" conv,", ","), size=BODY - 3, color=color, bold=marked)
        y, channels = y + tall, c_out
    if not any(closing for _, closing in rows):
        y = _draw_addition(picture, axis, side, top, y, architecture.stream(0) * unit, scale)
    picture.box(axis - channels * unit / 2, y + 7 * scale, channels * unit, 8 * scale, STREAM)


_WIDEST = 384  # channels of the widest layer of the road's first stage


def _draw_addition(picture, axis, side, top, y, width, scale):
    """The shortcut's line around the block, and the circle where it comes back; returns the height below it."""
    middle, radius = y + 16 * scale, 9 * scale
    picture.line([(axis, y), (axis, middle + radius)], SOFT)
    picture.line(
        [(axis - width / 2, top + 4 * scale), (side, top + 4 * scale), (side, middle), (axis, middle)], SOFT, 2
    )
    corners = [
        (axis + radius * dx, middle + radius * dy) for dx, dy in ((-1, -0.42), (-0.42, -1), (0.42, -1), (1, -0.42))
    ]
    corners += [(2 * axis - x, 2 * middle - py) for x, py in corners]
    picture.polygon(corners, PAPER_WHITE, edge=SOFT, line=1.5)
    picture.line([(axis - radius / 2, middle), (axis + radius / 2, middle)], INK)
    picture.line([(axis, middle - radius / 2), (axis, middle + radius / 2)], INK)
    return middle + radius


def _rows(architecture):
    """The layers of stage 1's second block, each with whether it stands behind the addition."""
    block = build_on_meta(architecture).stages[0][1]
    inside = [(_without_bias(row), False) for row in describe_layers(block.residual)]
    return inside + [(row, True) for row in describe_layers(block.after_addition)]


def _without_bias(row):
    """A layer without the remark on its bias, which is too small a thing for a slide."""
    return replace(row, words=row.words.removesuffix(" + bias"))


def _changed(before, after):
    """The indices of layers that a block has not got from another, in words and in order."""
    old, new = ([row.words for row, _ in rows] for rows in (before, after))

    @functools.cache
    def kept(i, j):
        """The longest common part of what follows, as indices of ``new``."""
        if i == len(old) or j == len(new):
            return ()
        if old[i] == new[j]:
            return (j, *kept(i + 1, j + 1))
        return max(kept(i + 1, j), kept(i, j + 1), key=len)

    return set(range(len(new))) - set(kept(0, 0))


def _tall(row):
    return 34 if row.kind in ("spatial", "pointwise") else 12


def _height(rows, scale):
    return scale * (8 + sum(_tall(row) + 7 for row, _ in rows) + 25 + 15)


def _in_words(architecture):
    return ", ".join(row.words for row, _ in _rows(architecture))


def _strip(architecture):
    """A network's stem and stages as lists of parts; a part is (width, heights, fill)."""
    stem = [(0.6, (3, architecture.width, architecture.width), SPATIAL)]
    stages = []
    for stage, depth in enumerate(architecture.depths):
        outside, inside = architecture.stream(stage), architecture.inside(stage)
        stages.append([(1, (outside, inside, outside), POINTWISE)] * depth)
    return [stem, *stages]


def _swin_strip():
    """The same of Swin-T: every block an attention, as high as the stream, and an MLP four times as high inside."""
    network = swin_t()
    stages = [network.features[index] for index in (1, 3, 5, 7)]
    widths = [blocks[0].norm1.normalized_shape[0] for blocks in stages]
    insides = [blocks[0].mlp[0].out_features for blocks in stages]
    parts = [
        [(0.5, (width, width, width), ATTENTION), (1, (width, inside, width), POINTWISE)] * len(blocks)
        for blocks, width, inside in zip(stages, widths, insides, strict=True)
    ]
    return [[(0.6, (3, widths[0], widths[0]), SPATIAL)], *parts]


def _blocks(stages):
    return ", ".join(str(sum(fill == POINTWISE for *_, fill in stage)) for stage in stages[1:])


def _stem_in_words(architecture):
    rows = describe_layers(build_on_meta(architecture).stem)
    return [row.words.split(",")[0] for row in rows if row.kind in ("spatial", "other")]


def _places(stages, left, width):
    """Left edges of every part, by stage, and how wide a part of width 1 is."""
    parts = [part for stage in stages for part in stage]
    unit = (width - 14 * len(stages) - 4 * len(parts)) / sum(wide for wide, *_ in parts)
    x, places = left, []
    for stage in stages:
        places.append([])
        for wide, *_ in stage:
            places[-1].append(x)
            x += wide * unit + 4
        x += 14
    return places, unit


def _draw_strip(picture, stages, left, axis, width, scale, changed=()):
    places, unit = _places(stages, left, width)
    for index, (stage, lefts) in enumerate(zip(stages, places, strict=True)):
        edge = {"edge": CHANGED, "line": 2.5} if index in changed else {}
        for (wide, heights, fill), x in zip(stage, lefts, strict=True):
            upper = [
                (x + wide * unit * at, -max(3, high * scale) / 2) for at, high in zip((0, 0.5, 1), heights, strict=True)
            ]
            outline = [(px, axis + dy) for px, dy in upper] + [(px, axis - dy) for px, dy in reversed(upper)]
            picture.polygon(outline, fill, **edge)


def _label_stages(picture, stages, left, y, width, changed):
    """The number of blocks of each stage under a strip."""
    places, unit = _places(stages, left, width)
    for index, (stage, lefts) in enumerate(zip(stages[1:], places[1:], strict=True), start=1):
        middle = (lefts[0] + lefts[-1] + stage[-1][0] * unit) / 2
        color = CHANGED_WORDS if index in changed else INK
        picture.text(middle, y, f"{len(stage)} blocks", BODY - 1, "middle", color, bold=index in changed)
