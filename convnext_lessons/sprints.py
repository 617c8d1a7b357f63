"""How far a network of the road gets in a minute and in five on two cores, apart from the lessons' recipe and by any
honest means; the loop is the lessons' own.

What helped: ResNet-50, whose dense convolutions gain from the processor's bfloat16 units where depthwise ones lose;
batches of 128, which keep two threads busy; and pictures that grow.
"""

import torch

from convnext_lessons.images import load_images
from convnext_lessons.machine import CourseError, reference_folder
from convnext_lessons.recipe import POCKET
from convnext_lessons.records import Ledger, experiment
from convnext_lessons.reference import Tagged, missing_of, not_in_fast_mode
from convnext_lessons.training import Engine, train

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


def sprint_runs():
    """Every run as (what it is called, ``Experiment``)."""
    return [(f"{limit} seconds", experiment(STEP, recipe, seed)) for seed in SEEDS for recipe, limit in LIMITS.items()]


def make_sprints(ledger=None, progress=print):
    """Make what is missing of the sprints, one after the other, with all threads.

    Raises:
        CollectionError: in fast mode.
        SprintError: a run took longer than it may; it is not kept.
        NotDownloaded: Imagenette is not here and cannot be fetched.
    """
    not_in_fast_mode()
    ledger = ledger or Ledger(reference_folder() / "sprints.jsonl")
    images = load_images("imagenette", POCKET.image_size, progress)
    for name, what in missing_of(sprint_runs(), ledger):
        kept = _InTime(ledger.path, name, LIMITS[what.recipe])
        run = train(what, images, "cpu", ledger=kept, engine=Engine(precision=torch.bfloat16))
        progress(f"{name}, {run}, in {run.record['seconds']:.1f} s")


class _InTime(Tagged):
    """A ledger that refuses what took too long."""

    def __init__(self, path, variant, limit):
        super().__init__(path, variant)
        self.limit = limit

    def append(self, record):
        if record["seconds"] > self.limit:
            raise SprintError(
                f"The run took {record['seconds']:.0f} seconds of training and had {self.limit}: this machine is "
                "slower, or has something else to do; the run is not kept."
            )
        super().append(record)
