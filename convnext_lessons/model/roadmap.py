"""The road: eleven ordered steps from ResNet-50 to ConvNeXt-T, and what the paper reports for each.

Source of every number here: Liu et al., "A ConvNet for the 2020s", arXiv 2201.03545, Table 10 (ResNet-50 / Swin-T
regime): ImageNet-1k top-1 of three seeds at 224 px, 300 epochs.

Everything that goes over the road takes its length from ``STEPS``. A step of your own has no numbers of the paper
(``paper=None``): it is drawn and counted, and left blank where the paper or the stored runs would stand. To try an idea
you need no step at all: ``architecture_after(11).change(…)`` stands beside the road.
"""

from dataclasses import dataclass

from convnext_lessons.model.architecture import RESNET50, Architecture
from convnext_lessons.system.errors import CourseError


class UnknownStep(CourseError, ValueError):
    """A label that is not on the road."""


@dataclass(frozen=True)
class Paper:
    """What the paper reports: top-1 accuracy and its spread over three seeds in percent, and 10^9 multiply-adds."""

    accuracy: float
    spread: float | None
    gmacs: float


@dataclass(frozen=True)
class Change:
    """One field of the architecture gets a new value; most steps are one change, 3 and 11 are two."""

    label: str
    field: str
    value: object
    paper: Paper | None


@dataclass(frozen=True)
class Step:
    """A step of the road. ``alternatives`` are values that the paper tried in place of the change and did not keep."""

    number: int
    slug: str
    title: str
    changes: tuple[Change, ...]
    alternatives: tuple[Change, ...] = ()

    @property
    def paper(self) -> Paper | None:
        """What the paper reports after the whole step; None for a step of your own."""
        return self.changes[-1].paper


START = Paper(78.82, 0.07, 4.09)  # ResNet-50 with the modern training; its original training gives 76.13

SWIN_T = Paper(81.30, None, 4.50)

STEPS = (
    Step(1, "stage_ratio", "Stage ratio", (Change("1", "depths", (3, 3, 9, 3), Paper(79.36, 0.07, 4.53)),)),
    Step(2, "patchify_stem", "Patchify stem", (Change("2", "stem", "patchify", Paper(79.51, 0.18, 4.42)),)),
    Step(
        3,
        "depthwise_convolution",
        "Depthwise convolution",
        (
            Change("3a", "depthwise", True, Paper(78.28, 0.08, 2.35)),
            Change("3b", "width", 96, Paper(80.50, 0.02, 5.27)),
        ),
    ),
    Step(4, "inverted_bottleneck", "Inverted bottleneck", (Change("4", "inverted", True, Paper(80.64, 0.03, 4.64)),)),
    Step(5, "depthwise_first", "Depthwise first", (Change("5", "depthwise_first", True, Paper(79.92, 0.08, 4.07)),)),
    Step(
        6,
        "large_kernel",
        "Large kernel",
        (Change("6b", "kernel_size", 7, Paper(80.57, 0.14, 4.15)),),
        (
            Change("6a", "kernel_size", 5, Paper(80.35, 0.08, 4.10)),
            Change("6c", "kernel_size", 9, Paper(80.57, 0.06, 4.21)),
            Change("6d", "kernel_size", 11, Paper(80.47, 0.11, 4.29)),
        ),
    ),
    Step(7, "gelu", "GELU", (Change("7", "activation", "gelu", Paper(80.62, 0.14, 4.15)),)),
    Step(
        8,
        "fewer_activations",
        "Fewer activations",
        (Change("8", "activate_after", ("second",), Paper(81.27, 0.06, 4.15)),),
    ),
    Step(9, "fewer_norms", "Fewer norms", (Change("9", "normalize_after", ("first",), Paper(81.41, 0.09, 4.15)),)),
    Step(10, "layer_norm", "Layer norm", (Change("10", "norm", "layer", Paper(81.47, 0.09, 4.46)),)),
    Step(
        11,
        "separate_downsampling",
        "Separate downsampling",
        # The paper's row is the whole step; it does not say on which side of its accuracy the layer scale came in.
        (Change("11a", "downsampling", "separate", None), Change("11b", "layer_scale", True, Paper(81.97, 0.06, 4.49))),
    ),
)


LAST_STEP = STEPS[-1].number
TITLES = ("ResNet-50", *(step.title for step in STEPS))  # by number
PAPER_STEPS = tuple(step.number for step in STEPS if step.paper)  # those that the paper reports on


def _walk():
    """Every label of the road with its architecture and the paper's numbers, in order."""
    before = RESNET50
    stops = {"0": (before, START)}
    for step in STEPS:
        for other in step.alternatives:
            stops[other.label] = (before.change(**{other.field: other.value}), other.paper)
        for change in step.changes:
            before = before.change(**{change.field: change.value})
            stops[change.label] = (before, change.paper)
        stops[str(step.number)] = (before, step.paper)
    return stops


_STOPS = _walk()
LABELS = tuple(_STOPS)


def label_of(step: int | str) -> str:
    """A step as the text that names it in records: ``4`` and ``"4"`` give ``"4"``.

    Raises:
        UnknownStep: there is no such step.
    """
    if isinstance(step, bool) or str(step) not in _STOPS:
        within = ", ".join(label for label in LABELS if not label.isdigit())
        raise UnknownStep(
            f"There is no step {step!r} on the road; the steps are 0 to {LAST_STEP}, and within them {within}."
        )
    return str(step)


def architecture_after(step: int | str) -> Architecture:
    """The ``Architecture`` after a step: 0 (ResNet-50) to 11 (ConvNeXt-T), or a label within a step such as ``"3a"``.

    Raises:
        UnknownStep: there is no such step.
    """
    return _STOPS[label_of(step)][0]


def paper_after(step: int | str) -> Paper | None:
    """What the paper reports after a step; None where it reports nothing, as for 11a.

    Raises:
        UnknownStep: there is no such step.
    """
    return _STOPS[label_of(step)][1]


def step_of(architecture: Architecture) -> str | None:
    """The shortest label of an architecture on the road, ``"3"`` rather than ``"3b"``; None for one beside the road."""
    labels = [label for label in LABELS if architecture_after(label) == architecture]
    return min(labels, key=lambda label: (not label.isdigit(), label)) if labels else None
