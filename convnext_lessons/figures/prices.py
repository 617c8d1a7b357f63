"""Why a block costs the same in every stage: its positions and its weights, drawn as squares."""

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import SOFT, SPATIAL, STAGES
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import count

COLUMN, FULL = 235, 150  # pixels: the width of a stage, and the side of the largest square of a row


def draw_positions_and_weights(architecture: Architecture, block: int = 2) -> Diagram:
    """For one block of every stage a square as large as its positions are many, one as large as its convolutions have
    weights, and their product, the multiply-adds. Areas have one scale along a row.

    Args:
        block: which one of its stage, counted from 1; the later ones of a bottleneck network have one resolution.
    """
    stages = [_sizes(architecture, stage, block) for stage in range(len(architecture.depths))]
    described = "; ".join(
        f"stage {number} {side}×{side} × {weights:,} = {macs / 1e6:.1f} M"
        for number, (side, weights, macs) in enumerate(stages, start=1)
    )
    words = f"Block {block} of every stage, positions times weights: {described}."
    picture = Diagram(COLUMN * len(stages), 510, words)
    most = max(side for side, *_ in stages), max(weights for _, weights, _ in stages) ** 0.5
    for number, ((side, weights, macs), fill) in enumerate(zip(stages, STAGES, strict=True)):
        axis = COLUMN * (number + 0.5)
        picture.text(axis, 24, f"stage {number + 1}", size=15, anchor="middle", bold=True)
        _draw_square(picture, axis, 40, side / most[0], fill, f"{side}×{side} positions")
        picture.text(axis, 238, "×", size=18, anchor="middle", color=SOFT)
        _draw_square(picture, axis, 250, weights**0.5 / most[1], fill, f"{weights:,} weights")
        picture.text(axis, 470, f"= {macs / 1e6:.1f} M", size=15, anchor="middle", color=SPATIAL, bold=True)
    return picture


def _sizes(architecture, stage, block):
    """(side in positions, weights of the convolutions, multiply-adds) of a block."""
    name = f"stages.{stage}.{block - 1}."
    layers = [layer for layer in count(architecture).layers if layer.name.startswith(name) and layer.kind == "Conv2d"]
    return layers[-1].shape_out[1], sum(layer.params for layer in layers), sum(layer.macs for layer in layers)


def _draw_square(picture, axis, top, share, fill, words):
    side = FULL * share
    picture.box(axis - side / 2, top + (FULL - side) / 2, side, side, fill, edge=SOFT)
    picture.text(axis, top + FULL + 24, words, anchor="middle")
