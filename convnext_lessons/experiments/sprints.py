"""How far a network of the road gets in a minute and in five on two cores, apart from the lessons' recipe and by any
honest means; the loop is the lessons' own.

What helped: ResNet-50, whose dense convolutions gain from the processor's bfloat16 units where depthwise ones lose;
batches of 128, which keep two threads busy; and pictures that grow.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from convnext_lessons.data.datasets import IMAGENETTE
from convnext_lessons.data.in_memory import load_images
from convnext_lessons.experiments.collections import CollectionStore, Pair, refuse_fast_mode, without_stored
from convnext_lessons.runs.recipes import POCKET
from convnext_lessons.runs.records import RunRecord, RunStore, make_experiment
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import reference_folder
from convnext_lessons.training.trainer import TrainOptions, train

STEP = 0

MINUTE = POCKET.change(name="minute", epochs=10, batch_size=128, learning_rate=4e-3, warmup_epochs=1, first_size=48)

FIVE_MINUTES = POCKET.change(
    name="five minutes",
    epochs=42,
    batch_size=128,
    learning_rate=3e-3,
    warmup_epochs=2,
    first_size=48,
    label_smoothing=0.1,
)

LIMITS = {MINUTE: 60, FIVE_MINUTES: 300}  # seconds of training; evaluations come on top

SEEDS = range(3)


class SprintError(CourseError):
    """A run that took longer than its time."""


def sprint_runs() -> list[Pair]:
    """Every run as (its name, ``Experiment``)."""
    return [
        (f"{limit} seconds", make_experiment(STEP, recipe, seed)) for seed in SEEDS for recipe, limit in LIMITS.items()
    ]


def make_sprints(store: RunStore | None = None, progress: Callable[[str], object] = print) -> None:
    """Make what is missing of the sprints, one after the other, with all threads.

    Raises:
        CollectionError: in fast mode.
        SprintError: a run took longer than it may; it is not kept.
        NotDownloaded: Imagenette is not here and cannot be downloaded.
    """
    refuse_fast_mode()
    store = store or RunStore(reference_folder() / "sprints.jsonl")
    images = load_images(IMAGENETTE.name, POCKET.image_size, progress)
    for name, experiment in without_stored(sprint_runs(), store):
        limited = _TimeLimitedStore(store.path, name, LIMITS[experiment.recipe])
        run = train(experiment, images, "cpu", store=limited, options=TrainOptions(precision=torch.bfloat16))
        progress(f"{name}, {run}, in {run.record['seconds']:.1f} s")


class _TimeLimitedStore(CollectionStore):
    """A store that refuses what took too long."""

    def __init__(self, path: Path, variant: str, limit: float):
        super().__init__(path, variant)
        self.limit = limit

    def append(self, record: RunRecord) -> None:
        if record["seconds"] > self.limit:
            raise SprintError(
                f"The run took {record['seconds']:.0f} seconds of training and had {self.limit}: this machine is "
                "slower, or has something else to do; the run is not kept."
            )
        super().append(record)
