import itertools
import math

import pytest
import torch
import torchvision

from convnext_lessons.model import RESNET50, TimeRatio, build, compare_times, time_layers, timing
from convnext_lessons.model.timing import TimingError, make_worker, time_in_turns

TINY = RESNET50.thinner(1 / 16).change(depths=(1, 1, 1, 1))
SMALL = {"image_size": 32, "batch_size": 2, "device": "cpu"}


def test_two_take_turns_and_the_first_round_is_left_out(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def spend(name, seconds):
        def once():
            calls.append(name)
            clock[0] += seconds

        return once

    assert time_in_turns(spend("first", 1), spend("second", 3), rounds=4) == [3.0] * 4
    assert calls == ["second", "first", "first", "second"] * 2 + ["second", "first"]


@pytest.mark.parametrize(("rounds", "cut"), [(3, 0), (5, 0), (8, 0), (9, 1), (11, 1), (12, 2)])
def test_the_interval_holds_the_median_nineteen_times_out_of_twenty(rounds, cut):
    ratios = [float(number) for number in range(1, rounds + 1)]
    found = TimeRatio.of(reversed_order := ratios[::-1], "here")
    assert found.median == sum(ratios) / rounds
    assert (found.low, found.high) == (ratios[cut], ratios[-1 - cut])
    # The median is beyond an end where at most ``cut`` of the rounds fall on its other side.
    beyond = 2 * sum(math.comb(rounds, number) for number in range(cut + 1)) / 2**rounds
    assert beyond <= 0.05 or cut == 0
    assert reversed_order == ratios[::-1]


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_few_rounds_are_refused(rounds, refuses):
    with refuses(TimingError, f"{rounds} rounds", "at least 3"):
        TimeRatio.of([1.0] * rounds, "here")
    with refuses(TimingError, f"{rounds} rounds", "at least 3"):
        compare_times(TINY, TINY, rounds=rounds, **SMALL)


def test_a_busy_machine_is_told_of():
    quiet, busy = TimeRatio.of([1.0, 1.1, 1.2], "here"), TimeRatio.of([0.9, 1.1, 1.4], "here")
    assert str(quiet) == "× 1.10 (1.00 to 1.20)" and not quiet.busy
    assert busy.busy and "too much else runs" in str(busy)


def test_two_networks_are_compared_through_a_third():
    found = TimeRatio.of([1.8, 2.0, 2.2], "there").over(TimeRatio.of([0.9, 1.0, 1.1], "there"))
    assert (found.median, found.low, found.high) == pytest.approx((2.0, 1.8 / 1.1, 2.2 / 0.9))
    assert found.source == "there"


def test_a_network_takes_longer_than_a_third_of_it():
    larger = TINY.thinner(4.0).change(depths=(3, 3, 3, 3))
    found = compare_times(TINY, larger, rounds=5, **{**SMALL, "image_size": 64})
    assert found.low > 1 and "in turns" in found.source


def test_a_pair_of_architectures_is_compared_once_and_networks_anew(monkeypatch):
    calls = itertools.count()
    monkeypatch.setattr(timing, "time_in_turns", lambda first, second, rounds: [1.0 + next(calls)] * rounds)
    assert compare_times(TINY, RESNET50.thinner(1 / 8), **SMALL) is compare_times(
        TINY, RESNET50.thinner(1 / 8), **SMALL
    )
    networks = build(TINY), build(TINY)
    assert compare_times(*networks, **SMALL) != compare_times(*networks, **SMALL)


def test_timing_leaves_a_network_as_it_was():
    network = build(RESNET50.thinner(1 / 16)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    make_worker(network, 32, 2, True, torch.device("cpu"))()
    time_layers(network, **SMALL)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_layers_are_timed_without_their_children():
    found = time_layers(TINY, **SMALL)
    assert {"stem.0", "stem.1", "stem.2", "stem.3", "head.3"} < found.keys()
    assert all(value > 0 for value in found.values())
    assert time_layers(TINY.change(), **SMALL) is found
    assert time_layers(build(TINY), **SMALL) is not found


def test_attention_is_timed_although_it_has_children(full_mode):
    found = time_layers(torchvision.models.swin_t, image_size=64, batch_size=1)
    attention = [seconds for name, seconds in found.items() if name.endswith(".attn")]
    assert len(attention) == 12 and min(attention) > 0
