import itertools

import pytest
import torch
from torch import nn

from convnext_lessons.figures import CHANGED, DrawingError, draw_block, draw_design, draw_network
from convnext_lessons.model import RESNET50, architecture_after, build
from convnext_lessons.model.roadmap import LABELS


def thin(step):
    return architecture_after(step).thinner(1 / 8)


def words(diagram):
    return [item[3] for item in diagram.items if item[0] == "text"]


def marked(diagram):
    return [text for text in words(diagram) if text.startswith("◆")]


def polygons(diagram):
    return [item for item in diagram.items if item[0] == "polygon"]


def parts(strip):
    """The polygons of a strip that stand for something of the network, without stream and legend."""
    return [polygon for polygon in polygons(strip) if polygon[5]]


def width(polygon):
    xs = [x for x, _ in polygon[1]]
    return max(xs) - min(xs)


@pytest.mark.parametrize("label", LABELS)
def test_every_step_can_be_drawn(label):
    assert "block" in draw_block(thin(label), stage=4, block=1).alt.lower()
    assert len(parts(draw_network(thin(label), image_size=64))) >= 18


def test_only_what_changed_is_marked():
    assert marked(draw_block(thin(6), thin(7))) == ["◆ ReLU"] * 3 + ["◆ GELU"] * 3
    assert marked(draw_block(thin(6), thin(6))) == []
    diagram = draw_block(thin(8), thin(9))
    # The two norms that went, and the convolutions before them, which have a bias now.
    assert marked(diagram) == ["◆ 1×1 conv", "◆ BatchNorm"] * 2 + ["◆ 1×1 conv"] * 2
    assert [text for text in words(diagram) if "+ bias" in text] == ["12 → 48 + bias", "48 → 12 + bias"]
    assert marked(draw_block(thin(10), thin(11), stage=2, block=1)).count("◆ identity") == 1


def test_a_block_of_which_every_layer_changed_has_no_marks():
    picture = draw_block(architecture_after(0), architecture_after(11))
    assert not any("◆" in str(rest) for kind, *rest in picture.items if kind == "text")


def test_a_convolution_that_moves_is_marked_alone():
    assert marked(draw_block(thin(4), thin(5))) == ["◆ 3×3 depthwise"] * 2


def test_a_layer_scale_has_a_colour_of_its_own():
    fills = {polygon[5].split(":")[0]: polygon[2] for polygon in polygons(draw_block(thin(11))) if polygon[5]}
    assert fills["layer scale"] not in {fill for words, fill in fills.items() if words != "layer scale"}


def test_a_wider_convolution_counts_as_changed_but_not_its_norm():
    assert marked(draw_block(thin(3), thin(4))) == ["◆ 1×1 conv", "◆ 3×3 depthwise", "◆ 1×1 conv"] * 2


def test_changing_the_module_changes_the_picture():
    network = build(thin(4))
    first = draw_block(network)
    network.stages[0][1].residual[3] = nn.Conv2d(48, 48, 5, padding=2)
    second = draw_block(network)
    assert "3×3 depthwise" in words(first) and "5×5 conv" in words(second)
    assert first.svg() != second.svg()


def test_drawing_leaves_the_module_as_it_was():
    network = build(thin(4)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    draw_block(network, network)
    draw_network(network)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_widths_follow_the_channels():
    block = draw_block(RESNET50, stage=1, block=2)
    widths = [width(polygon) for polygon in polygons(block) if polygon[5] and "3×3" in polygon[5]]
    stream = width(polygons(block)[0])
    assert widths[0] / stream == pytest.approx(64 / 256)


def test_both_sides_have_one_scale():
    diagram = draw_block(architecture_after(3), architecture_after(4))
    spatial = [width(polygon) for polygon in polygons(diagram) if polygon[5] and "3×3" in polygon[5]]
    assert spatial[1] / spatial[0] == pytest.approx(4)


def test_a_strip_has_a_part_for_every_block_and_separate_downsampling():
    assert len(parts(draw_network(thin(0)))) == 1 + 16 + 1
    assert len(parts(draw_network(thin(11)))) == 1 + 18 + 3 + 1
    assert words(draw_network(thin(11))).count("2×2 /2") == words(draw_network(thin(11))).count("LayerNorm") == 3


def test_a_strip_marks_the_stages_that_changed():
    assert marked(draw_network(thin(0), thin(1))) == ["◆ stage 2", "◆ stage 3"]
    edges = [polygon[3] for polygon in polygons(draw_network(thin(0), thin(1)))]
    assert edges.count(CHANGED) == 1 + 3  # a block less in stage 2, three more in stage 3


def test_a_strip_marks_the_downsampling_layers_and_the_blocks_behind_them():
    diagram = draw_network(thin(10), thin("11a"))
    told = [polygon[5].split(":")[0] for polygon in parts(diagram) if polygon[3] == CHANGED]
    blocks = [f"stage {stage}, block 1" for stage in (2, 3, 4)]
    layers = [f"downsampling before stage {stage}" for stage in (2, 3, 4)]
    assert sorted(told) == sorted(2 * blocks + layers)


@pytest.mark.parametrize("pair", [(2, "3a"), (3, 4), (9, 10)])
def test_a_strip_marks_neither_what_it_cannot_show_nor_nearly_everything(pair):
    assert marked(draw_network(*map(thin, pair))) == []


def test_more_blocks_make_a_longer_strip():
    diagram = draw_network(thin(0), thin(1))
    blocks = [polygon for polygon in parts(diagram) if "block" in polygon[5]]
    assert len(blocks) == 16 + 18
    assert max(map(width, blocks)) == pytest.approx(min(map(width, blocks)))
    ends = [max(x for x, _ in polygon[1]) for polygon in (blocks[15], blocks[-1])]
    assert ends[0] < ends[1] < diagram.width


def test_an_hourglass_is_straight_where_channels_go_in_and_out():
    block = next(polygon for polygon in parts(draw_network(thin(0))) if "stage 4, block 2" in polygon[5])
    upper = [y for _, y in block[1][:6]]
    assert upper[0] == upper[1] == upper[4] == upper[5] < upper[2] == upper[3]


def test_details_tell_shape_parameters_and_multiply_adds():
    tips = [polygon[5] for polygon in polygons(draw_block(architecture_after(4))) if polygon[5]]
    assert "1×1 conv: 96×56×56 → 384×56×56, 36,864 parameters, 116 M multiply-adds" in tips


def test_a_design_shows_its_cost_beside_others():
    beside = {"step 3": architecture_after(3), "step 4": architecture_after(4)}
    found = words(draw_design(architecture_after(4), beside, widest=384))
    assert {
        "multiply-adds: 4.64 G",
        "parameters: 25.9 M",
        "activation memory, training: 184 MB",
        "step 3: 5.27 G",
    } <= set(found)


def test_designs_drawn_with_one_number_have_one_scale():
    base = architecture_after(4)
    diagrams = [draw_design(base.change(expansion=value), {"step 4": base}, widest=1536) for value in (1, 8)]
    streams = [width(polygons(diagram)[0]) for diagram in diagrams]
    assert streams[0] == pytest.approx(streams[1])


def test_only_an_architecture_is_called_a_step():
    before, after = architecture_after(4), architecture_after(5)
    diagram = draw_block(build(before), after, names=("friend", "paper"))
    assert [text for text in words(diagram) if "stage 1, block 2" in text] == [
        "friend · stage 1, block 2",
        "paper: step 5 · stage 1, block 2",
    ]
    assert words(draw_block(build(before)))[0] == "stage 1, block 2"
    assert words(draw_block(before))[0] == "step 4 · stage 1, block 2"
    strips = words(draw_network(build(before), after, names=("friend", "paper")))
    assert [text.split(", ")[0] for text in strips if "parameters" in text] == ["friend", "paper: step 5"]


def test_groups_have_a_line_of_their_own():
    network = build(thin(2))
    block = network.stages[2][0]
    block.residual[3] = nn.Conv2d(32, 32, 3, 2, 1, groups=16, bias=False)
    block.shortcut[0] = nn.Conv2d(64, 128, 1, 2, groups=16, bias=False)
    diagram = draw_block(network, thin("3a"), stage=3, block=1)
    texts = [item for item in diagram.items if item[0] == "text"]
    found = [text[3] for text in texts]
    place = found.index("◆ 3×3 conv")
    assert found[place : place + 3] == ["◆ 3×3 conv", "in 16 groups", "32, stride 2"]
    place = found.index("◆ 1×1 conv")
    assert found[place : place + 5] == ["◆ 1×1 conv", "in 16 groups", "64 → 128", "stride 2", "BatchNorm"]
    left = [text for text in texts if text[1] < diagram.width / 2]
    for side in ("start", "end"):  # of each column of words, in the order from top to bottom
        heights = [text[2] for text in left if text[5] == side and text[4] == 13 and "parameters" not in text[3]]
        assert min(below - above for above, below in itertools.pairwise(heights)) >= 15


@pytest.mark.parametrize(("stage", "block"), [(5, 1), (0, 1), (1, 4), (1, 0)])
def test_a_block_that_is_not_there(stage, block):
    with pytest.raises(DrawingError, match=r"There is no block .* from 1 on"):
        draw_block(thin(0), stage=stage, block=block)
