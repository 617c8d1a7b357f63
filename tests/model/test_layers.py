import pytest
import torch
from torch import nn

from convnext_lessons.model import STEPS, architecture_after, build, describe_layers
from convnext_lessons.model.layers import build_on_meta


def thin(step):
    return architecture_after(step).thinner(1 / 8)


def test_a_layer_is_told_by_kernel_channels_stride_and_groups():
    block = build(thin(3)).stages[1][0]
    assert [row.words for row in describe_layers(block.residual)] == [
        "1×1 conv, 48 → 24",
        "BatchNorm",
        "ReLU",
        "3×3 depthwise, 24, stride 2",
        "BatchNorm",
        "ReLU",
        "1×1 conv, 24 → 96",
        "BatchNorm",
    ]
    assert [row.words for row in describe_layers(block.shortcut)] == ["1×1 conv, 48 → 96, stride 2", "BatchNorm"]


def test_grouped_convolutions_norms_layer_scale_and_stochastic_depth_have_words():
    network = build(thin(11), stochastic_depth=0.1)
    found = [row.words for row in describe_layers(network.stages[3][2].residual)]
    assert found == [
        "7×7 depthwise, 96 + bias",
        "LayerNorm",
        "1×1 conv, 96 → 384 + bias",
        "GELU",
        "1×1 conv, 384 → 96 + bias",
        "layer scale",
        "stochastic depth, 0.1",
    ]
    assert describe_layers(nn.Conv2d(8, 8, 3, groups=4))[0].words == "3×3 conv in 4 groups, 8 + bias"


def test_a_layer_knows_its_name_its_kind_its_channels_and_its_strips():
    first, *_, last = describe_layers(build(thin(3)).stages[1][0].residual, "stages.1.0.residual")
    assert (first.name, first.kind, first.c_in, first.c_out) == ("stages.1.0.residual.0", "pointwise", 48, 24)
    assert (last.name, last.kind) == ("stages.1.0.residual.7", "norm")
    assert [row.strips for row in describe_layers(build(thin(3)).stages[1][0].residual)][3] == 24


def test_a_module_by_itself_is_one_layer():
    (row,) = describe_layers(nn.Linear(8, 4), "head.3")
    assert (row.name, row.kind, row.words) == ("head.3", "pointwise", "linear, 8 → 4")


def test_layers_that_change_nothing_are_left_out():
    assert describe_layers(nn.Sequential(nn.Identity(), nn.Flatten())) == []
    assert describe_layers(build(thin(11), stochastic_depth=0.0).stages[0][0].residual)[-1].words == "layer scale"


@pytest.mark.parametrize("step", [0, *(step.number for step in STEPS)])
def test_an_architecture_is_described_without_weights(step):
    network = build_on_meta(thin(step))
    assert all(parameter.is_meta for parameter in network.parameters())
    assert describe_layers(network) == describe_layers(build(thin(step)))


def test_a_network_is_described_as_it_is():
    network = build(thin(0))
    assert build_on_meta(network) is network
    assert not any(tensor.is_meta for tensor in network.state_dict().values())
    assert isinstance(network.head[-1].weight, torch.Tensor)
