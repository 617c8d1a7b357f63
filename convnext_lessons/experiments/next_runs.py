"""The runs by the recipe that the search chose. They are made beside the stored ones, in ``data/reference/next``, and
take their place when they are whole."""

from collections.abc import Callable

from convnext_lessons.experiments.collections import (
    BUDGET_SEEDS,
    MODERN,
    PLAIN,
    POCKET_STEPS,
    SEEDS,
    CollectionError,
    Pair,
    make_runs,
    without_stored,
)
from convnext_lessons.experiments.designs import NEW_TRIALS, TAKE_AWAY, TRIALS
from convnext_lessons.experiments.search import accuracies_of, chosen_recipes
from convnext_lessons.model.roadmap import LAST_STEP
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.records import Experiment, RunStore, make_experiment, reference_runs
from convnext_lessons.system.settings import reference_folder

OTHER_SEEDS = range(3)  # of the road by the best recipe of the other optimizer

# Which steps are trained for how many epochs, lean and with the paper's kind of regularisation.
LADDER = {4: ("0", "4", "8", "9", "11"), 16: ("0", "4", "8", "9", "11"), 64: ("0", "8", "11")}

REGULARISATION = {name: getattr(MODERN, name) for name in ("label_smoothing", "mixup", "cutmix", "stochastic_depth")}

# Lesson 00's plain training, each with half and twice its rate.
PLAIN_BUDGETS, PLAIN_FACTORS = (4, 16), (0.5, 1.0, 2.0)


def next_recipes() -> tuple[Recipe, Recipe]:
    """What the search chose, as ``"pocket"``, and the best of the other optimizer, as ``"other"``.

    Raises:
        CollectionError: the search is not over.
    """
    chosen = chosen_recipes(accuracies_of(reference_runs("search")))
    if chosen is None:
        raise CollectionError(
            "The search has not chosen a recipe yet; make what it lacks: convnext-lessons reference search."
        )
    pocket, other = chosen.values()
    return pocket.change(name="pocket"), other.change(name="other")


def next_runs(pocket: Recipe, other: Recipe) -> dict[str, list[Pair]]:
    """``{collection: [(variant, Experiment)]}`` by two recipes, in the order in which they are made."""
    designs = {**TRIALS, **NEW_TRIALS}
    return {
        "pocket": [("", make_experiment(step, pocket, seed)) for seed in SEEDS for step in (*POCKET_STEPS, "11a")],
        "other": [("", make_experiment(step, other, seed)) for seed in OTHER_SEEDS for step in range(LAST_STEP + 1)],
        "take_away": [(name, Experiment(design, pocket, seed)) for seed in SEEDS for name, design in TAKE_AWAY.items()],
        "trials": [(name, Experiment(design, pocket, seed)) for seed in SEEDS for name, design in designs.items()],
        "ladder": _ladder(pocket),
    }


def _ladder(pocket):
    """Short budgets first. Plain training has the pictures, the size and the first weights of the others."""
    lean, regularised = pocket.change(name="lean"), pocket.change(name="regularised", **REGULARISATION)
    runs = []
    for epochs, steps in LADDER.items():
        trained = [(recipe, step) for recipe in (lean, regularised) for step in steps]
        if epochs in PLAIN_BUDGETS:
            rates = [factor * PLAIN.learning_rate for factor in PLAIN_FACTORS]
            sgd = pocket.change(algorithm="sgd", weight_decay=PLAIN.weight_decay)
            trained += [(sgd.change(name=f"plain {rate:g}", learning_rate=rate), "0") for rate in rates]
        runs += [
            (f"{recipe.name}, {epochs} epochs", make_experiment(step, recipe.change(epochs=epochs), seed))
            for seed in BUDGET_SEEDS
            for recipe, step in trained
        ]
    return runs


def make_next(processes: int = 2, device: str = "cpu", progress: Callable[[str], object] = print) -> None:
    """Make what is missing of all collections, ``processes`` runs at a time; interrupt and call again as you like.

    Raises:
        CollectionError: the search is not over.
        DeviceError: there is no such device.
        NotDownloaded: Imagenette is not here and cannot be downloaded.
    """
    for name, wanted in next_runs(*next_recipes()).items():
        store = RunStore(reference_folder() / "next" / f"{name}.jsonl")
        if missing := without_stored(wanted, store):
            progress(f"{name}: {len(missing)} of {len(wanted)} runs are missing")
            make_runs(missing, store, processes, device, progress)
