import copy
import math

import pytest
import torch
import torchvision
from torch import nn

from convnext_lessons.model import RESNET50, InputError, LayerNorm2d, LayerScale, architecture_after, build, initialize
from convnext_lessons.model.network import Block
from convnext_lessons.model.roadmap import LABELS

# Counted under these conventions: a convolution has a bias unless a BatchNorm follows it; the stem and the shortcuts
# keep their norm; no layer scale before 11b.
PARAMETERS = {
    "0": 25_557_032,
    "1": 28_628_520,
    "2": 28_622_184,
    "3a": 15_722_664,
    "3b": 33_761_032,
    "4": 25_851_496,
    "5": 25_625_512,
    "6": 25_863_592,
    "7": 25_863_592,
    "8": 25_863_592,
    "9": 25_830_472,
    "10": 25_837_864,
    "11a": 28_582_504,
    "11b": 28_589_128,
}
MILLIONS_BY_KERNEL = {"6a": 25.72, "6b": 25.86, "6c": 26.05, "6d": 26.29}
BASES = ("0", "3", "5", "8", "10", "11")
CHANGES = [
    *(("depths", value) for value in [(1,), (2, 1), (1, 1, 1, 1, 1)]),
    *(("stem", value) for value in ["resnet", "patchify"]),
    *(("patch_size", value) for value in [2, 3, 8]),
    *(("depthwise", value) for value in [False, True]),
    ("groups", 2),
    *(("width", value) for value in [2, 10]),
    *(("inverted", value) for value in [False, True]),
    *(("expansion", value) for value in [1, 2, 3]),
    *(("depthwise_first", value) for value in [False, True]),
    *(("kernel_size", value) for value in [1, 5, 11]),
    *(("activation", value) for value in ["relu", "gelu"]),
    *(("activate_after", value) for value in [(), ("first",), ("addition",), ("first", "second", "addition")]),
    *(("normalize_after", value) for value in [(), ("second",), ("third",), ("first", "second", "third")]),
    *(("norm", value) for value in ["batch", "layer"]),
    *(("downsampling", value) for value in ["block", "separate"]),
    *(("layer_scale", value) for value in [False, True]),
]


def on_meta(architecture, **options):
    with torch.device("meta"):
        return build(architecture, **options)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def thin(step, depths=(1, 2, 1, 1)):
    return architecture_after(step).thinner(4 / architecture_after(step).width).change(depths=depths)


# The road -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", PARAMETERS)
def test_parameters_exactly(label):
    assert parameters(on_meta(architecture_after(label))) == PARAMETERS[label]


@pytest.mark.parametrize("label", MILLIONS_BY_KERNEL)
def test_parameters_of_every_kernel(label):
    assert round(parameters(on_meta(architecture_after(label))) / 1e6, 2) == MILLIONS_BY_KERNEL[label]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("resnet101", {"depths": (3, 4, 23, 3)}),
        ("resnet152", {"depths": (3, 8, 36, 3)}),
    ],
)
def test_deeper_resnets_are_torchvisions(name, changes):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name)
    assert parameters(on_meta(RESNET50.change(**changes))) == parameters(theirs)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("convnext_small", {"depths": (3, 3, 27, 3)}),
        ("convnext_base", {"depths": (3, 3, 27, 3), "width": 128}),
        ("convnext_large", {"depths": (3, 3, 27, 3), "width": 192}),
    ],
)
def test_larger_convnexts_are_torchvisions(name, changes):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name)
    assert parameters(on_meta(architecture_after(11).change(**changes))) == parameters(theirs)


# 18 blocks after step 0. An activation may stand in three places of a block, and one more ends the stem.
@pytest.mark.parametrize(
    ("step", "kind", "count"),
    [
        (0, nn.ReLU, 16 * 3 + 1),
        (6, nn.ReLU, 18 * 3 + 1),
        (7, nn.GELU, 18 * 3 + 1),
        (7, nn.ReLU, 0),
        (8, nn.GELU, 18),
        # Norms: one for each convolution, the stem's and the projections' included.
        (0, nn.BatchNorm2d, 16 * 3 + 1 + 4),
        (8, nn.BatchNorm2d, 18 * 3 + 1 + 3),
        (9, nn.BatchNorm2d, 18 + 1 + 3),
        (10, LayerNorm2d, 18 + 1 + 3),
        (10, nn.BatchNorm2d, 0),
        # Stem, three layers between stages, pooling.
        (11, LayerNorm2d, 18 + 1 + 3 + 1),
        (11, LayerScale, 18),
        ("11a", LayerScale, 0),
    ],
)
def test_what_a_step_is_made_of(step, kind, count):
    assert sum(isinstance(module, kind) for module in on_meta(architecture_after(step)).modules()) == count


@pytest.mark.parametrize("label", LABELS)
def test_a_convolution_has_a_bias_unless_a_batch_norm_follows(label):
    for group in on_meta(architecture_after(label)).modules():
        if isinstance(group, nn.Sequential):
            layers = list(group)
            for layer, after in zip(layers, [*layers[1:], None], strict=True):
                if isinstance(layer, nn.Conv2d):
                    assert (layer.bias is None) == isinstance(after, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("step", "kernel", "channels"),
    [
        (0, 3, 128),  # v1.5: the stride sits on the 3×3
        (3, 3, 192),
        (4, 3, 768),  # the depthwise is wide, and the 1×1 before it runs at the high resolution
        (5, 3, 96),  # the depthwise comes first, on the channels that come in
        (6, 7, 96),
    ],
)
def test_the_stride_of_a_transition_sits_on_the_spatial_convolution(step, kernel, channels):
    first = on_meta(architecture_after(step)).stages[1][0]
    strided = [layer for layer in first.residual.modules() if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)]
    assert [(layer.kernel_size, layer.in_channels) for layer in strided] == [((kernel, kernel), channels)]


@pytest.mark.parametrize(("step", "projections"), [(0, 4), (3, 4), (4, 3), (10, 3), (11, 0)])
def test_blocks_whose_shortcut_is_a_projection(step, projections):
    blocks = [module for module in on_meta(architecture_after(step)).modules() if isinstance(module, Block)]
    assert sum(not isinstance(block.shortcut, nn.Identity) for block in blocks) == projections


# Any other network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("field", "value"), CHANGES, ids=[f"{field}={value}" for field, value in CHANGES])
def test_any_single_change_gives_a_network_that_computes_and_learns(base, field, value):
    network = build(thin(base, (1, 1, 1)).change(**{field: value}), num_classes=7)
    initialize(network, "fan_in")
    output = network.eval()(torch.randn(2, 3, 72, 64))
    assert output.shape == (2, 7)
    assert torch.isfinite(output).all()
    output.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("factor", [1 / 4, 1 / 8])
@pytest.mark.parametrize("step", [0, 8])
def test_thin_strided_convolutions_have_the_same_gradients_in_either_layout(step, factor):
    # Short runs have these widths and channels_last; with few channels oneDNN has computed wrong gradients there (its
    # issue 6035).
    network = build(architecture_after(step).thinner(factor), num_classes=10)
    strided = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)]
    assert any(layer.kernel_size == (1, 1) for layer in strided)
    for layer in strided:
        pictures, gradients = torch.randn(2, layer.in_channels, 16, 16), []
        for layout in (torch.contiguous_format, torch.channels_last):
            own = copy.deepcopy(layer).to(memory_format=layout)
            own(pictures.contiguous(memory_format=layout)).square().sum().backward()
            gradients.append(own.weight.grad)
        assert torch.allclose(*gradients, rtol=1e-3, atol=1e-4 * gradients[0].abs().max().item())


@pytest.mark.parametrize("depths", [(3, 4, 23, 3), (3, 24, 36, 3)])
@pytest.mark.parametrize("step", [0, 11])
def test_deep_networks_run(step, depths):
    network = build(thin(step, depths), num_classes=3).eval()
    assert sum(isinstance(module, Block) for module in network.modules()) == sum(depths)
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize("step", [0, 2, 5, 11])
@pytest.mark.parametrize("size", [(160, 160), (96, 64), (33, 71), (32, 32)])
def test_images_of_other_sizes_run(step, size):
    assert build(thin(step), num_classes=3).eval()(torch.randn(1, 3, *size)).shape == (1, 3)


@pytest.mark.parametrize("step", [0, 11])
def test_stages_halve_the_resolution_and_double_the_channels(step):
    network = build(thin(step)).eval()
    x, shapes = network.stem(torch.randn(1, 3, 64, 64)), []
    for transition, stage in zip(network.transitions, network.stages, strict=True):
        x = stage(transition(x))
        shapes.append(tuple(x.shape[1:]))
    narrow = 16 if step == 0 else 4
    assert shapes == [(narrow, 16, 16), (2 * narrow, 8, 8), (4 * narrow, 4, 4), (8 * narrow, 2, 2)]


@pytest.mark.parametrize(
    "shape", [(1, 3, 31, 64), (1, 3, 64, 31), (1, 1, 64, 64), (3, 64, 64), (1, 64, 64, 3), (2, 3, 0, 0), (64,)]
)
@pytest.mark.parametrize("step", [0, 11])
def test_images_that_do_not_fit_are_refused(step, shape, refuses):
    network = build(thin(step)).eval()
    with refuses(InputError, str(list(shape)), "32"):
        network(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "smallest"), [({"depths": (1, 1)}, 8), ({"depths": (1,), "patch_size": 7}, 7), ({"patch_size": 8}, 64)]
)
def test_the_smallest_image_depends_on_the_network(changes, smallest, refuses):
    network = build(thin(11).change(**changes), num_classes=3).eval()
    assert network(torch.zeros(1, 3, smallest, smallest)).shape == (1, 3)
    with refuses(InputError, str(smallest)):
        network(torch.zeros(1, 3, smallest - 1, smallest))


# Parts ----------------------------------------------------------------------------------------------------------------


def test_layer_norm_is_over_the_channels_of_each_position():
    x = torch.randn(2, 6, 3, 5) * 3 + 1
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    torch.testing.assert_close(LayerNorm2d(6)(x), (x - mean) / (variance + 1e-6).sqrt())


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_layer_norm_keeps_the_number_format_of_its_input(half):
    x, layer = 3 * torch.randn(4, 96, 3, 5) + 1, LayerNorm2d(96)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    with torch.autocast("cpu", half):
        y = layer(x.to(half))
    assert y.dtype == half and layer(x).dtype == torch.float32
    y.float().square().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), layer(x), rtol=0.02, atol=0.03)


def test_convnext_is_one_graph_also_in_mixed_precision():
    network = torch.compile(build(thin(11), stochastic_depth=0.1).train(), backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(2, 3, 32, 32)).sum().backward()


def test_layer_scale_keeps_the_stream_from_losing_small_changes():
    network = build(thin(11), layer_scale_init=1e-6)
    seen = []
    for block in network.stages[0]:
        block.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(2, 3, 64, 64))
    assert {output.dtype for _, output in seen} == {torch.float32}
    assert all((before != after).any() for before, after in seen)
    assert all((before.bfloat16() == after.bfloat16()).float().mean() > 0.99 for before, after in seen)


@pytest.mark.parametrize("init", [1e-6, 0.5])
def test_layer_scale_starts_where_it_is_told_to(init):
    network = build(thin(11), layer_scale_init=init)
    for module in network.modules():
        if isinstance(module, LayerScale):
            torch.testing.assert_close(module.factor, torch.full_like(module.factor, init))


def test_layer_scale_is_a_factor_for_each_channel():
    scale = LayerScale(2, 1.0)
    scale.factor.data.copy_(torch.tensor([2.0, -3.0]).view(2, 1, 1))
    output = scale(torch.ones(1, 2, 2, 2))
    assert output[0, 0].eq(2).all()
    assert output[0, 1].eq(-3).all()


def drop_rates(network):
    return [module.p for module in network.modules() if isinstance(module, torchvision.ops.StochasticDepth)]


def test_stochastic_depth_grows_linearly_from_block_to_block():
    rates = drop_rates(build(thin(11, (3, 3, 9, 3)), stochastic_depth=0.1))
    assert rates == pytest.approx([0.1 * index / 17 for index in range(18)])


def test_stochastic_depth_is_torchvisions():
    with torch.device("meta"):
        theirs = torchvision.models.convnext_tiny(stochastic_depth_prob=0.3)
    assert drop_rates(on_meta(architecture_after(11), stochastic_depth=0.3)) == pytest.approx(drop_rates(theirs))


def test_stochastic_depth_of_a_single_block():
    assert drop_rates(build(thin(11, (1,)), stochastic_depth=0.1)) == [0]


def test_a_dropped_block_leaves_its_shortcut():
    block = build(thin(11, (2,)), stochastic_depth=1.0).train().stages[0][1]
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x)
    assert not torch.equal(block.eval()(x), x)


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("step", [0, 11])
def test_fresh_weights_are_a_truncated_normal(step):
    network = build(thin(step).change(width=32))
    every = torch.cat([module.weight.flatten() for module in convolutions(network)])
    assert every.std().item() == pytest.approx(0.02, rel=0.02)
    assert network.head[-1].weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("scheme", ["truncated_normal", "fan_in", "fan_out"])
def test_fresh_biases_are_zero(scheme):
    network = build(thin(11))
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    initialize(network, scheme)
    biases = [m.bias for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(biases) == 1 + 3 * 5 + 3 + 1
    assert all(bias.eq(0).all() for bias in biases)


@pytest.mark.parametrize(("scheme", "channels"), [("fan_in", "in_channels"), ("fan_out", "out_channels")])
def test_kaiming_schemes_keep_the_variance(scheme, channels):
    network = build(thin(0).change(width=32))
    initialize(network, scheme)
    for layer in convolutions(network):
        if layer.weight.numel() > 5000:
            fan = getattr(layer, channels) * math.prod(layer.kernel_size)
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.06)


def test_weights_are_drawn_from_torchs_generator():
    torch.manual_seed(5)
    first = build(thin(11)).state_dict()
    torch.manual_seed(5)
    again = build(thin(11)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
