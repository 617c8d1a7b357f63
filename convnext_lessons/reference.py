"""The measured runs that come with the course: which there are, how they are made, and the pilot that chose ``POCKET``.

``convnext-lessons reference NAME`` makes what is missing of a collection, one run a process with one thread each,
because two such processes do more in an hour than one with two threads.
"""

import itertools
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch

from convnext_lessons.architecture import LAYERS, RESNET50
from convnext_lessons.cost import latency
from convnext_lessons.evidence import pooled_spread
from convnext_lessons.images import load_images
from convnext_lessons.machine import CourseError, atomic, fast_mode, reference_folder
from convnext_lessons.network import build
from convnext_lessons.recipe import LESSON, POCKET, Recipe
from convnext_lessons.records import SCHEMA, Experiment, Ledger, experiment, versions
from convnext_lessons.roadmap import architecture_after
from convnext_lessons.training import train

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

POCKET_STEPS = (*(str(number) for number in range(12)), "3a", "6a", "6c", "6d")
SEEDS = range(5)  # of every step of pocket and of every trial

# What some lessons try beside the road, by the names under which they find it.
_STEP_1, _STEP_3A, _STEP_7, _STEP_8 = map(architecture_after, ("1", "3a", "7", "8"))
TRIALS = {
    "ratio alone": _STEP_1.change(depths=(2, 3, 8, 3)),
    "compute alone": _STEP_1.change(depths=(4, 5, 6, 3)),
    "depthwise, width 80": _STEP_3A.change(width=80),
    "depthwise, width 88": _STEP_3A.change(width=88),
    "ResNet-50 with LayerNorm": RESNET50.change(norm="layer"),
    **{
        f"activations {' + '.join(kept) or 'nowhere'}": _STEP_7.change(activate_after=kept)
        for count in range(3)
        for kept in itertools.combinations(("first", "second", "addition"), count)
        if kept != ("second",)  # that is step 8
    },
    **{
        f"norms {' + '.join(kept) or 'nowhere'}": _STEP_8.change(normalize_after=kept)
        for count in range(3)
        for kept in itertools.combinations(LAYERS, count)
        if kept != ("first",)  # that is step 9
    },
}

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


class CollectionError(CourseError, ValueError):
    """A collection of runs that does not exist."""


def pilot_runs():
    """The pilot as ``(variant, Experiment)``: the geometries, then variants of the base, on every step and seed."""
    runs = []
    for name, changes in {**GEOMETRIES, **VARIANTS}.items():
        recipe = PILOT.change(**changes)
        for seed in PILOT_SEEDS:
            for step in PILOT_STEPS:
                # A layer scale changes nothing where there is none.
                if "layer_scale_init" not in changes or architecture_after(step).layer_scale:
                    runs.append((name, experiment(step, recipe, seed)))
    return runs


def pocket_runs():
    """Every run that stands behind a lesson's band."""
    return [("", experiment(step, POCKET, seed)) for seed in SEEDS for step in POCKET_STEPS]


def trial_runs():
    """Every run that stands behind an experiment beside the road."""
    return [(name, Experiment(TRIALS[name], POCKET, seed)) for seed in SEEDS for name in TRIALS]


def budget_runs():
    """ResNet-50 with three ways of training, at two budgets each."""
    return [
        (f"{recipe.name} training, {epochs} epochs", experiment(0, recipe.change(epochs=epochs), seed))
        for epochs in BUDGETS
        for seed in BUDGET_SEEDS
        for recipe in (PLAIN, LEAN, MODERN)
    ]


def lesson_runs():
    """The road with full networks, for a GPU."""
    return [("", experiment(step, LESSON, seed)) for seed in GPU_SEEDS for step in range(12)]


def leaderboard_runs():
    """The best of the road at the budgets of Imagenette's leaderboard, for a GPU."""
    return [
        (f"{recipe.epochs} epochs", Experiment(LEADERBOARD_NETWORK, recipe, seed))
        for recipe in LEADERBOARD
        for seed in SEEDS
    ]


COLLECTIONS = {"pilot": pilot_runs, "pocket": pocket_runs, "trials": trial_runs, "budgets": budget_runs}
ON_GPU = {"lesson": lesson_runs, "leaderboard": leaderboard_runs}


def missing(name, ledger):
    """The runs of a collection that its ledger does not hold yet."""
    if name in ON_GPU:
        raise CollectionError(f"The runs of '{name}' are made on a GPU: convnext-lessons reference gpu.")
    if name not in COLLECTIONS:
        raise CollectionError(f"There is no collection '{name}' of runs; there are {', '.join(COLLECTIONS)}.")
    return missing_of(COLLECTIONS[name](), ledger)


def missing_of(wanted, ledger):
    """Those of the wanted (variant, ``Experiment``) that a ledger does not hold yet."""
    stored = {(run["variant"], Experiment.from_settings(run["settings"])) for run in ledger.runs()}
    return [pair for pair in wanted if pair not in stored]


def make(name, processes=2, ledger=None, progress=print):
    """Make what is missing of a collection, ``processes`` runs at a time; interrupt and call again as you like.

    Raises:
        CollectionError: there is no such collection.
        NotDownloaded: Imagenette is not here and cannot be fetched; the stand-in never takes its place in a reference.
    """
    ledger = ledger or Ledger(reference_folder() / f"{name}.jsonl")
    todo = missing(name, ledger)
    for size in sorted({what.recipe.image_size for _, what in todo}):
        load_images("imagenette", size, progress)  # fill the cache before two processes would both do so
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(_one, variant, what, ledger.path) for variant, what in todo]
        for number, done in enumerate(as_completed(running), start=1):
            progress(f"{number} of {len(todo)}: {done.result()}")


def _one(variant, what, path):
    torch.set_num_threads(1)
    images = load_images("imagenette", what.recipe.image_size)
    run = train(what, images, device="cpu", ledger=Tagged(path, variant))
    name = variant or what.recipe.name
    return f"step {what.step}, seed {what.seed}, {name}: {run.accuracy:.1%} in {run.record['seconds']:.0f} s"


def not_in_fast_mode():
    """Refuse to measure what fast mode would cut down.

    Raises:
        CollectionError: it is on.
    """
    if fast_mode():
        raise CollectionError("Fast mode measures nothing; unset CONVNEXT_LESSONS_FAST.")


class Tagged(Ledger):
    """A ledger that notes with every run which variant of a collection it is, and refuses what is not a whole run."""

    def __init__(self, path, variant):
        super().__init__(path)
        self.variant = variant

    def append(self, record):
        if record["status"] == "complete" and not record["fast"]:
            super().append({"variant": self.variant, **record})


def make_times(rounds=3, progress=print):
    """Time a forward pass and a training step of every step's full network at 224 px, one after the other and round
    after round, and keep the medians in data/reference/times.json, in seconds a picture."""
    samples = {}
    for number, (kind, training) in itertools.product(range(rounds), (("forward", False), ("training", True))):
        for step in range(12):
            spent = latency(build(architecture_after(step)), training=training)  # a network is never remembered
            samples.setdefault(kind, {}).setdefault(str(step), []).append(spent.seconds)
        progress(f"round {number + 1} of {rounds}: {kind} timed")
    content = {
        "schema": SCHEMA,
        "device": {"name": spent.device, "threads": spent.threads},
        "versions": versions(),
        "image_size": 224,
        "batch_size": spent.batch_size,
        "rounds": rounds,
        **{
            kind: {step: round(statistics.median(values), 5) for step, values in by_step.items()}
            for kind, by_step in samples.items()
        },
    }
    with atomic(reference_folder() / "times.json") as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def times():
    """What ``make_times`` kept."""
    return json.loads((reference_folder() / "times.json").read_text(encoding="utf-8"))


def summarize(runs):
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


def choose(summary):
    """The variant with the smallest spread among those whose mean is within a point of the best."""
    best = max(found["mean"] for found in summary.values())
    near = {variant: found["spread"] for variant, found in summary.items() if found["mean"] > best - 0.01}
    return min(near, key=near.get)


def table(runs):
    """The pilot's table in Markdown, best mean first, the chosen variant in bold."""
    summary = summarize(runs)
    chosen = choose(summary)
    lines = [f"| variant | mean | spread | {' | '.join(f'step {step}' for step in PILOT_STEPS)} |"]
    lines.append("|" + "---|" * (3 + len(PILOT_STEPS)))
    for variant, found in sorted(summary.items(), key=lambda item: -item[1]["mean"]):
        steps = [statistics.fmean(found["steps"][step]) for step in PILOT_STEPS]
        cells = [f"**{variant}**" if variant == chosen else variant]
        cells += [f"{100 * value:.1f}" for value in (found["mean"], found["spread"], *steps)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
