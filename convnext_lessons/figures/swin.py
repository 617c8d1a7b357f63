"""Swin-T's block in the same visual language, between the blocks of the road's two ends; read off torchvision's module.

A Swin block has two residual parts, an attention and an MLP, and each has its own addition. Attention is dark blue, as
a convolution that looks at neighbours is; the white strips part its heads, between which nothing is mixed.
"""

import torch
from torch import nn
from torchvision.models import swin_t

from convnext_lessons.figures import diagrams
from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.palette import INK, PAPER_WHITE, SOFT
from convnext_lessons.model.cost import count
from convnext_lessons.model.layers import Row, describe_layers
from convnext_lessons.model.roadmap import PAPER_STEPS, architecture_after

COLUMN, ROOM, LEFT = 415, 130, -62  # width of a block's column and of its layers; where diagrams' columns begin in it


def draw_three_blocks(stage: int = 3, block: int = 2, swin: nn.Module | None = None) -> Diagram:
    """A block of ResNet-50, one of Swin-T and one of ConvNeXt-T beside each other, on one scale.

    Args:
        stage, block: which one, counted from 1; every second block of Swin-T shifts its windows.
        swin: a network of torchvision's Swin family; Swin-T unless given.

    Raises:
        DrawingError: one of the three has no such block.
    """
    if swin is None:
        with torch.device("meta"):  # a drawing needs no weights
            swin = swin_t()
    ends = [diagrams.block_view(architecture_after(step), stage, block) for step in (0, PAPER_STEPS[-1])]
    middle = _swin_view(swin, stage, block)
    rows = [end["residual"] + end["closing"] for end in ends]
    rows.insert(1, middle["attention"] + middle["mlp"])
    scale = ROOM / max(max(row.c_in or 0, row.c_out or 0) for column in rows for row in column)
    height = 172 + max(sum(diagrams.height_of(row) + 8 for row in column) for column in rows)
    height = max(height, 216 + sum(diagrams.height_of(row) + 8 for row in rows[1]))  # it has two additions
    columns = zip(("ResNet-50", "Swin-T", "ConvNeXt-T"), (ends[0], middle, ends[1]), rows, strict=True)
    told = []
    picture = Diagram(3 * COLUMN, height, "")
    for number, (name, view, layers) in enumerate(columns):
        left = COLUMN * number
        picture.text(left + 10, 24, f"{name} · stage {stage}, block {block}", size=15, bold=True)
        picture.text(left + 10, height - 30, view["sum"], color=SOFT, size=12)
        if view is middle:
            _draw_swin(picture, view, left + LEFT, scale)
        else:
            diagrams.draw_column(picture, view, left + LEFT, ROOM, scale, set())
        told.append(f"{name}: {', '.join(row.words for row in layers)}; {view['sum']}")
    picture.alt = f"Block {block} of stage {stage}. {'. '.join(told)}."
    return picture


def _draw_swin(picture, view, left, scale):
    """A column as ``diagrams`` draws it, with two residual parts below each other."""
    side = left + 140
    axis = side + 55 + ROOM / 2
    words_at = axis + ROOM / 2 + 12
    channels, y = view["channels"], 50
    diagrams.draw_stream_bar(picture, axis, words_at, y, channels * scale, f"in: {channels} × {view['size']}")
    for part in ("attention", "mlp"):
        top, c_out, y = y, channels, y + 12
        for row in view[part]:
            c_in, c_out = row.c_in or c_out, row.c_out or c_out  # an activation does not tell its own
            tall = diagrams.height_of(row)
            y += 8
            tip = view["tips"][row.name]
            diagrams.draw_layer(picture, row, axis, y, c_in * scale, c_out * scale, False, tip)
            diagrams.label_layer(picture, words_at, y + tall / 2, row.words.split(", ", 1), False)
            y += tall
        picture.line([(axis, y), (axis, y + 36)], SOFT)
        y += 21
        picture.line([(axis - channels * scale / 2, top + 6), (side, top + 6), (side, y), (axis, y)], SOFT, width=2)
        picture.polygon([(axis + 11 * dx, y + 11 * dy) for dx, dy in diagrams.CIRCLE], PAPER_WHITE, SOFT, 1.5)
        picture.line([(axis - 6, y), (axis + 6, y)], INK)
        picture.line([(axis, y - 6), (axis, y + 6)], INK)
        diagrams.put_label(picture, side - 10, (top + y) / 2, "identity", False, anchor="end")
        y += 19
        words = f"out: {channels} × {view['size']}" if part == "mlp" else ""
        diagrams.draw_stream_bar(picture, axis, words_at, y, channels * scale, words)


def _swin_view(swin, stage, block):
    """What the middle column shows, read off the network."""
    stages = [swin.features[place] for place in range(1, len(swin.features), 2)]
    if not 1 <= stage <= len(stages) or not 1 <= block <= len(stages[stage - 1]):
        depths = [len(blocks) for blocks in stages]
        raise diagrams.DrawingError(
            f"Swin has no block {block} in stage {stage}; the stages have {depths} blocks, from 1 on."
        )
    name = f"features.{2 * stage - 1}.{block - 1}"
    module = swin.get_submodule(name)
    layers = {layer.name: layer for layer in count(swin).layers if layer.name.startswith(f"{name}.")}
    query, project = describe_layers(module.attn, f"{name}.attn")
    attention = [_norm(module.norm1, f"{name}.norm1"), query, _attention(module.attn, f"{name}.attn", query), project]
    mlp = [_norm(module.norm2, f"{name}.norm2")]
    mlp += [row for row in describe_layers(module.mlp, f"{name}.mlp") if row.kind != "other"]  # no dropout of 0
    # Attention takes the weights of its two linear layers and multiplies by itself: what it costs is one number.
    whole = diagrams.tip_of(Row("", "", "attention with its linear layers", None, None), layers[f"{name}.attn"])
    tips = {row.name: diagrams.tip_of(row, layers[row.name]) for row in (attention[0], *mlp)}
    tips |= {row.name: whole for row in attention[1:]}
    macs, params = (sum(getattr(layer, key) for layer in layers.values()) for key in ("macs", "params"))
    height, width, channels = layers[f"{name}.attn"].shape_in  # channels last
    return {
        "attention": attention,
        "mlp": mlp,
        "tips": tips,
        "channels": channels,
        "size": f"{height}×{width}",
        "sum": f"{diagrams.in_units(params)} parameters, {diagrams.in_units(macs)} multiply-adds at 224 px",
    }


def _norm(module, name):
    return Row(name, "norm", "LayerNorm", *module.normalized_shape, *module.normalized_shape)


def _attention(module, name, query):
    """The mixing itself, between the two linear layers: three times the channels go in, queries, keys and values."""
    high, wide = module.window_size
    shift = f", shift {module.shift_size[0]}" if any(module.shift_size) else ""
    words = f"attention in {high}×{wide}, {module.num_heads} heads{shift}"
    return Row(name, "spatial", words, query.c_out, query.c_in, module.num_heads)
