"""Where a stage begins: the layer between the stages by its name, and the first block behind it."""

from convnext_lessons.figures import diagrams
from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import CHANGED_WORDS, SOFT
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import count
from convnext_lessons.model.layers import build_on_meta, describe_layers

NAME = ("◆ downsampling", "layer")
MARGIN = 50  # pixels at the right edge, for the longest words, which stand beside the new layer


def draw_downsampling(before: Architecture, after: Architecture, stage: int = 2) -> Diagram:
    """How a stage begins before and after its downsampling got a layer of its own, on one scale.

    Args:
        before: halves the resolution inside the stage's first block.
        after: has a separate layer for it.
        stage: counted from 1, at least 2.

    Raises:
        DrawingError: there is no such stage, or no layer in front of it.
    """
    views = [diagrams.block_view(model, stage, 1) for model in (before, after)]
    name = f"transitions.{stage - 1}"
    layer = describe_layers(build_on_meta(after).get_submodule(name), name)
    if not layer:
        raise diagrams.DrawingError(f"There is no downsampling layer before stage {stage}; ask for a later stage.")
    costs = {cost.name: cost for cost in count(after).layers}
    marked = diagrams.changed_rows(*views)
    widest = max(row.c_out or 0 for view in views for row in view["residual"])
    scale = diagrams.ROOM / widest
    room = 20 + sum(diagrams.height_of(row) + 8 for row in layer)  # of the stream before the layer, and of the layer
    height = 172 + room + max(sum(diagrams.height_of(row) + 8 for row in view["residual"]) for view in views)
    described = "; then ".join(
        f"{words}{diagrams.in_words(view['residual'])}, shortcut {diagrams.in_words(view['shortcut'])}"
        for words, view in zip(("", f"downsampling layer {diagrams.in_words(layer)}, block "), views, strict=True)
    )
    picture = Diagram(2 * diagrams.COLUMN + MARGIN, height, f"How stage {stage} begins: {described}.")
    titles = diagrams.titles_of(before, after, ("before", "after"))
    for number, (title, view) in enumerate(zip(titles, views, strict=True)):
        left = diagrams.COLUMN * number
        picture.text(left + 10, 24, f"{title} · stage {stage} begins", size=15, bold=True)
        column = Diagram(0, 0, "")
        diagrams.draw_column(column, view, left, diagrams.ROOM, scale, marked[number])
        _paste(picture, column, room * number)
    _draw_layer_between(picture, layer, costs, scale)
    return picture


def _draw_layer_between(picture, layer, costs, scale):
    side = diagrams.COLUMN + 140
    axis = side + 55 + diagrams.ROOM / 2
    words_at, y = axis + diagrams.ROOM / 2 + 12, 50
    channels, *size = costs[layer[0].name].shape_in
    words = f"in: {channels} × {'×'.join(map(str, size))}"
    diagrams.draw_stream_bar(picture, axis, words_at, y, channels * scale, words)
    top = y = y + 12
    for row in layer:
        tall = diagrams.height_of(row)
        y += 8
        tip = diagrams.tip_of(row, costs[row.name])
        diagrams.draw_layer(picture, row, axis, y, row.c_in * scale, row.c_out * scale, True, tip)
        diagrams.label_layer(picture, words_at, y + tall / 2, row.words.split(", ", 1), True)
        y += tall
    for line, words in enumerate(NAME):
        picture.text(side + 20, (top + y) / 2 + 2 + 16 * line, words, anchor="end", color=CHANGED_WORDS, bold=True)
    picture.line([(axis, y), (axis, y + 8)], SOFT)


def _paste(picture, other, down):
    """Put what is drawn on another diagram into this one, so many pixels further down."""
    for kind, first, *rest in other.items:
        if kind == "text":
            (y, *rest) = rest
            picture.items.append((kind, first, y + down, *rest))
        else:
            picture.items.append((kind, [(x, y + down) for x, y in first], *rest))
