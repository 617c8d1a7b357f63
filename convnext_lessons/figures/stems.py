"""Stems: how a picture becomes what the first stage gets, layer by layer."""

from collections.abc import Mapping

from torch import nn

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import ACTIVATION, FAINT, NORM, PAPER_WHITE, SOFT, SPATIAL, STREAM
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import count
from convnext_lessons.model.layers import build_on_meta, describe_layers

ROW, TALL = 290, 170  # pixels: the height of a row with its words, and of the picture in it
_FILL = {"spatial": SPATIAL, "pointwise": SPATIAL, "norm": NORM, "activation": ACTIVATION, "other": FAINT}


def draw_stems(stems: Mapping[str, Architecture | nn.Module], image_size: int = 224) -> Diagram:
    """Stems under each other, from the picture on the left to the first stage's input on the right: every tensor as
    tall as its side in positions, every layer that changes this between two tensors, all others as strips behind one.

    Args:
        stems: the networks that they belong to, by name.
        image_size: of the picture, in pixels.
    """
    described = "; ".join(_words(name, model, image_size) for name, model in stems.items())
    picture = Diagram(660, ROW * len(stems), f"Stems: {described}.")
    for number, (name, model) in enumerate(stems.items()):
        cost = count(model, image_size)
        macs, params, kept = (cost.by_stage(key)["stem"] for key in ("macs", "params", "activation_bytes"))
        top = ROW * number
        costs = f"{macs / 1e6:.1f} M multiply-adds, {params:,} parameters, {kept / 1e6:.1f} MB kept in training"
        picture.text(10, top + 24, f"{name}: {costs}", size=15, bold=True)
        _draw_stem(picture, _rows(model, image_size), top + 90 + TALL / 2, TALL / image_size, image_size)
    return picture


def _rows(model, image_size):
    """(row of ``describe_layers``, shape that leaves it) for every layer of a stem."""
    shapes = {layer.name: layer.shape_out for layer in count(model, image_size).layers}
    return [(row, shapes[row.name]) for row in describe_layers(build_on_meta(model).stem, "stem")]


def _draw_stem(picture, rows, axis, scale, image_size):
    x, side = 40, image_size
    x = _draw_tensor(picture, x, axis, scale, (3, image_size, image_size))
    strips = []  # the words of those behind the last tensor
    for row, shape in rows:
        tall, thin = side * scale, shape[1] * scale
        if shape[1] == side:
            picture.box(x, axis - tall / 2, 14, tall, _FILL[row.kind], edge=PAPER_WHITE, tip=row.words)
            strips.append(row.words)
            x += 14
            continue
        _label_strips(picture, strips, x, axis + tall / 2)
        x, wide, side = x + 10, 150, shape[1]
        corners = [(x, axis - tall / 2), (x + wide, axis - thin / 2), (x + wide, axis + thin / 2), (x, axis + tall / 2)]
        picture.polygon(corners, _FILL[row.kind], edge=SOFT, tip=row.words)
        for line, words in enumerate(row.words.split(", ", 1)):
            picture.text(x + wide / 2, axis - TALL / 2 - 28 + 17 * line, words, anchor="middle", bold=not line)
        x = _draw_tensor(picture, x + wide + 34, axis, scale, shape)
        strips = []
    _label_strips(picture, strips, x, axis + side * scale / 2)


def _draw_tensor(picture, x, axis, scale, shape):
    """A tensor's box and its shape below; where it ends."""
    channels, side, _ = shape
    wide, tall = 8 + channels / 2, side * scale
    picture.box(x, axis - tall / 2, wide, tall, STREAM)
    picture.text(x + wide / 2, axis + tall / 2 + 18, f"{side}×{side}×{channels}", anchor="middle")
    return x + wide


def _label_strips(picture, strips, x, y):
    picture.text(x - 7 * len(strips), y + 36, ", ".join(strips), size=12, anchor="middle", color=SOFT)


def _words(name, model, image_size):
    steps = ", ".join(f"{row.words} to {shape[1]}×{shape[1]}×{shape[0]}" for row, shape in _rows(model, image_size))
    return f"{name} from {image_size}×{image_size}×3, {steps}"
