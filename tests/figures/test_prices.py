import pytest

from convnext_lessons.figures import draw_positions_and_weights
from convnext_lessons.model import RESNET50, build


def sides(picture):
    return [rest[0][1][0] - rest[0][0][0] for kind, *rest in picture.items if kind == "polygon"]


def texts(picture):
    return [rest[2] for kind, *rest in picture.items if kind == "text"]


def test_squares_have_the_areas_of_positions_and_weights():
    drawn = sides(draw_positions_and_weights(RESNET50))
    positions, weights = drawn[0::2], drawn[1::2]
    assert positions == pytest.approx([150, 75, 37.5, 18.75])
    assert weights == pytest.approx([18.75, 37.5, 75, 150])


def test_the_product_is_the_blocks_multiply_adds():
    picture = draw_positions_and_weights(RESNET50)
    assert [words for words in texts(picture) if words.startswith("=")] == ["= 218.4 M"] * 4
    weights = sum(p.numel() for name, p in build(RESNET50).stages[1][1].named_parameters() if p.ndim == 4)
    assert f"28×28 × {weights:,} = 218.4 M" in picture.alt


def test_another_width_is_another_picture():
    assert "= 491.3 M" in texts(draw_positions_and_weights(RESNET50.change(width=96)))
