"""How much longer one network trains than another: stored from a quiet machine, or measured in turns here and now."""

from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.roadmap import step_of
from convnext_lessons.model.timing import TimeRatio, compare_times
from convnext_lessons.runs.records import read_measurements
from convnext_lessons.system.settings import static_mode


def stored_time_ratio(before: Architecture, after: Architecture) -> TimeRatio | None:
    """The time of a training step of ``after`` over that of ``before``, full networks at 224 px, from data/reference;
    None where one of them is not on the road or was not measured.

    Each step was measured in turns with ResNet-50; two steps are compared through it.
    """
    ratios = [_beside_the_first(step_of(architecture)) for architecture in (before, after)]
    return None if None in ratios else ratios[1].over(ratios[0])


def time_ratio(before: Architecture, after: Architecture, image_size: int = 224) -> TimeRatio:
    """The same for a lesson: measured here, but on pages to be read the stored ratio, where there is one, so that what
    else ran while a page was made changes nothing on it."""
    stored = stored_time_ratio(before, after) if static_mode() and image_size == 224 else None
    return stored or compare_times(before, after, image_size)


def _beside_the_first(step):
    """The stored ratio of a step to ResNet-50."""
    measured = read_measurements("bench")
    device = measured["device"]
    if step == "0":
        return TimeRatio(1.0, 1.0, 1.0, "")
    if step not in measured["steps"]:
        return None
    ratios = measured["steps"][step]
    source = f"{device['name']}, {device['threads']} threads, {len(ratios)} rounds in turns with ResNet-50"
    return TimeRatio.of(ratios, source)
