import pytest
import torch

from convnext_lessons.model import RESNET50, Architecture, ArchitectureError, architecture_after, build


@pytest.mark.parametrize("field", ["patch_size", "groups", "width", "expansion", "kernel_size"])
@pytest.mark.parametrize("value", [0, -3, 3.0, True, "3", None])
def test_counts_are_whole_and_positive(field, value, refuses):
    with refuses(ArchitectureError, field, repr(value)):
        RESNET50.change(**{field: value})


@pytest.mark.parametrize("field", ["depthwise", "inverted", "depthwise_first", "layer_scale"])
@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_switches_are_true_or_false(field, value, refuses):
    with refuses(ArchitectureError, field, repr(value)):
        RESNET50.change(**{field: value})


@pytest.mark.parametrize("field", ["stem", "activation", "norm", "downsampling"])
def test_unknown_choice_is_refused(field, refuses):
    with refuses(ArchitectureError, field, "'nonsense'", repr(getattr(RESNET50, field))):
        RESNET50.change(**{field: "nonsense"})


@pytest.mark.parametrize(("field", "value"), [("activate_after", "third"), ("normalize_after", "addition")])
def test_unknown_place_is_refused(field, value, refuses):
    with refuses(ArchitectureError, field, value):
        RESNET50.change(**{field: ("first", value)})


@pytest.mark.parametrize("field", ["depths", "activate_after", "normalize_after"])
@pytest.mark.parametrize("value", ["second", 3, None, {"first"}])
def test_a_lone_value_is_no_tuple(field, value, refuses):
    with refuses(ArchitectureError, field, "tuple"):
        RESNET50.change(**{field: value})


@pytest.mark.parametrize("kernel", [2, 8])
def test_even_kernel_is_refused(kernel, refuses):
    with refuses(ArchitectureError, "kernel_size", "odd", str(kernel + 1)):
        RESNET50.change(kernel_size=kernel)


@pytest.mark.parametrize("depths", [(3, 0, 6, 3), (3, -1), (3, 3.5), (True,), ("3",)])
def test_a_stage_has_at_least_one_block(depths, refuses):
    with refuses(ArchitectureError, "depths"):
        RESNET50.change(depths=depths)


def test_a_network_has_at_least_one_stage(refuses):
    with refuses(ArchitectureError, "depths", "empty"):
        RESNET50.change(depths=())


def test_unknown_field_is_refused(refuses):
    with refuses(ArchitectureError, "'colour'", "kernel_size"):
        RESNET50.change(colour="red")


# Channels of the first spatial convolution: 64 inside a bottleneck, 256 inside an inverted one, 64 in front of it.
@pytest.mark.parametrize(
    ("changes", "groups", "works"),
    [
        ({}, 64, True),
        ({}, 128, False),
        ({}, 3, False),
        ({"inverted": True}, 256, True),
        ({"inverted": True}, 96, False),
        ({"inverted": True, "depthwise_first": True}, 64, True),
        ({"inverted": True, "depthwise_first": True}, 256, False),
    ],
)
def test_groups_divide_the_channels(changes, groups, works, refuses):
    base = RESNET50.change(depths=(1, 1), **changes)
    if works:
        output = build(base.change(groups=groups), num_classes=5).eval()(torch.randn(1, 3, 32, 32))
        assert output.shape == (1, 5)
    else:
        with refuses(ArchitectureError, "groups", str(groups)):
            base.change(groups=groups)


def test_lists_are_taken_for_tuples():
    listed = Architecture(depths=[3, 3, 9, 3], activate_after=["second"], normalize_after=["first"])
    tupled = Architecture(depths=(3, 3, 9, 3), activate_after=("second",), normalize_after=("first",))
    assert listed == tupled
    assert hash(listed) == hash(tupled)


def test_change_leaves_the_original():
    before = Architecture()
    before.change(width=96)
    assert before == Architecture()


def test_change_changes_what_is_named_and_nothing_else():
    assert RESNET50.change(width=96, stem="patchify").differences(RESNET50) == {
        "width": (96, 64),
        "stem": ("patchify", "resnet"),
    }


def test_no_differences_from_itself():
    assert RESNET50.differences(Architecture()) == {}


@pytest.mark.parametrize(
    ("step", "streams", "insides"),
    [
        (0, (256, 512, 1024, 2048), (64, 128, 256, 512)),
        (3, (384, 768, 1536, 3072), (96, 192, 384, 768)),
        (4, (96, 192, 384, 768), (384, 768, 1536, 3072)),
        (11, (96, 192, 384, 768), (384, 768, 1536, 3072)),
    ],
)
def test_channels_by_stage(step, streams, insides):
    architecture = architecture_after(step)
    assert tuple(map(architecture.stream, range(4))) == streams
    assert tuple(map(architecture.inside, range(4))) == insides


def test_thinner_narrows_the_width_only():
    assert architecture_after(11).thinner(1 / 8).differences(architecture_after(11)) == {"width": (12, 96)}


def test_thinner_by_one_is_the_same():
    grouped = RESNET50.change(groups=32)
    assert grouped.thinner(1) == grouped


@pytest.mark.parametrize(
    "changes", [{"depths": (10**9,)}, {"width": 10**9}, {"kernel_size": 10**6 + 1}, {"expansion": 10**5}]
)
def test_numbers_that_no_machine_can_take_are_refused(changes, refuses):
    with refuses(ArchitectureError, *changes, "from 1 to 10,000"):
        RESNET50.change(**changes)


def test_stages_that_no_machine_can_take_are_refused(refuses):
    assert RESNET50.change(depths=(1,) * 12).stream(11) == 64 * 4 * 2**11
    with refuses(ArchitectureError, "13 stages", f"{64 * 4 * 2**12:,} channels"):
        RESNET50.change(depths=(1,) * 13)


@pytest.mark.parametrize("factor", [1 / 3, 1 / 128, 0, -1, float("nan"), float("inf"), "half", None])
def test_thinner_leaves_whole_channels(factor, refuses):
    with refuses(ArchitectureError, "64", "whole"):
        RESNET50.thinner(factor)


@pytest.mark.parametrize(
    ("width", "groups", "factor"),
    [(64, 32, 1 / 8), (64, 32, 1 / 2), (96, 32, 1 / 2), (96, 48, 1 / 4), (96, 6, 1 / 24)],
)
def test_groups_shrink_with_the_width_if_they_must(width, groups, factor):
    thin = RESNET50.change(width=width, groups=groups).thinner(factor)
    assert thin.width == width * factor
    assert thin.width % thin.groups == 0


def test_groups_stay_where_they_still_divide():
    assert RESNET50.change(groups=4).thinner(1 / 8).groups == 4
