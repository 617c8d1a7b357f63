"""The poster: A2, vectors, the road on top, below it the block of every step, below that what each was measured at.

A column is a step throughout. The drawing is a canvas like a slide's; matplotlib writes it, so that no browser is
needed.
"""

import statistics
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import INK, NORM, SOFT, SPATIAL, STREAM
from convnext_lessons.model.cost import COSTS, count
from convnext_lessons.model.roadmap import LAST_STEP, PAPER_STEPS, SWIN_T, TITLES, architecture_after, paper_after
from convnext_lessons.publish.slide_canvas import SlideFigure, color_of_change, signed
from convnext_lessons.publish.slide_networks import FILL, draw_row_of_blocks
from convnext_lessons.publish.slide_numbers import draw_disc, sentence_about_our_runs, time_of, where_timed
from convnext_lessons.runs.significance import compare_steps
from convnext_lessons.system.storage import atomic

SIZE = 594, 420  # of A2, in millimetres
UNIT = 4  # pixels of the canvas in a millimetre
_LEFT, _COLUMN = 330, 166  # where the columns begin, and how wide each is, in pixels


def write_poster(path: Path) -> Path:
    """Draw the poster into a PDF.

    Raises:
        StorageError: it cannot be written.
        SignificanceError: stored runs are missing.
    """
    picture = draw_poster()
    inches = [side / 25.4 for side in SIZE]
    figure = Figure(figsize=inches)
    paint(picture, figure, points_per_pixel=72 * inches[0] / picture.width)
    # Words as words, which can be searched and copied, and no date, so that equal posters are equal files.
    with matplotlib.rc_context({"pdf.fonttype": 42}), atomic(path) as part:
        metadata = {"Title": "From ResNet-50 to ConvNeXt-T", "CreationDate": None}
        FigureCanvasPdf(figure).print_pdf(part, metadata=metadata)
    return path


def draw_poster() -> SlideFigure:
    """The poster as a picture of 2376 × 1680 pixels."""
    width, height = (side * UNIT for side in SIZE)
    road = ", ".join(f"{TITLES[step]} {paper_after(step).accuracy} %" for step in (0, *PAPER_STEPS))
    picture = SlideFigure(f"The road from ResNet-50 to ConvNeXt-T: {road}.", width, height)
    picture.text(80, 150, "Was it the attention?", 104, bold=True)
    words = "A ResNet-50 becomes a ConvNeXt-T in eleven steps; none of them adds attention."
    picture.text(80, 222, words, 40, color=SOFT)
    for step in range(1, LAST_STEP + 1, 2):
        picture.box(_LEFT + _COLUMN * step, 276, _COLUMN, 1284, "#F6F8FA")
    _draw_legend(picture, 1905, 86)
    _draw_road(picture, 306, 706)
    _name_steps(picture, 766)
    picture.text(80, 1010, "the block", 34, bold=True)
    picture.text(80, 1048, "second of stage 1", 26, color=SOFT)
    draw_row_of_blocks(picture, _LEFT - 6, 836, _COLUMN * (LAST_STEP + 1), 1.25, numbers=False)
    _draw_table(picture, 1250)
    sources = (
        "Accuracy: Liu et al., A ConvNet for the 2020s, CVPR 2022, arXiv 2201.03545, Table 10, three seeds. "
        f"Counted for one picture of 224 px. Time: {where_timed()}, in turns with ResNet-50."
    )
    picture.text(80, height - 62, sources, 22, color=SOFT)
    ours = f"Our short runs: thin copies on Imagenette, {_seeds()} seeds a step. {sentence_about_our_runs()}."
    picture.text(80, height - 28, f"{ours} ConvNeXt Lessons; independent of the paper's authors.", 22, color=SOFT)
    return picture


def paint(diagram: Diagram, figure: Figure, points_per_pixel: float) -> None:
    """Draw a ``Diagram`` over a whole figure of matplotlib; photographs are left out."""
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set(xlim=(0, diagram.width), ylim=(diagram.height, 0))
    axes.axis("off")
    for order, (kind, *rest) in enumerate(diagram.items):
        if kind == "polygon":
            points, fill, edge, line, _ = rest
            axes.add_patch(Polygon(points, facecolor=fill, edgecolor=edge, lw=line * points_per_pixel, zorder=order))
        elif kind == "line":
            points, color, line = rest
            axes.plot(*zip(*points, strict=True), color=color, lw=line * points_per_pixel, zorder=order)
        elif kind == "text":
            x, y, words, size, anchor, color, bold = rest
            side = {"start": "left", "middle": "center", "end": "right"}[anchor]
            style = {"size": size * points_per_pixel, "ha": side, "weight": "bold" if bold else "normal"}
            axes.text(x, y, words, va="baseline", color=color, zorder=order, parse_math=False, **style)


def _middle(step):
    return _LEFT + _COLUMN * (step + 0.5)


def _draw_legend(picture, x, y):
    """What the colours of the blocks mean."""
    kinds = {
        "spatial": "convolution of neighbours",
        "pointwise": "1×1 convolution",
        "norm": "norm",
        "activation": "activation",
        "other": "residual stream",
    }
    for number, (kind, words) in enumerate(kinds.items()):
        picture.box(x, y + 36 * number - 22, 26, 26, FILL[kind])
        picture.text(x + 40, y + 36 * number, words, 26)


def _draw_road(picture, top, bottom):
    low, high = 78.5, 82.2

    def height(accuracy):
        return bottom - (bottom - top) * (accuracy - low) / (high - low)

    picture.text(80, height(80.4), "accuracy", 34, bold=True)
    picture.text(80, height(80.4) + 38, "ImageNet, %", 26, color=SOFT)
    swin = height(SWIN_T.accuracy)
    for x in range(_LEFT + 20, _LEFT + _COLUMN * (LAST_STEP + 1), 44):
        picture.line([(x, swin), (x + 26, swin)], NORM, 4)
    picture.text(_LEFT + 20, swin - 16, f"Swin-T {SWIN_T.accuracy:.1f}", 34, color=NORM, bold=True)
    papers = {step: paper_after(step) for step in (0, *PAPER_STEPS)}
    picture.line([(_middle(step), height(paper.accuracy)) for step, paper in papers.items()], SPATIAL, 7)
    for step, paper in papers.items():
        x, y = _middle(step), height(paper.accuracy)
        picture.line([(x, height(paper.accuracy - paper.spread)), (x, height(paper.accuracy + paper.spread))], INK, 4)
        draw_disc(picture, x, y, SPATIAL, 14)
        if step:
            gained = paper.accuracy - papers[step - 1].accuracy
            below = gained < 0 or (step < LAST_STEP and papers[step + 1].accuracy - paper.accuracy > 0.35)
            y = height(paper.accuracy - paper.spread) + 46 if below else height(paper.accuracy + paper.spread) - 18
            picture.text(
                x + 26 * (below and gained > 0), y, signed(gained), 36, "middle", color_of_change(gained), bold=True
            )


def _name_steps(picture, y):
    for step, title in enumerate(TITLES):
        name = f"{step} {title}"
        for line, words in enumerate(name.rsplit(" ", name.count(" ") - 1)):
            picture.text(_middle(step), y + 32 * line, words, 24, "middle")


def _draw_table(picture, top):
    """A row for every kind of number, a column for every step."""
    costs = [count(architecture_after(step)) for step in range(LAST_STEP + 1)]
    ours = list(compare_steps().groups.values())
    rows = [
        ("the paper", "ImageNet, %", [f"{paper_after(step).accuracy:.2f}" for step in (0, *PAPER_STEPS)]),
        ("our short runs", "Imagenette, %", [f"{statistics.fmean(values):.1f}" for values in ours]),
    ]
    for kind in COSTS:
        title, _, remark = kind.title.partition(", ")
        name = f"{remark}, {kind.unit_name}" if remark else kind.unit_name
        rows.append((title, name, [f"{kind.of(cost) / kind.unit:.3g}" for cost in costs]))
    times = [f"× {time_of(step).median:.2f}" for step in range(LAST_STEP + 1)]
    rows.append(("training step", "ResNet-50 = 1", times))
    for number, (title, unit, values) in enumerate(rows):
        y = top + 58 * number
        picture.line([(80, y - 38), (_LEFT + _COLUMN * (LAST_STEP + 1), y - 38)], STREAM, 1.5)
        picture.text(80, y - 9, title, 23, bold=True)
        picture.text(80, y + 13, unit, 17, color=SOFT)
        for step, value in enumerate(values):
            picture.text(_middle(step), y, value, 27, "middle", SPATIAL if not number else INK, bold=not number)


def _seeds():
    return len(next(iter(compare_steps().groups.values())))
