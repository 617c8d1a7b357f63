"""The search for the pocket recipe: stages of variants, and a rule that was fixed before the first run.

The best recipe is the one with the best mean accuracy over ``SEARCH_STEPS`` and two seeds, whatever order of the steps
comes out. Each stage changes the best recipe of the stage before. Since a run takes minutes, a stage has rounds: every
variant trains ``FIRST_STEPS``; the best three of those within three points train the other steps; the best two of those
within two points get their second seed. The first stage has the first round only (data/README.md says why).
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.records import Experiment, RunRecord, make_experiment

if TYPE_CHECKING:
    from convnext_lessons.figures.tables import Table

SEARCH_STEPS = ("0", "4", "6", "8", "9", "10", "11")

FIRST_STEPS = ("0", "8", "11")

SEARCH_SEEDS = (0, 1)

# Steps and seeds of each round.
ROUNDS = ((FIRST_STEPS, SEARCH_SEEDS[:1]), (SEARCH_STEPS, SEARCH_SEEDS[:1]), (SEARCH_STEPS, SEARCH_SEEDS))

# How many go on after the first and the second round, and how far behind the best, in accuracy. One step's spread
# between seeds is about 0.01; the mean of three steps may still mislead about seven.
KEPT, MARGINS = (3, 2), (0.03, 0.02)

# What the pilot chose; the momentum is Muon's.
START = Recipe(
    "search",
    image_size=64,
    width_factor=1 / 4,
    epochs=4,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.2,
    muon_momentum=0.9,
)

AS_BEFORE = "as before"  # the best of the stage before


def _adamw(rate, initialization):
    return {"algorithm": "adamw", "learning_rate": rate, "initialization": initialization}


def _muon(rate, initialization):
    return {"algorithm": "muon", "muon_rate": rate, "initialization": initialization}


@dataclass(frozen=True)
class Stage:
    """Variants that are compared, each by what it changes in the best recipe so far, in one to three rounds."""

    variants: Mapping[str, Mapping[str, Any]]
    rounds: int = 3


STAGES = {
    "optimizer and initialization": Stage(
        {
            **{
                f"AdamW {rate:g}, {name}": _adamw(rate, scheme)
                for name, scheme in (
                    ("0.02", "truncated_normal"),
                    ("0.02/√width factor", "scaled_normal"),
                    ("1/√fan-in", "lecun_normal"),
                )
                for rate in (1e-3, 2e-3, 4e-3)
            },
            "Muon 0.02, 0.02": _muon(0.02, "truncated_normal"),
            "Muon 0.02, 0.02/√width factor": _muon(0.02, "scaled_normal"),
            **{f"Muon {rate:g}, 1/√fan-in": _muon(rate, "lecun_normal") for rate in (0.01, 0.02, 0.04)},
            "Muon 0.02, 1/√fan-in, momentum 0.95": {**_muon(0.02, "lecun_normal"), "muon_momentum": 0.95},
        },
        rounds=1,
    ),
    # As many epochs each as its slowest step has time for (see data/README.md).
    "pictures, width, epochs": Stage(
        {
            "64 px, width/4, 2 epochs": {"epochs": 2},
            "64 px, width·3/16, 3 epochs": {"width_factor": 3 / 16, "epochs": 3},
            "64 px, width/8, 4 epochs": {"width_factor": 1 / 8},
            "80 px, width/8, 3 epochs": {"image_size": 80, "width_factor": 1 / 8, "epochs": 3},
            "96 px, width/8, 3 epochs": {"image_size": 96, "width_factor": 1 / 8, "epochs": 3},
            "112 px, width/8, 2 epochs": {"image_size": 112, "width_factor": 1 / 8, "epochs": 2},
            "48 to 80 px, width/8, 4 epochs": {"image_size": 80, "first_size": 48, "width_factor": 1 / 8},
            "64 to 96 px, width/8, 3 epochs": {
                "image_size": 96,
                "first_size": 64,
                "width_factor": 1 / 8,
                "epochs": 3,
            },
        }
    ),
    "rates, batch, schedule, decay, smoothing": Stage(
        {
            AS_BEFORE: {},
            "Muon 0.02": {"muon_rate": 0.02},
            "Muon 0.08": {"muon_rate": 0.08},
            "momentum 0.95": {"muon_momentum": 0.95},
            "0.02/√width factor": {"initialization": "scaled_normal"},
            "batch 128": {"batch_size": 128},
            "warm-up 1 epoch": {"warmup_epochs": 1.0},
            "weight decay 0.05": {"weight_decay": 0.05},
            "weight decay 0.5": {"weight_decay": 0.5},
            "label smoothing 0.1": {"label_smoothing": 0.1},
            "crops from 0.5": {"crop_scale": 0.5},
            "layer scale 0.1": {"layer_scale_init": 0.1},
        }
    ),
}

FAIR_FACTORS = (0.5, 1.0, 2.0)  # times each rate of the chosen recipes

Accuracies = Mapping[Experiment, float]


def accuracies_of(runs: Iterable[RunRecord]) -> dict[Experiment, float]:
    """The accuracy of every stored run, by its ``Experiment``."""
    return {Experiment.from_settings(run["settings"]): run["accuracy"] for run in runs}


def stage_recipes(found: Accuracies) -> dict[str, dict[str, Recipe]]:
    """``{stage: {variant: Recipe}}``, as far as the runs so far decide what a stage begins with."""
    recipes, base = {}, START
    for name, stage in STAGES.items():
        recipes[name] = {variant: base.change(**changes) for variant, changes in stage.variants.items()}
        if stage_runs(name, recipes[name], found):
            break
        base = recipes[name][best_variant(name, recipes[name], found)]
    return recipes


def stage_runs(stage: str, recipes: Mapping[str, Recipe], found: Accuracies) -> list[tuple[str, Experiment]]:
    """What a stage needs next, as ``(variant, Experiment)``: its first round that is not whole."""
    for round_number in range(STAGES[stage].rounds):
        names = _in_round(round_number, recipes, found)
        steps, seeds = ROUNDS[round_number]
        wanted = [(name, make_experiment(s, recipes[name], seed)) for name in names for seed in seeds for s in steps]
        missing = [(name, experiment) for name, experiment in wanted if experiment not in found]
        if missing:
            return missing
    return []


def best_variant(stage: str, recipes: Mapping[str, Recipe], found: Accuracies) -> str:
    """The variant of a finished stage with the best mean over the steps and seeds of its last round."""
    last = STAGES[stage].rounds - 1
    return max(_in_round(last, recipes, found), key=lambda name: _mean(recipes[name], found, *ROUNDS[last]))


def _in_round(round_number, recipes, found):
    """The variants that take part in a round, counted from 0: all, or the near ones of the round before."""
    names = list(recipes)
    for before in range(round_number):
        means = {name: _mean(recipes[name], found, *ROUNDS[before]) for name in names}
        best = sorted(means, key=means.get, reverse=True)[: KEPT[before]]
        names = [name for name in best if means[name] >= means[best[0]] - MARGINS[before]]
    return names


def _mean(recipe, found, steps, seeds):
    return statistics.fmean(found[make_experiment(step, recipe, seed)] for seed in seeds for step in steps)


def chosen_recipes(found: Accuracies) -> dict[str, Recipe] | None:
    """The chosen recipe and the best of the other optimizer, ``{"muon": …, "adamw": …}``; None before the last stage
    is whole. The other one has the same geometry and details, and rate and initialization of its best in stage 1."""
    stages = stage_recipes(found)
    last = list(STAGES)[-1]
    if last not in stages or stage_runs(last, stages[last], found):
        return None
    chosen = stages[last][best_variant(last, stages[last], found)]
    first = next(iter(stages.values()))
    others = {name: recipe for name, recipe in first.items() if recipe.algorithm != chosen.algorithm}
    other = others[max(others, key=lambda name: _mean(others[name], found, *ROUNDS[0]))]
    names = ("algorithm", "learning_rate", "muon_rate", "initialization")
    return {
        chosen.algorithm: chosen,
        other.algorithm: chosen.change(**{name: getattr(other, name) for name in names}),
    }


def fair_runs(found: Accuracies) -> list[tuple[str, Experiment]]:
    """Both chosen recipes on ``FIRST_STEPS``, each with half and twice its rates: whether a conclusion depends on the
    common one."""
    runs = []
    for algorithm, recipe in (chosen_recipes(found) or {}).items():
        for name in ("learning_rate",) if algorithm == "adamw" else ("learning_rate", "muon_rate"):
            for factor in FAIR_FACTORS:
                own = recipe.change(**{name: factor * getattr(recipe, name)})
                variant = f"{algorithm}, {name.replace('_', ' ')} × {factor:g}"
                runs += [(variant, make_experiment(step, own)) for step in FIRST_STEPS]
    return runs


def search_runs(found: Accuracies) -> list[tuple[str, Experiment]]:
    """What the search needs next, each experiment once; nothing when it is over."""
    for stage, recipes in stage_recipes(found).items():
        missing = stage_runs(stage, recipes, found)
        if missing:
            return missing
    missing = {experiment: variant for variant, experiment in fair_runs(found) if experiment not in found}
    return [(variant, experiment) for experiment, variant in missing.items()]


def search_tables(runs: Iterable[RunRecord]) -> dict[str, "Table"]:
    """A table for each stage that is whole, best mean first, the chosen variant marked: accuracies in percent."""
    from convnext_lessons.figures.tables import Table  # needs matplotlib, which a bare GPU machine lacks

    found, tables = accuracies_of(runs), {}
    for stage, recipes in stage_recipes(found).items():
        if stage_runs(stage, recipes, found):
            break
        in_rounds = [_in_round(number, recipes, found) for number in range(STAGES[stage].rounds)]
        rounds = {name: sum(name in names for names in in_rounds) for name in recipes}
        rows = {name: _row(name, recipes[name], found, *ROUNDS[rounds[name] - 1]) for name in recipes}
        ordered = sorted(recipes, key=lambda name: (-rounds[name], -float(rows[name][2])))
        head = ("variant", "runs", "mean", *(f"step {step}" for step in SEARCH_STEPS))
        chosen = ordered.index(best_variant(stage, recipes, found))
        tables[stage] = Table(head, [rows[name] for name in ordered], marked=[chosen])
    return tables


def _row(name: str, recipe: Recipe, found: Accuracies, steps, seeds) -> list[str]:
    """Number of runs of the last round that a variant took part in, their mean and each step's, in percent."""
    means = [f"{100 * _mean(recipe, found, [step], seeds):.1f}" if step in steps else "" for step in SEARCH_STEPS]
    return [name, str(len(steps) * len(seeds)), f"{100 * _mean(recipe, found, steps, seeds):.1f}", *means]
