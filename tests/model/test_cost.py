import warnings

import pytest
import torch
import torchvision
from torch import nn

from convnext_lessons.model import (
    COSTS,
    RESNET50,
    InputError,
    architecture_after,
    build,
    count,
    count_with_fvcore,
)
from convnext_lessons.model.cost import MULTIPLY_ADDS, CostError, CostKind, stage_of
from convnext_lessons.system import CourseError

# 10^9 multiply-adds of convolutions and linear layers at 224 px, counted with fvcore outside of this project.
GMACS = {
    "0": 4.089,
    "1": 4.526,
    "2": 4.418,
    "3a": 2.350,
    "3b": 5.268,
    "4": 4.644,
    "5": 4.065,
    "6a": 4.097,
    "6b": 4.146,
    "6c": 4.210,
    "6d": 4.291,
    "7": 4.146,
    "8": 4.146,
    "9": 4.146,
    "10": 4.146,
    "11a": 4.456,
    "11b": 4.456,
}
STAGES = ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "head"]


def multiply_adds(operators):
    """Those of fvcore's count that networks are compared by."""
    return sum(operators.get(name, 0) for name in MULTIPLY_ADDS)


def fvcore_by_module(network, image_size=224):
    """fvcore's multiply-adds by module name, children included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, 3, image_size, image_size))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return {name: multiply_adds(operators) for name, operators in analysis.by_module_and_operator().items()}


@pytest.mark.parametrize("label", GMACS)
def test_every_row_of_the_road(label):
    """One count by fvcore a row answers all questions about it, because that one is the slow part."""
    network = build(architecture_after(label))
    counted, expected = count(architecture_after(label)), fvcore_by_module(network)
    assert expected[""] / 1e9 == pytest.approx(GMACS[label], abs=0.005)
    assert counted.macs == expected[""]
    # Every layer that multiplies is without children, and so is fvcore's number of it.
    assert {layer.name: layer.macs for layer in counted.layers if layer.macs} == {
        name: expected[name]
        for name, module in network.named_modules()
        if expected[name] and next(module.children(), None) is None
    }
    assert counted.params == sum(parameter.numel() for parameter in network.parameters())
    assert counted.layers == count(network).layers
    for kind in COSTS:
        stages = counted.by_stage(kind.key)
        assert list(stages) == STAGES
        assert sum(stages.values()) == kind.of(counted)


@pytest.mark.parametrize("label", GMACS)
def test_the_count_of_every_row(label):
    assert count(architecture_after(label)).macs / 1e9 == pytest.approx(GMACS[label], abs=0.001)


@pytest.mark.parametrize(
    ("model", "total", "macs"),
    [
        (architecture_after(0), 4_111_512_576, 4.089),
        (architecture_after(11), 4_470_437_376, 4.456),
        (torchvision.models.resnet50, 4_111_512_576, 4.089),
        (torchvision.models.convnext_tiny, 4_470_437_376, 4.456),
        (torchvision.models.swin_t, 4_509_232_128, 4.491),
    ],
    ids=["step 0", "step 11", "resnet50", "convnext_tiny", "swin_t"],
)
def test_all_that_fvcore_counts(model, total, macs):
    cost, operators = count(model), count_with_fvcore(model)
    assert cost.total == sum(operators.values()) == total
    assert cost.macs == multiply_adds(operators)
    assert cost.macs / 1e9 == pytest.approx(macs, abs=0.0005)


def test_the_total_includes_norms_and_pooling():
    operators = count_with_fvcore(RESNET50.thinner(1 / 16), image_size=32)
    assert {"conv", "linear", "batch_norm", "adaptive_avg_pool2d"} <= operators.keys()
    assert all(number > 0 for number in operators.values())


def test_the_total_is_that_of_the_network_as_it_was_counted():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1))
    cost = count(network, image_size=10)
    network[1] = nn.Identity()
    assert cost.total == cost.macs == (3 * 8 + 8 * 8) * 100


@pytest.mark.parametrize("kind", COSTS, ids=lambda kind: kind.key)
def test_every_kind_of_cost_is_a_sum_over_the_layers(kind):
    for model in (RESNET50, architecture_after(11), torchvision.models.swin_t):
        cost = count(model)
        of_layers = [kind.of(layer) for layer in cost.layers]
        assert kind.of(cost) == sum(of_layers) > 0
        assert all(number >= 0 for number in of_layers)
        assert sum(cost.by_stage(kind.key).values()) == kind.of(cost)


def test_every_kind_of_cost_has_a_key_and_a_title_of_its_own():
    assert len({kind.key for kind in COSTS}) == len({kind.title for kind in COSTS}) == len(COSTS)


@pytest.mark.parametrize(("unit", "unit_name"), [(0, "MB"), (1e6, ""), (None, "MB")])
def test_a_kind_of_cost_without_a_unit_is_refused(unit, unit_name, refuses):
    with refuses(CostError, "energy", "unit"):
        CostKind("joules", "energy", unit, unit_name)
    assert issubclass(CostError, CourseError)


def test_a_cost_that_nobody_counts_is_refused(refuses):
    cost = count(RESNET50, 32)
    for asked in (lambda: CostKind("joules", "energy", 1.0, "J").of(cost), lambda: cost.by_stage("joules")):
        with refuses(CostError, "'joules'", "property"):
            asked()


@pytest.mark.parametrize("model", ["resnet50", None, 11, lambda: 3])
def test_what_is_no_network_is_not_counted(model, refuses):
    with refuses(CostError, "is no network"):
        count(model)


@pytest.mark.parametrize("size", [0, -1, 1.5, "224", None])
def test_a_picture_has_a_whole_number_of_pixels(size, refuses):
    with refuses(CostError, f"image_size is {size!r}"):
        count(RESNET50, size)


def test_swin_tiny():
    cost = count(torchvision.models.swin_t)
    assert cost.macs / 1e9 == pytest.approx(4.491, abs=0.0005)
    assert round(cost.params / 1e6, 2) == 28.29
    assert list(cost.by_stage("macs")) == STAGES
    assert sum(cost.by_stage("params").values()) == cost.params


@pytest.mark.parametrize(("step", "name"), [(0, "resnet50"), (11, "convnext_tiny")])
def test_stages_cost_what_torchvisions_cost(step, name):
    ours, theirs = count(architecture_after(step)), count(torchvision.models.get_model_builder(name))
    for key in ("macs", "params"):
        assert ours.by_stage(key) == theirs.by_stage(key)


# Megabytes for the backward pass, one picture of 224 px, float32; or the change from the step before.
@pytest.mark.parametrize(("label", "megabytes"), [("3", 122), ("4", 184), ("6", 106), ("7", 158)])
def test_activation_memory(label, megabytes):
    assert round(count(architecture_after(label)).activation_bytes / 1e6) == megabytes


@pytest.mark.parametrize(("before", "after", "percent"), [(3, 4, 51), (6, 7, 49), (7, 8, -11), (8, 9, -31)])
def test_activation_memory_moves(before, after, percent):
    first, second = (count(architecture_after(step)).activation_bytes for step in (before, after))
    assert round(100 * (second / first - 1)) == percent


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.GELU()])
def test_activation_memory_by_hand(layer):
    # The convolution keeps its 3 channels, the activation 8: its output (ReLU) or its input (GELU).
    cost = count(nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), layer), image_size=10)
    assert [entry.activation_bytes for entry in cost.layers] == [3 * 100 * 4, 8 * 100 * 4]


@pytest.mark.parametrize("step", [0, 4, 8, 11])
def test_activation_memory_of_real_tensors(step):
    network = build(architecture_after(step).thinner(1 / 8)).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(torch.randn(2, 3, 64, 64))
    for address in own:
        kept.pop(address, None)
    assert output.requires_grad  # and with it every kept tensor is alive, each at its own address
    assert count(network, image_size=64).activation_bytes == pytest.approx(sum(kept.values()) / 2, rel=1e-3)


def test_shared_activations_count_once():
    # An in-place ReLU keeps the very tensor that the next convolution keeps.
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 1))
    assert count(network, image_size=10).activation_bytes == (3 + 8) * 100 * 4


def test_layers_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8 * 25, 6))
    first, _, last = count(network, image_size=10).layers
    assert (first.shape_in, first.shape_out, first.kind) == ((3, 10, 10), (8, 5, 5), "Conv2d")
    assert (first.macs, first.params) == (3 * 3 * 3 * 8 * 25, 3 * 3 * 3 * 8 + 8)
    assert (last.macs, last.params) == (200 * 6, 200 * 6 + 6)


@pytest.mark.parametrize(
    ("step", "macs"), [(1, 7 * 7 * 3 * 64 * 112 * 112), (2, 4 * 4 * 3 * 64 * 56 * 56), (11, 4 * 4 * 3 * 96 * 56 * 56)]
)
def test_the_stem_by_hand(step, macs):
    assert count(architecture_after(step)).by_stage("macs")["stem"] == macs


@pytest.mark.parametrize(("step", "macs"), [(0, 2048 * 1000), (11, 768 * 1000)])
def test_the_head_by_hand(step, macs):
    assert count(architecture_after(step)).by_stage("macs")["head"] == macs


@pytest.mark.parametrize(("depths", "gmacs"), [((2, 3, 8, 3), 4.089), ((4, 5, 6, 3), 4.526), ((3, 3, 9, 3), 4.526)])
def test_a_block_costs_the_same_in_every_stage(depths, gmacs):
    assert count(RESNET50.change(depths=depths)).macs / 1e9 == pytest.approx(gmacs, abs=0.0005)


def in_shortcuts(step):
    cost = count(architecture_after(step))
    shortcuts = sum(layer.macs for layer in cost.layers if ".shortcut." in layer.name)
    return shortcuts / 1e6, (cost.macs - shortcuts) / 1e6


def test_where_the_inverted_bottleneck_saves():
    (before, rest_before), (after, rest_after) = in_shortcuts(3), in_shortcuts(4)
    assert round(after - before) == -766
    assert round(rest_after - rest_before) == 142


@pytest.mark.parametrize("step", [0, 11])
def test_cost_follows_the_image_size(step):
    # 160 px are 5/7 of 224 px, and every stage divides; only the classifier does not see positions.
    large, small = (count(architecture_after(step), image_size=size) for size in (224, 160))
    head = large.by_stage("macs")["head"]
    assert (small.macs - head) * 49 == (large.macs - head) * 25
    assert small.params == large.params


@pytest.mark.parametrize("counting", [count, count_with_fvcore])
@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_a_network_as_it_was(counting, training):
    network = build(RESNET50.thinner(1 / 16)).train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    counting(network, image_size=32)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(module.training is training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_network_costs_what_its_architecture_costs():
    thin = architecture_after(11).thinner(1 / 8)
    assert count(build(thin), image_size=64).layers == count(thin, image_size=64).layers
    assert count_with_fvcore(build(thin), image_size=64) == count_with_fvcore(thin, image_size=64)


def test_an_architecture_is_counted_once():
    thin = RESNET50.thinner(1 / 16)
    assert count(thin, image_size=32) is count(thin.change(), image_size=32)


def test_the_default_image_size_is_no_other_question():
    thin = RESNET50.thinner(1 / 16)
    assert count(thin) is count(thin, 224) is count(thin, image_size=224)


def test_a_network_is_counted_anew():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1))
    assert count(network, image_size=10).macs == (3 * 8 + 8 * 8) * 100
    assert multiply_adds(count_with_fvcore(network, image_size=10)) == (3 * 8 + 8 * 8) * 100
    network[1] = nn.Identity()
    assert count(network, image_size=10).macs == 3 * 8 * 100
    assert multiply_adds(count_with_fvcore(network, image_size=10)) == 3 * 8 * 100


@pytest.mark.parametrize("counting", [count, count_with_fvcore])
def test_an_image_too_small_is_refused(counting, refuses):
    with refuses(InputError, "32"):
        counting(RESNET50.thinner(1 / 16), image_size=16)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("stem.0", "stem"),
        ("stages.0.1.residual.0", "stage 1"),
        ("transitions.3.1", "stage 4"),
        ("head.3", "head"),
        ("conv1", "stem"),
        ("layer4.0.downsample.0", "stage 4"),
        ("fc", "head"),
        ("features.0.1", "stem"),
        ("features.1.0.block.0", "stage 1"),
        ("features.2.1", "stage 2"),
        ("features.7.2.block.5", "stage 4"),
        ("classifier.2", "head"),
    ],
)
def test_stages_of_ours_and_of_torchvisions(name, stage):
    assert stage_of(name) == stage
