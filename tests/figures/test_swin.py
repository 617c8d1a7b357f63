import pytest
import torch
from torchvision.models import swin_t
from torchvision.models.swin_transformer import SwinTransformer

from convnext_lessons.figures import DrawingError, draw_block, draw_three_blocks
from convnext_lessons.model import architecture_after, count


def words(diagram):
    return [item[3] for item in diagram.items if item[0] == "text"]


def polygons(diagram):
    return [item for item in diagram.items if item[0] == "polygon"]


def width(polygon):
    xs = [x for x, _ in polygon[1]]
    return max(xs) - min(xs)


@pytest.fixture(scope="module")
def diagram():
    return draw_three_blocks()


def test_three_blocks_with_their_layers(diagram):
    found = words(diagram)
    assert [text for text in found if "block 2" in text] == [
        f"{name} · stage 3, block 2" for name in ("ResNet-50", "Swin-T", "ConvNeXt-T")
    ]
    assert found.count("BatchNorm") == 3 and found.count("LayerNorm") == 2 + 1
    assert {"attention in 7×7", "12 heads, shift 3", "7×7 depthwise", "3×3 conv", "layer scale"} <= set(found)
    assert found.count("identity") == 1 + 2 + 1  # Swin adds twice
    assert "Swin-T: LayerNorm, linear, 384 → 1152, attention" in diagram.alt


def test_every_second_block_shifts_its_windows():
    assert "12 heads" in words(draw_three_blocks(block=1))


def test_all_are_drawn_on_one_scale(diagram):
    wide = {polygon[5].split(":")[0]: width(polygon) for polygon in polygons(diagram) if polygon[5]}
    assert wide["linear"] == pytest.approx(wide["1×1 conv"])  # 1536 channels inside, in Swin-T and in ConvNeXt-T
    assert wide["3×3 conv"] / wide["7×7 depthwise"] == pytest.approx(256 / 384)


def test_what_a_swin_block_costs_is_counted(diagram):
    layers = [layer for layer in count(swin_t).layers if layer.name.startswith("features.5.1.")]
    macs, params = (sum(getattr(layer, key) for layer in layers) for key in ("macs", "params"))
    assert f"{params / 1e6:.3g} M parameters, {macs / 1e6:.3g} M multiply-adds at 224 px" in words(diagram)
    tips = [polygon[5] for polygon in polygons(diagram) if polygon[5] and polygon[5].startswith("attention")]
    assert len(tips) == 3 and len(set(tips)) == 1


def test_the_ends_are_drawn_as_by_themselves(diagram):
    alone = {text for step in (0, 11) for text in words(draw_block(architecture_after(step), stage=3))}
    assert {text for text in alone if "stage" not in text} <= set(words(diagram))


def test_changing_the_module_changes_the_picture(diagram):
    with torch.device("meta"):
        other = SwinTransformer(
            [4, 4], 96, [2, 2, 6, 2], [3, 6, 6, 24], window_size=[14, 14], stochastic_depth_prob=0.0
        )
    found = words(draw_three_blocks(swin=other))
    assert {"attention in 14×14", "6 heads, shift 7"} <= set(found)


@pytest.mark.parametrize(("stage", "block"), [(1, 3), (5, 1), (3, 0)])
def test_a_block_that_is_not_there(stage, block, refuses):
    with refuses(DrawingError, f"no block {block} in stage {stage}"):
        draw_three_blocks(stage, block)
