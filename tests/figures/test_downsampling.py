import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from convnext_lessons.figures import CHANGED, DrawingError, draw_block, draw_downsampling
from convnext_lessons.model import architecture_after


def words(diagram):
    return [item[3] for item in diagram.items if item[0] == "text"]


def polygons(diagram):
    return [item for item in diagram.items if item[0] == "polygon"]


@pytest.fixture(scope="module")
def diagram():
    return draw_downsampling(architecture_after(10), architecture_after("11a"))


def test_the_layer_between_the_stages_has_its_name(diagram):
    found = words(diagram)
    assert {"◆ downsampling", "layer", "◆ 2×2 conv", "96 → 192, stride 2 + bias"} <= set(found)
    assert found.count("in: 96 × 56×56") == 2 and found.count("in: 192 × 28×28") == 1
    assert (
        "downsampling layer LayerNorm, 2×2 conv, 96 → 192, stride 2 + bias, block 7×7 depthwise, 192 + bias"
        in diagram.alt
    )


def test_the_block_stands_below_its_layer(diagram):
    heights = {item[3]: item[2] for item in diagram.items if item[0] == "text"}
    assert heights["◆ 2×2 conv"] < heights["in: 192 × 28×28"] < heights["192 + bias"]


def test_all_words_are_inside_the_picture(diagram):
    for x, _, said, size, anchor, _, bold in (item[1:] for item in diagram.items if item[0] == "text"):
        font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
        wide = TextPath((0, 0), said, size=size, prop=font).get_extents().width
        left = {"start": x, "middle": x - wide / 2, "end": x - wide}[anchor]
        assert left >= 0 and left + wide <= diagram.width, said


def test_what_is_new_is_marked_and_both_sides_have_one_scale(diagram):
    pair = draw_block(architecture_after(10), architecture_after("11a"), stage=2, block=1)
    edges = [[polygon[3] for polygon in polygons(drawn)].count(CHANGED) for drawn in (pair, diagram)]
    assert edges[1] == edges[0] + 2  # the norm and the convolution
    tips = [polygon[5] for polygon in polygons(diagram) if polygon[5]]
    assert any(tip.startswith("2×2 conv: 96×56×56 → 192×28×28, 73,920 parameters") for tip in tips)
    wide = [
        max(x for x, _ in polygon[1]) - min(x for x, _ in polygon[1]) for polygon in polygons(diagram) if polygon[5]
    ]
    assert wide.count(max(wide)) == 6  # two 1×1 and the GELU between them, on each side


@pytest.mark.parametrize(
    ("stage", "message"), [(1, "no downsampling layer before stage 1"), (5, "no block 1 in stage 5")]
)
def test_where_there_is_no_such_layer(stage, message, refuses):
    with refuses(DrawingError, message):
        draw_downsampling(architecture_after(10), architecture_after("11a"), stage)
