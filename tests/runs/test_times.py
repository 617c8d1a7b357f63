import statistics

import pytest

from convnext_lessons.model import LAST_STEP, RESNET50, TimeRatio, architecture_after
from convnext_lessons.runs import read_measurements, stored_time_ratio, time_ratio, times


def test_a_step_beside_resnet_50_is_what_was_stored():
    for step, ratios in read_measurements("bench")["steps"].items():
        found = stored_time_ratio(RESNET50, architecture_after(step))
        assert found.median == statistics.median(ratios)
        assert min(ratios) <= found.low <= found.median <= found.high <= max(ratios)
        assert "in turns with ResNet-50" in found.source


@pytest.mark.parametrize("step", range(1, LAST_STEP + 1))
def test_neighbours_are_compared_through_resnet_50(step):
    before, after = architecture_after(step - 1), architecture_after(step)
    one, other = (stored_time_ratio(RESNET50, architecture) for architecture in (before, after))
    found = stored_time_ratio(before, after)
    assert found.median == pytest.approx(other.median / one.median)
    assert found.low <= found.median <= found.high


def test_what_is_not_on_the_road_has_no_stored_time():
    assert stored_time_ratio(RESNET50, RESNET50.change(width=80)) is None
    assert stored_time_ratio(RESNET50.change(width=80), RESNET50) is None


def test_pages_show_the_stored_time_and_lessons_measure(monkeypatch):
    here = TimeRatio(3.0, 3.0, 3.0, "here")
    monkeypatch.setattr(times, "compare_times", lambda before, after, image_size: here)
    pair = architecture_after(3), architecture_after(4)
    assert time_ratio(*pair) is here
    monkeypatch.setenv("CONVNEXT_LESSONS_STATIC", "1")
    assert time_ratio(*pair) == stored_time_ratio(*pair)
    assert time_ratio(pair[0], pair[1].change(expansion=6)) is here
