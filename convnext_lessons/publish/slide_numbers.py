"""Slides of numbers: where the points come from, the recipe, the road, kernels, costs, and our own short runs.

The paper's accuracies are those of ``model.roadmap``, costs are counted, times are the stored paired ratios of
``bench.json``, and all that is said of our own runs is worked out from the stored ones when the slide is drawn.
"""

import io

from matplotlib.cbook import get_sample_data
from PIL import Image
from torchvision.models import convnext, swin_transformer

from convnext_lessons.classroom.source import count_lines
from convnext_lessons.figures.palette import CHANGED, FAINT, INK, NORM, POINTWISE, SOFT, SPATIAL, STREAM
from convnext_lessons.model.cost import count
from convnext_lessons.model.roadmap import (
    LAST_STEP,
    PAPER_STEPS,
    START,
    SWIN_T,
    TITLES,
    architecture_after,
    paper_after,
)
from convnext_lessons.model.timing import TimeRatio
from convnext_lessons.publish.slide_canvas import (
    ATTENTION,
    BODY,
    HEIGHT,
    LARGE,
    ON_DARK,
    ON_LIGHT,
    PAPER_SOURCE,
    SMALL,
    WIDTH,
    SlideFigure,
    color_of_change,
    gain,
    signed,
)
from convnext_lessons.runs.recipes import ORIGINAL, PAPER
from convnext_lessons.runs.records import read_measurements
from convnext_lessons.runs.significance import compare_steps
from convnext_lessons.runs.times import stored_time_ratio

ORIGINAL_ACCURACY = 76.13  # ResNet-50 with its original training, the paper's Table 10


def draw_points() -> SlideFigure:
    """Where the points between the first ResNet-50 and ConvNeXt-T come from: training, then eleven steps."""
    end = paper_after(LAST_STEP).accuracy
    picture = SlideFigure("")
    low, high, left, width = 75.6, 82.4, 30, WIDTH - 60

    def at(accuracy):
        return left + width * (accuracy - low) / (high - low)

    top, tall = 170, 130
    parts = (
        (ORIGINAL_ACCURACY, START.accuracy, CHANGED, ON_DARK, "training alone"),
        (START.accuracy, end, SPATIAL, ON_DARK, "eleven steps"),
    )
    for begin, stop, fill, ink, words in parts:
        picture.box(at(begin), top, at(stop) - at(begin), tall, fill)
        middle = (at(begin) + at(stop)) / 2
        picture.text(middle, top + 62, signed(stop - begin), 44, "middle", ink, bold=True)
        picture.text(middle, top + 100, words, 26, "middle", ink)
    stops = (
        (ORIGINAL_ACCURACY, "ResNet-50", "older training"),
        (START.accuracy, "ResNet-50", "the same network"),
        (end, "ConvNeXt-T", ""),
    )
    for accuracy, name, remark in stops:
        x, anchor = at(accuracy), "end" if accuracy == end else "middle"
        picture.line([(x, top + tall), (x, top + tall + 22)], INK, 2)
        for line, (words, size, bold) in enumerate(
            ((f"{accuracy:.2f} %", 28, True), (name, 22, False), (remark, 22, False))
        ):
            x_words = x + (40 if anchor == "end" else 0)
            picture.text(x_words, top + tall + 56 + 30 * line, words, size, anchor, bold=bold)
    swin = at(SWIN_T.accuracy)
    picture.line([(swin, top - 60), (swin, top)], NORM, 3)
    picture.text(swin, top - 74, f"Swin-T {SWIN_T.accuracy:.1f} %", 24, "middle", NORM, bold=True)
    picture.source(PAPER_SOURCE)
    picture.alt = (
        f"From {ORIGINAL_ACCURACY} % to {end} %: {signed(START.accuracy - ORIGINAL_ACCURACY)} points by training "
        f"ResNet-50 differently, {signed(end - START.accuracy)} by eleven steps; Swin-T has {SWIN_T.accuracy:.1f} %."
    )
    return picture


def draw_recipe() -> SlideFigure:
    """What the modern recipe does to pictures, labels and blocks, in six small pictures."""
    photograph, other = (_photograph(name) for name in ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png"))
    mixed = Image.blend(photograph, other, 0.35)
    cut = photograph.copy()
    cut.paste(other.crop((0, 0, 120, 120)), (0, 0))
    erased = photograph.copy()
    erased.paste(Image.effect_noise((90, 80), 90).convert("RGB"), (70, 60))
    turned = photograph.rotate(18, fillcolor=(124, 116, 104)).point(lambda value: value if value < 150 else 255 - value)
    tiles = (
        ("RandAugment", ("turn, shift,", "recolour"), turned),
        ("mixup", ("two pictures,", "two labels"), mixed),
        ("CutMix", ("a piece of", "another"), cut),
        ("erasing", ("noise in", "a box"), erased),
        ("label smoothing", (f"{100 * PAPER.label_smoothing:.0f} % spread", "over all classes"), _draw_smoothing),
        ("stochastic depth", (f"up to {100 * PAPER.stochastic_depth:.0f} % of", "blocks skipped"), _draw_skipped),
    )
    side, picture = 182, SlideFigure("")
    for number, (name, words, content) in enumerate(tiles):
        left, top = 398 * (number % 3), 226 * (number // 3)
        if callable(content):
            content(picture, left, top, side)
        else:
            jpeg = io.BytesIO()
            content.resize((2 * side, 2 * side)).save(jpeg, "jpeg", quality=80)
            picture.photograph(left, top, side, jpeg.getvalue())
        x = left + side + 14
        picture.text(x, top + 40, name, 19, bold=True)
        for line, text in enumerate(words):
            picture.text(x, top + 76 + 28 * line, text, BODY - 1, color=SOFT)
    longer = (
        f"And {PAPER.epochs} epochs instead of {ORIGINAL.epochs}, AdamW instead of SGD. "
        f"Together {signed(START.accuracy - ORIGINAL_ACCURACY)} points; nobody has published the split."
    )
    picture.text(0, HEIGHT - 32, longer, BODY - 1)
    picture.source("Liu et al. 2022, appendix A.1. Photographs: matplotlib's sample data.")
    picture.alt = (
        f"Six techniques of the modern recipe on a photograph: {', '.join(name for name, *_ in tiles)}. {longer}"
    )
    return picture


def _photograph(name):
    with Image.open(get_sample_data(name)) as opened:
        side = min(opened.size)
        left = (opened.width - side) // 2
        return opened.convert("RGB").crop((left, 0, left + side, side)).resize((224, 224))


def _draw_smoothing(picture, left, top, side):
    picture.box(left, top, side, side, FAINT)
    for number, share in enumerate((0.06, 0.06, 0.06, 1.0, 0.06, 0.06)):
        tall = share * (side - 30)
        picture.box(left + 14 + 28 * number, top + side - 10 - tall, 20, tall, CHANGED if share == 1.0 else SPATIAL)


def _draw_skipped(picture, left, top, side):
    picture.box(left, top, side, side, FAINT)
    skipped = {(1, 4), (3, 5)}
    for row in range(4):
        for place in range(6):
            here = (row, place) in skipped
            picture.box(
                left + 12 + 28 * place,
                top + 20 + 40 * row,
                24,
                28,
                FAINT if here else POINTWISE,
                edge=CHANGED if here else "none",
                line=2,
            )


def draw_big_road(covered: bool = False) -> SlideFigure:
    """The paper's accuracy at every step with its gain, or, covered, only where the road begins."""
    low, high, top, bottom, left = 78.4, 82.2, 52, 392, 64
    picture = SlideFigure("")

    def place(step, accuracy):
        return left + (WIDTH - 2 * left) * step / LAST_STEP, bottom - (bottom - top) * (accuracy - low) / (high - low)

    points = {step: place(step, paper_after(step).accuracy) for step in (0, *PAPER_STEPS)}
    if covered:
        for x, _ in list(points.values())[1:]:
            picture.box(x - 26, top, 52, bottom - top - 6, FAINT)
            picture.text(x, (top + bottom) / 2 + 40, "?", 38, "middle", ON_LIGHT, bold=True)
    _, swin = place(0, SWIN_T.accuracy)
    for piece in range(28):
        x = left - 30 + 40 * piece
        picture.line([(x, swin), (x + 24, swin)], NORM, 2.5)
    picture.text(left - 30, swin - 12, f"Swin-T {SWIN_T.accuracy:.1f}", 22, color=NORM, bold=True)
    if not covered:
        picture.line(list(points.values()), SPATIAL, 4)
    for step, (x, y) in points.items():
        _name_step(picture, step, x, bottom)
        if covered and step:
            continue
        draw_disc(picture, x, y, SPATIAL)
        if not step:
            picture.text(x - 26, y + 40, f"{START.accuracy:.2f}", 24, bold=True)
            continue
        gained = paper_after(step).accuracy - paper_after(step - 1).accuracy
        steep = step < LAST_STEP and points[step + 1][1] < y - 40  # the line would cross what stands above
        x, y = (x + 20 * (gained > 0), y + 42) if steep else (x, y - 20)
        picture.text(x, y, signed(gained), 22, "middle", color_of_change(gained), bold=True)
    if not covered:
        x, y = points[LAST_STEP]
        picture.text(x + 50, y - 50, f"{paper_after(LAST_STEP).accuracy:.2f} %", 28, "end", bold=True)
    picture.source(PAPER_SOURCE)
    told = [f"{TITLES[step]} {gain(step, step - 1)}" for step in PAPER_STEPS]
    picture.alt = (
        f"The road from {START.accuracy} %, its eleven steps covered; Swin-T stands at {SWIN_T.accuracy:.1f} %."
        if covered
        else f"The road from {START.accuracy} %: {', '.join(told)}; it ends at {paper_after(LAST_STEP).accuracy} %."
    )
    return picture


def _name_step(picture, step, x, y):
    """A step's number and title under the road, in two rows in turn."""
    lower = 48 * (step % 2)
    picture.line([(x, y + 8), (x, y + 20 + lower)], STREAM, 2)
    x = min(x, WIDTH - 66)
    name = f"{step} {TITLES[step]}"
    for line, words in enumerate(name.rsplit(" ", name.count(" ") - 1)):
        picture.text(x, y + 40 + lower + 21 * line, words, SMALL + 1, "middle")


def draw_disc(picture: SlideFigure, x: float, y: float, fill: str, radius: float = 10) -> None:
    """A small octagon, which at this size is a disc."""
    flat = 0.414 * radius
    corners = [(radius, flat), (flat, radius), (-flat, radius), (-radius, flat)]
    corners += [(-dx, -dy) for dx, dy in corners]
    picture.polygon([(x + dx, y + dy) for dx, dy in corners], fill)


def draw_costs_of_step(step: int) -> SlideFigure:
    """What a step does to multiply-adds, parameters, memory and time, each beside ResNet-50's."""
    picture = SlideFigure("")
    start, before, after = (count(architecture_after(number)) for number in (0, step - 1, step))
    rows = [
        (name, getattr(before, key) / getattr(start, key), getattr(after, key) / getattr(start, key))
        for name, key in (
            ("multiply-adds", "macs"),
            ("parameters", "params"),
            ("activation memory", "activation_bytes"),
        )
    ]
    rows.append(("time of a training step", *(time_of(number).median for number in (step - 1, step))))
    unit, left, told = 240, 330, []
    for number, (name, old, new) in enumerate(rows):
        top = 16 + 112 * number
        picture.text(left - 24, top + 50, name, 24, "end")
        for side, (value, fill, ink) in enumerate(((old, STREAM, ON_LIGHT), (new, SPATIAL, ON_DARK))):
            y = top + 42 * side
            picture.box(left, y, value * unit, 38, fill)
            picture.text(
                left + 12, y + 27, f"step {step - 1 + side}: × {value:.2f}", BODY - 1, color=ink, bold=bool(side)
            )
        percent = round(100 * (new / old - 1))
        color = color_of_change(-percent) if percent else SOFT
        words = f"{signed(percent, 0)} %" if percent else "±0 %"
        picture.text(WIDTH - 8, top + 54, words, 40, "end", color, bold=True)
        told.append(f"{name} × {old:.2f} to × {new:.2f}")
    picture.line([(left + unit, 0), (left + unit, HEIGHT - 70)], INK, 1.5)
    picture.text(left + unit, HEIGHT - 46, "ResNet-50 = 1", BODY - 2, "middle", SOFT)
    picture.source(f"Counted for one picture of 224 px; time: {where_timed()}, training, in turns with ResNet-50.")
    picture.alt = f"Step {step} beside the step before, both in units of ResNet-50: {'; '.join(told)}."
    return picture


def draw_down_and_up() -> SlideFigure:
    """Steps 4 to 6 of the road, once down and once up, and the kernels that the paper tried at step 6."""
    picture = SlideFigure("")
    low, high, top, bottom = 79.6, 81.0, 30, 400

    def height(accuracy):
        return bottom - (bottom - top) * (accuracy - low) / (high - low)

    points = [(100 + 190 * number, height(paper_after(step).accuracy)) for number, step in enumerate((4, 5, 6))]
    picture.line(points, SPATIAL, 4)
    for step, (x, y) in zip((4, 5, 6), points, strict=True):
        draw_disc(picture, x, y, SPATIAL)
        picture.text(x, bottom + 42, f"step {step}", BODY, "middle")
        if step == 4:
            picture.text(x, y - 22, f"{paper_after(step).accuracy:.2f}", BODY, "middle")
        if step > 4:
            gained = paper_after(step).accuracy - paper_after(step - 1).accuracy
            picture.text(
                x, y + (46 if gained < 0 else -22), signed(gained), 34, "middle", color_of_change(gained), bold=True
            )
    left, right = 670, WIDTH - 40
    kernels = {3: 5, 5: "6a", 7: 6, 9: "6c", 11: "6d"}
    places, told = [], []
    for number, (kernel, label) in enumerate(kernels.items()):
        x, paper = left + (right - left) * number / (len(kernels) - 1), paper_after(label)
        y, spread = height(paper.accuracy), paper.spread
        picture.line([(x, height(paper.accuracy - spread)), (x, height(paper.accuracy + spread))], SOFT, 2.5)
        places.append((x, y))
        picture.text(x, bottom + 42, f"{kernel}×{kernel}", BODY, "middle", bold=kernel == 7)
        picture.text(x, height(paper.accuracy + spread) - 16, f"{paper.accuracy:.2f}", BODY, "middle", bold=kernel == 7)
        told.append(f"{kernel}×{kernel} {paper.accuracy} %")
    picture.line(places, POINTWISE, 4)
    for (x, y), kernel in zip(places, kernels, strict=True):
        draw_disc(picture, x, y, CHANGED if kernel == 7 else SPATIAL)
    picture.text(100, bottom + 76, "depthwise first, then a larger kernel", BODY - 1, color=SOFT)
    picture.text(left, bottom + 76, "kernel, with the spread of three seeds", BODY - 1, color=SOFT)
    picture.source(PAPER_SOURCE)
    picture.alt = f"Step 5 loses {gain(5, 4)} points, step 6 wins {gain(6, 5)}; kernels: {', '.join(told)}."
    return picture


def draw_our_runs() -> SlideFigure:
    """What our stored short runs say of every step beside the paper's gain, and in a line what they resolve."""
    gains = compare_steps()
    papers = [paper_after(step).accuracy - paper_after(step - 1).accuracy for step in PAPER_STEPS]
    edge = max(max(abs(one.low), abs(one.high)) for one in gains.differences)
    left, right, top, row = 330, WIDTH - 20, 66, 36
    middle, unit = (left + right) / 2, (right - left) / 2 / edge
    picture = SlideFigure("")
    bottom = top + row * len(papers)
    picture.line([(middle, top - 14), (middle, bottom - 6)], INK, 1.5)
    for number, (step, ours, paper) in enumerate(zip(PAPER_STEPS, gains.differences, papers, strict=True)):
        y = top + row * number + 8
        color = SPATIAL if ours.resolved else STREAM
        picture.text(left - 24, y + 7, f"{step} {TITLES[step]}", BODY - 2, "end", bold=ours.resolved)
        picture.line([(middle + unit * ours.low, y), (middle + unit * ours.high, y)], color, 7)
        draw_disc(picture, middle + unit * ours.points, y, color, 9)
        x, size = middle + unit * paper, 8
        picture.polygon([(x, y - size), (x + size, y), (x, y + size), (x - size, y)], CHANGED)
    ticks = [value for value in range(-30, 31, 5) if abs(value) <= edge]
    for value in ticks:
        picture.text(middle + unit * value, bottom + 16, signed(value, 0) if value else "0", SMALL, "middle", SOFT)
    picture.text(0, 26, sentence_about_our_runs(), 26, bold=True)
    seeds = len(next(iter(gains.groups.values())))
    legend = (
        f"points against the step before · blue: {seeds} seeds here, resolved; grey: not · orange: the paper, ImageNet"
    )
    picture.source(f"{legend}.")
    told = [f"{step} {ours.interval}" for step, ours in zip(PAPER_STEPS, gains.differences, strict=True)]
    picture.alt = f"{sentence_about_our_runs()}. Our intervals by step: {'; '.join(told)}."
    return picture


def sentence_about_our_runs() -> str:
    """How many of the steps our stored runs resolve, and how many of these have the paper's sign."""
    resolved = [
        (ours.points, paper_after(step).accuracy - paper_after(step - 1).accuracy)
        for step, ours in zip(PAPER_STEPS, compare_steps().differences, strict=True)
        if ours.resolved
    ]
    if not resolved:
        return f"None of {len(PAPER_STEPS)} steps is resolved"
    same = sum(points * paper > 0 for points, paper in resolved)
    sides = f"{same} with the paper's sign, {len(resolved) - same} against it"
    return f"{len(resolved)} of {len(PAPER_STEPS)} steps resolved: {sides}"


def draw_counts_and_time() -> SlideFigure:
    """Multiply-adds, activation memory and the measured time of a training step over the road, in units of
    ResNet-50."""
    picture = SlideFigure("")
    steps, left, right, top, bottom, high = range(LAST_STEP + 1), 60, 810, 20, 410, 2.3
    start = count(architecture_after(0))

    def place(step, value):
        return left + (right - left) * step / LAST_STEP, bottom - (bottom - top) * value / high

    costs = [count(architecture_after(step)) for step in steps]
    lines = (
        ("multiply-adds", [cost.macs / start.macs for cost in costs], POINTWISE),
        ("activation memory", [cost.activation_bytes / start.activation_bytes for cost in costs], NORM),
        ("time of a training step", [time_of(step).median for step in steps], SPATIAL),
    )
    for value in (0, 1, 2):
        y = place(0, value)[1]
        picture.line([(left, y), (right, y)], STREAM, 1)
        picture.text(left - 14, y + 8, f"{value}", BODY - 2, "end", SOFT)
    for _, values, color in lines:
        picture.line([place(step, value) for step, value in zip(steps, values, strict=True)], color, 4)
        for step, value in zip(steps, values, strict=True):
            draw_disc(picture, *place(step, value), color, 7)
    for step in steps[1:]:
        x, y = place(step, time_of(step).low)
        picture.line([(x, y), (x, place(step, time_of(step).high)[1])], INK, 3)
    for number, (name, values, color) in enumerate(sorted(lines, key=lambda line: -line[1][-1])):
        y = 120 + 84 * number
        picture.box(right + 50, y - 20, 24, 24, color)
        picture.text(right + 86, y, name, BODY - 1)
        picture.text(right + 86, y + 28, f"ConvNeXt-T: × {values[-1]:.2f}", BODY - 1, bold=True)
    for step in steps:
        picture.text(place(step, 0)[0], bottom + 32, str(step), BODY - 1, "middle")
    picture.text(
        left, bottom + 66, "step of the road; ResNet-50 = 1; black: fastest to slowest round", BODY - 2, color=SOFT
    )
    picture.source(
        f"Time: {where_timed()}, batches of {_bench()['pictures']['batch']}, 224 px, in turns with ResNet-50."
    )
    told = "; ".join(f"{name} {', '.join(f'{value:.2f}' for value in values)}" for name, values, _ in lines)
    picture.alt = f"Costs of steps 0 to {LAST_STEP} in units of ResNet-50: {told}."
    return picture


def draw_worth() -> SlideFigure:
    """What the road won, and how long the code of one block is, ConvNeXt-T's and Swin-T's."""
    attention = swin_transformer.ShiftedWindowAttention, swin_transformer.shifted_window_attention
    lines = {
        "ConvNeXt-T": count_lines(convnext.CNBlock),
        "Swin-T": count_lines(swin_transformer.SwinTransformerBlock, *attention),
    }
    picture = SlideFigure("")
    end = paper_after(LAST_STEP).accuracy
    costs = [count(architecture_after(step)) for step in (0, LAST_STEP)]
    ratio = time_of(LAST_STEP).median
    won = (
        (signed(end - START.accuracy), "points, eleven steps"),
        (signed(end - SWIN_T.accuracy), "points beside Swin-T"),
        (f"× {costs[1].macs / costs[0].macs:.2f}", "ResNet-50's multiply-adds"),
        (f"× {ratio:.2f}", "its time in training, here"),
    )
    for number, (value, words) in enumerate(won):
        y = 62 + 112 * number
        picture.text(190, y, value, 44, "end", SPATIAL, bold=True)
        picture.text(214, y, words, 24)
    unit, left = 330 / max(lines.values()), 660
    picture.text(left, 40, "lines of code, one block", 24, bold=True)
    for number, (name, value) in enumerate(lines.items()):
        y = 76 + 130 * number
        picture.text(left, y + 24, name, 24)
        picture.box(left, y + 38, value * unit, 44, SPATIAL if number == 0 else ATTENTION)
        picture.text(left + value * unit + 14, y + 72, str(value), LARGE, bold=True)
    picture.text(left, 366, "torchvision's as written, without", BODY - 2, color=SOFT)
    picture.text(left, 392, "docstrings, comments, blank lines", BODY - 2, color=SOFT)
    picture.source(f"{PAPER_SOURCE} Time: {where_timed()}.")
    picture.alt = (
        f"{'; '.join(f'{value} {words}' for value, words in won)}. Lines of code of a block: "
        f"{', '.join(f'{name} {value}' for name, value in lines.items())}."
    )
    return picture


def _bench():
    return read_measurements("bench")


def time_of(step: int) -> TimeRatio:
    """How many times as long as ResNet-50's a training step of a step's network takes, as stored."""
    return stored_time_ratio(architecture_after(0), architecture_after(step))


def where_timed() -> str:
    """The machine that the stored ratios of time come from."""
    device = _bench()["device"]
    return f"{device['name']}, {device['threads']} threads"
