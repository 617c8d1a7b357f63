import math
import re

import pytest
import timm
import torch
import torchvision
from torch import nn

from convnext_lessons.model import (
    FAMILIES,
    RESNET50,
    WeightsError,
    architecture_after,
    build,
    load_torchvision_weights,
    load_weights,
    save_torchvision_weights,
    save_weights,
)
from convnext_lessons.system import CourseError

ENDS = {"resnet50": 0, "convnext_tiny": 11}
# torchvision's names of the same ends at other depths and widths.
RELATIVES = {
    "resnet101": RESNET50.change(depths=(3, 4, 23, 3)),
    "resnet152": RESNET50.change(depths=(3, 8, 36, 3)),
    "convnext_small": architecture_after(11).change(depths=(3, 3, 27, 3)),
    "convnext_base": architecture_after(11).change(depths=(3, 3, 27, 3), width=128),
    "convnext_large": architecture_after(11).change(depths=(3, 3, 27, 3), width=192),
}


def on_meta(architecture, **options):
    with torch.device("meta"):
        return build(architecture, **options)


def thin(step, depths=(1, 2, 1, 1)):
    return architecture_after(step).thinner(4 / architecture_after(step).width).change(depths=depths)


def carry_signal(network):
    """Give torchvision's network weights that keep the variance, and norms that are not the identity."""
    generator = torch.Generator().manual_seed(11)

    def normal(like, mean, std):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype) * std + mean

    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(normal(tensor, 0, 0.3).exp())
        elif tensor.ndim > 1 and "layer_scale" not in name:
            tensor.copy_(normal(tensor, 0, math.sqrt(2 / tensor[0].numel())))
        elif name.endswith("bias") or name.endswith("running_mean"):
            tensor.copy_(normal(tensor, 0, 0.2))
        elif tensor.is_floating_point():  # scales of norms and blocks
            tensor.copy_(normal(tensor, 0.7, 0.2))
    return network


@pytest.fixture(scope="module", params=ENDS)
def pair(request):
    """torchvision's network and ours with its weights, in float64."""
    torch.manual_seed(0)
    name = request.param
    options = {"stochastic_depth_prob": 0.0} if name == "convnext_tiny" else {}
    theirs = carry_signal(torchvision.models.get_model(name, num_classes=10, **options).double())
    ours = build(architecture_after(ENDS[name]), num_classes=10).double()
    load_torchvision_weights(ours, theirs.state_dict())
    return theirs, ours


def pictures(seed, count=2):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(count, 3, 64, 64, generator=generator, dtype=torch.float64)


def close(ours, theirs):
    return (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


@torch.no_grad()
def test_outputs_are_torchvisions_in_eval_mode(pair):
    theirs, ours = (network.eval() for network in pair)
    assert close(ours(pictures(1)), theirs(pictures(1)))


@torch.no_grad()
def test_the_output_depends_on_the_image_and_on_the_stem(pair):
    """Without this, agreement would prove nothing."""
    theirs = pair[0].eval()
    before, other = theirs(pictures(1)), theirs(pictures(2))
    assert (other - before).abs().max() > 0.1 * before.abs().max()
    first = next(module for module in theirs.modules() if isinstance(module, nn.Conv2d)).weight
    kept = first.clone()
    first.copy_(kept.flip(-1))
    changed = theirs(pictures(1))
    first.copy_(kept)
    assert (changed - before).abs().max() > 0.1 * before.abs().max()


def test_a_training_step_is_torchvisions(pair):
    theirs, ours = pair
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    direction = torch.linspace(-1, 2, 20, dtype=torch.float64).view(2, 10)
    outputs = []
    for network in pair:
        network.train().zero_grad()
        outputs.append(network(pictures(3)))
        (outputs[-1] * direction).sum().backward()
    assert close(outputs[1], outputs[0])

    # Their gradients and running statistics, under our names.
    carrier = build(ours.arch, num_classes=10).double()
    moved = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    moved |= {name: parameter.grad for name, parameter in theirs.named_parameters()}
    load_torchvision_weights(carrier, moved)
    gradients = dict(ours.named_parameters())
    buffers = dict(ours.named_buffers())
    for name, expected in carrier.state_dict().items():
        found = gradients[name].grad if name in gradients else buffers[name]
        assert close(found, expected), name
        if name in gradients:
            assert expected.abs().max() > 0, name
    assert all(not torch.equal(state[name], moved[name]) for name in state if "running" in name)

    theirs.load_state_dict(state)
    load_torchvision_weights(ours, state)


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (0, "convnext_tiny"),
        (11, "resnet50"),
        (0, "resnet101"),
        (0, "resnet18"),
        (1, "resnet50"),
        (10, "convnext_tiny"),
        ("11a", "convnext_tiny"),
        (11, "convnext_small"),
        (11, "swin_t"),
        (11, "efficientnet_b0"),
        (0, "vgg11"),
    ],
)
def test_weights_of_another_network_are_refused(step, name, refuses):
    with torch.device("meta"):
        state = torchvision.models.get_model(name).state_dict()
    with refuses(WeightsError, "step 0", "step 11"):
        load_torchvision_weights(on_meta(architecture_after(step)), state)


@pytest.mark.parametrize("step", [0, 11])
def test_weights_for_other_classes_are_refused(step, refuses):
    state = on_meta(architecture_after(step), num_classes=10).state_dict()
    with refuses(WeightsError, "classes"):
        load_torchvision_weights(on_meta(architecture_after(step), num_classes=1000), state)


@pytest.mark.parametrize("content", [{}, {"model": {"head.weight": torch.zeros(3)}}])
def test_what_is_no_state_dict_is_refused(content, refuses):
    with refuses(WeightsError):
        load_torchvision_weights(on_meta(architecture_after(11)), content)


def test_refused_weights_leave_the_network_as_it_was():
    network = build(thin(11))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError):
        load_torchvision_weights(network, {"features.0.0.weight": torch.zeros(4, 3, 4, 4)})
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("name", RELATIVES)
def test_weights_of_relatives_of_other_depth_and_width_are_taken_and_given(name):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name).state_dict()
    ours = on_meta(RELATIVES[name])
    load_torchvision_weights(ours, theirs)
    shapes = {name: tensor.shape for name, tensor in save_torchvision_weights(ours).items()}
    assert shapes == {name: tensor.shape for name, tensor in theirs.items()}


@pytest.mark.parametrize("name", ENDS)
def test_weights_come_back_from_the_round_trip_bit_by_bit(name):
    theirs = carry_signal(torchvision.models.get_model(name)).state_dict()
    ours = build(architecture_after(ENDS[name]))
    load_torchvision_weights(ours, theirs)
    saved = save_torchvision_weights(ours)
    assert saved.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert saved[key].dtype == tensor.dtype
        assert torch.equal(saved[key], tensor), key
    again = torchvision.models.get_model(name)
    again.load_state_dict(saved)  # strict: every name and shape is torchvision's
    assert all(torch.equal(theirs[key], tensor) for key, tensor in again.state_dict().items())


@pytest.mark.parametrize("name", ENDS)
def test_weights_that_were_drawn_here_compute_the_same_in_torchvision(name):
    torch.manual_seed(3)
    ours = build(architecture_after(ENDS[name]), num_classes=10, layer_scale_init=0.5).double().eval()
    theirs = torchvision.models.get_model(name, num_classes=10).double().eval()
    theirs.load_state_dict(save_torchvision_weights(ours))
    with torch.no_grad():
        assert close(ours(pictures(4)), theirs(pictures(4)))


# Step 1 is a ResNet-50 of other depth, whose layers have names in torchvision.
@pytest.mark.parametrize("step", [2, "3a", 3, 4, 5, 6, 7, 8, 9, 10, "11a"])
def test_a_network_that_torchvision_does_not_have_is_not_saved(step, refuses):
    with refuses(WeightsError, "torchvision", "step 0", "step 11"):
        save_torchvision_weights(on_meta(architecture_after(step)))


@pytest.mark.parametrize("change", [{"kernel_size": 9}, {"patch_size": 2}, {"expansion": 3}, {"activation": "relu"}])
def test_a_changed_convnext_is_not_saved(change, refuses):
    with refuses(WeightsError, "torchvision"):
        save_torchvision_weights(on_meta(architecture_after(11).change(**change)))


def test_a_weights_error_is_one_of_the_courses_and_a_value_error():
    assert issubclass(WeightsError, CourseError)
    assert issubclass(WeightsError, ValueError)


# The authors' ConvNeXt has no package: the same names, written out as their code gives them.
def authors_names(state):
    """timm's names of a ConvNeXt → the authors'."""
    changes = [
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"^stages\.(\d)\.blocks\.(\d+)\.", r"stages.\1.\2."),
        (r"\.conv_dw\.", ".dwconv."),
        (r"\.mlp\.fc(\d)\.", r".pwconv\1."),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    ]
    renamed = {}
    for name, tensor in state.items():
        for pattern, words in changes:
            name = re.sub(pattern, words, name)
        renamed[name] = tensor
    return renamed


@pytest.fixture(scope="module")
def timms():
    """timm's ConvNeXt-T with weights that carry a signal, and what it says to two pictures."""
    torch.manual_seed(5)
    network = timm.create_model("convnext_tiny", num_classes=10, ls_init_value=0.5).double().eval()
    with torch.no_grad():
        return network.state_dict(), network(pictures(5))


@torch.no_grad()
@pytest.mark.parametrize("names", [dict, authors_names, lambda state: {"model": authors_names(state)}])
def test_weights_under_timms_and_the_authors_names_compute_the_same(names, timms):
    state, expected = timms
    ours = build(architecture_after(11), num_classes=10).double().eval()
    load_weights(ours, names(state))
    assert close(ours(pictures(5)), expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("step", [0, 11])
def test_every_familys_names_come_back_bit_by_bit(family, step):
    ours, again = build(thin(step)), build(thin(step))
    load_weights(again, save_weights(ours, family))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_timm_and_torchvision_take_their_names_strictly(timms):
    ours = build(architecture_after(11), num_classes=10)
    timm.create_model("convnext_tiny", num_classes=10).load_state_dict(save_weights(ours, "timm"))
    resnet = build(architecture_after(0), num_classes=10)
    timm.create_model("resnet50", num_classes=10).load_state_dict(save_weights(resnet, "timm"))
    named = {name: tensor.shape for name, tensor in save_weights(ours, "authors").items()}
    assert named == {name: tensor.shape for name, tensor in authors_names(timms[0]).items()}


def test_the_courses_own_names_fit_any_network():
    ours, again = build(thin(6)), build(thin(6))
    load_weights(again, ours.state_dict())
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize("classes", [3, 7])
@pytest.mark.parametrize("step", [0, 11])
def test_a_new_head_stays_as_it_was_and_the_rest_is_copied(step, classes):
    theirs, ours = build(thin(step), num_classes=7), build(thin(step), num_classes=classes)
    head = ours.head[-1].weight.clone()
    load_weights(ours, save_weights(theirs), new_head=True)
    assert torch.equal(ours.head[-1].weight, head)
    own = ours.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in theirs.state_dict().items() if "head.3" not in name)


def test_a_new_head_is_no_excuse_for_another_network(refuses):
    with refuses(WeightsError, "differ"):
        load_weights(on_meta(architecture_after(11)), on_meta(architecture_after(10)).state_dict(), new_head=True)


def test_an_unknown_family_is_refused(refuses):
    with refuses(WeightsError, "keras", "timm"):
        save_weights(on_meta(architecture_after(11)), "keras")


@pytest.mark.parametrize("content", [None, 3, "weights", {"a": 1}, {"model": {}}])
def test_what_holds_no_tensors_is_refused(content, refuses):
    with refuses(WeightsError, "no weights"):
        load_weights(on_meta(architecture_after(11)), content)
