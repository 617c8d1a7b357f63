"""The measured runs that come with the course: which there are, how they are made, and the pilot that chose ``POCKET``.

``convnext-lessons reference NAME`` makes what is missing of a collection, one run a process with one thread each,
because two such processes do more in an hour than one with two threads. On a GPU, which one small network leaves mostly
idle, many processes share it: ``--device cuda --processes 12``.
"""

import itertools
import multiprocessing
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from convnext_lessons.data.datasets import IMAGENETTE
from convnext_lessons.data.in_memory import load_images
from convnext_lessons.experiments.designs import TRIALS
from convnext_lessons.experiments.search import accuracies_of, search_runs
from convnext_lessons.model.roadmap import LAST_STEP, architecture_after
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.recipes import LESSON, POCKET
from convnext_lessons.runs.records import Experiment, RunRecord, RunStore, make_experiment
from convnext_lessons.runs.significance import pooled_spread
from convnext_lessons.system.devices import choose_device
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import fast_mode, reference_folder
from convnext_lessons.training.trainer import TrainOptions, train

if TYPE_CHECKING:
    from convnext_lessons.figures.tables import Table

PILOT_STEPS = ("0", "6", "8", "11")

PILOT_SEEDS = (0, 1)

# Where the pilot began; every run of it differs from this in what the name of its variant says.
PILOT = Recipe(
    "pilot",
    image_size=64,
    width_factor=1 / 4,
    epochs=4,
    batch_size=64,
    learning_rate=2e-3,
)

BASE = "64 px, width/4, 4 epochs"

GEOMETRIES = {
    BASE: {},
    "96 px, width/8, 5 epochs": {"image_size": 96, "width_factor": 1 / 8, "epochs": 5},
    "128 px, width/8, 3 epochs": {"image_size": 128, "width_factor": 1 / 8, "epochs": 3},
}

VARIANTS = {
    "learning rate 4e-3": {"learning_rate": 4e-3},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "layer scale 1e-6": {"layer_scale_init": 1e-6},
    "layer scale 0.1": {"layer_scale_init": 0.1},
    "initialization fan-in": {"initialization": "fan_in"},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "weight decay 0.2": {"weight_decay": 0.2},
    "warm-up 1 epoch": {"warmup_epochs": 1.0},
    "mixup 0.8 or cutmix 1": {"mixup": 0.8, "cutmix": 1.0},
}

# The whole road, 3a on the way, and the kernels that were not kept.
POCKET_STEPS = (*(str(number) for number in range(LAST_STEP + 1)), "3a", "6a", "6c", "6d")

SEEDS = range(5)  # of every step of pocket and of every trial

# Lesson 00: how ResNet-50 was trained once, and as much of the modern training as runs of this size have.
PLAIN = POCKET.change(name="plain", algorithm="sgd", learning_rate=0.025, weight_decay=1e-4, initialization="fan_out")

MODERN = POCKET.change(
    name="modern", weight_decay=0.05, label_smoothing=0.1, mixup=0.8, cutmix=1.0, stochastic_depth=0.1
)

LEAN = POCKET.change(name="lean")  # the lessons' own recipe: AdamW without any of the rest

BUDGETS = (4, 16)  # epochs

BUDGET_SEEDS = range(3)  # sixteen epochs take a while

# On a GPU: the road at lesson scale, and the two shortest budgets of Imagenette's leaderboard, not tuned yet.
GPU_SEEDS = range(3)

LEADERBOARD_NETWORK = architecture_after(8)

LEADERBOARD = tuple(LESSON.change(name="leaderboard", epochs=epochs, label_smoothing=0.1) for epochs in (5, 20))


Pair = tuple[str, Experiment]  # the variant of a collection, "" where it has none, and what to train


class CollectionError(CourseError, ValueError):
    """A collection of runs that does not exist."""


def pilot_runs() -> list[Pair]:
    """The pilot as ``(variant, Experiment)``: the geometries, then variants of the base, on every step and seed."""
    runs = []
    for name, changes in {**GEOMETRIES, **VARIANTS}.items():
        recipe = PILOT.change(**changes)
        for seed in PILOT_SEEDS:
            for step in PILOT_STEPS:
                # A layer scale changes nothing where there is none.
                if "layer_scale_init" not in changes or architecture_after(step).layer_scale:
                    runs.append((name, make_experiment(step, recipe, seed)))
    return runs


def pocket_runs() -> list[Pair]:
    """Every run that stands behind a lesson's band."""
    return [("", make_experiment(step, POCKET, seed)) for seed in SEEDS for step in POCKET_STEPS]


def trial_runs() -> list[Pair]:
    """Every run that stands behind an experiment beside the road."""
    return [(name, Experiment(TRIALS[name], POCKET, seed)) for seed in SEEDS for name in TRIALS]


def budget_runs() -> list[Pair]:
    """ResNet-50 with three ways of training, at two budgets each."""
    return [
        (f"{recipe.name} training, {epochs} epochs", make_experiment(0, recipe.change(epochs=epochs), seed))
        for epochs in BUDGETS
        for seed in BUDGET_SEEDS
        for recipe in (PLAIN, LEAN, MODERN)
    ]


def lesson_runs() -> list[Pair]:
    """The road with full networks, for a GPU."""
    return [("", make_experiment(step, LESSON, seed)) for seed in GPU_SEEDS for step in range(LAST_STEP + 1)]


def leaderboard_runs() -> list[Pair]:
    """The best of the road at the budgets of Imagenette's leaderboard, for a GPU."""
    return [
        (f"{recipe.epochs} epochs", Experiment(LEADERBOARD_NETWORK, recipe, seed))
        for recipe in LEADERBOARD
        for seed in SEEDS
    ]


COLLECTIONS = {"pilot": pilot_runs, "pocket": pocket_runs, "trials": trial_runs, "budgets": budget_runs}

ON_GPU = {"lesson": lesson_runs, "leaderboard": leaderboard_runs}


def missing_runs(name: str, store: RunStore) -> list[Pair]:
    """The runs of a collection that its store does not hold yet.

    Raises:
        CollectionError: there is no such collection, or it is made on a GPU.
    """
    if name in ON_GPU:
        raise CollectionError(f"The runs of '{name}' are made on a GPU: convnext-lessons reference gpu.")
    if name not in COLLECTIONS:
        raise CollectionError(f"There is no collection '{name}' of runs; there are {', '.join(COLLECTIONS)}.")
    return without_stored(COLLECTIONS[name](), store)


def without_stored(wanted: Iterable[Pair], store: RunStore) -> list[Pair]:
    """Those of the wanted runs that a store does not hold yet."""
    stored = {(run["variant"], Experiment.from_settings(run["settings"])) for run in store.runs()}
    return [pair for pair in wanted if pair not in stored]


def make_collection(
    name: str,
    processes: int = 2,
    device: str = "cpu",
    store: RunStore | None = None,
    progress: Callable[[str], object] = print,
) -> None:
    """Make what is missing of a collection, ``processes`` runs at a time; interrupt and call again as you like.

    Raises:
        DeviceError: there is no such device.
        CollectionError: there is no such collection.
        NotDownloaded: Imagenette is not here and cannot be downloaded; the stand-in never takes its place in a
            reference.
    """
    store = store or RunStore(reference_folder() / f"{name}.jsonl")
    make_runs(missing_runs(name, store), store, processes, device, progress)


def make_search(
    processes: int = 2,
    device: str = "cpu",
    store: RunStore | None = None,
    progress: Callable[[str], object] = print,
) -> None:
    """Make what is missing of the search for the pocket recipe, stage after stage; interrupt and call again as you
    like."""
    store = store or RunStore(reference_folder() / "search.jsonl")
    while runs := search_runs(accuracies_of(store.runs())):
        make_runs(runs, store, processes, device, progress)


def make_runs(
    runs: Sequence[Pair], store: RunStore, processes: int, device: str, progress: Callable[[str], object]
) -> None:
    """Train all of ``runs``, ``processes`` at a time, and keep their records.

    Raises:
        CollectionError: in fast mode, whose runs are not kept.
        DeviceError: there is no such device.
        NotDownloaded: Imagenette is not here and cannot be downloaded.
    """
    if not runs:
        return
    refuse_fast_mode()
    choose_device(device)  # before anything is decoded
    for size in sorted({experiment.recipe.image_size for _, experiment in runs}):
        load_images(IMAGENETTE.name, size, progress)  # fill the cache before two processes would both do so
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(_make_one, variant, experiment, store.path, device) for variant, experiment in runs]
        for number, done in enumerate(as_completed(running), start=1):
            progress(f"{number} of {len(runs)}: {done.result()}")


def _make_one(variant, experiment, path, device):
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # which is not float32
    images = load_images(IMAGENETTE.name, experiment.recipe.image_size)
    options = TrainOptions(precision=torch.float32)  # on every device, so that runs can be compared
    run = train(experiment, images, device, store=CollectionStore(path, variant), options=options)
    name = variant or experiment.recipe.name
    return (
        f"step {experiment.step}, seed {experiment.seed}, {name}: {run.accuracy:.1%} in {run.record['seconds']:.0f} s"
    )


def refuse_fast_mode() -> None:
    """Refuse to measure what fast mode would cut down.

    Raises:
        CollectionError: it is on.
    """
    if fast_mode():
        raise CollectionError("Fast mode measures nothing; unset CONVNEXT_LESSONS_FAST.")


class CollectionStore(RunStore):
    """A store that notes with every run which variant of a collection it is; interrupted and fast runs are left out."""

    def __init__(self, path: str | Path, variant: str):
        super().__init__(path)
        self.variant = variant

    def append(self, record: RunRecord) -> None:
        if record["status"] == "complete" and not record["fast"]:
            super().append({"variant": self.variant, **record})


def summarize_pilot(runs: Iterable[RunRecord]) -> dict[str, dict[str, Any]]:
    """What the pilot says: ``{variant: {"mean", "spread", "steps": {step: [accuracies]}}}``, accuracies from 0 to 1.

    The mean is over steps and seeds; the spread is the standard deviation between seeds, pooled over the steps. A step
    that a variant does not change has the runs of the base.
    """
    found = {}
    for run in runs:
        found.setdefault(run["variant"], {}).setdefault(run["step"], []).append(run["accuracy"])
    for steps in found.values():
        for step, values in found.get(BASE, {}).items():
            steps.setdefault(step, values)
    return {
        variant: {
            "mean": statistics.fmean(itertools.chain(*steps.values())),
            "spread": pooled_spread(steps.values()),
            "steps": steps,
        }
        for variant, steps in found.items()
    }


def choose_variant(summary: dict[str, dict[str, Any]]) -> str:
    """The variant with the smallest spread among those whose mean is within a point of the best."""
    best = max(found["mean"] for found in summary.values())
    near = {variant: found["spread"] for variant, found in summary.items() if found["mean"] > best - 0.01}
    return min(near, key=near.get)


def pilot_table(runs: Sequence[RunRecord]) -> "Table":
    """The pilot's table, best mean first, the chosen variant marked."""
    from convnext_lessons.figures.tables import Table  # needs matplotlib, which a bare GPU machine lacks

    summary = summarize_pilot(runs)
    ordered = sorted(summary, key=lambda variant: -summary[variant]["mean"])
    rows = []
    for variant in ordered:
        found = summary[variant]
        steps = [statistics.fmean(found["steps"][step]) for step in PILOT_STEPS]
        rows.append([variant, *(f"{100 * value:.1f}" for value in (found["mean"], found["spread"], *steps))])
    head = ("variant", "mean", "spread", *(f"step {step}" for step in PILOT_STEPS))
    return Table(head, rows, marked=[ordered.index(choose_variant(summary))])
