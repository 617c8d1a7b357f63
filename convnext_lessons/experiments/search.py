"""The search for the pocket recipe: stages of variants, and a rule that was fixed before the first run.

The best recipe is the one with the best mean accuracy over ``SEARCH_STEPS`` and two seeds, whatever order of the steps
comes out. Each stage changes the best recipe of the stage before. Since a run takes minutes, a stage has three rounds:
every variant trains ``FIRST_STEPS``; the best five of those within five points train the other steps; the best three of
those within two points get their second seed.
"""

import statistics
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.records import Experiment, RunRecord, make_experiment

if TYPE_CHECKING:
    from convnext_lessons.figures.tables import Table

SEARCH_STEPS = ("0", "4", "6", "8", "9", "10", "11")

FIRST_STEPS = ("0", "8", "11")

SEARCH_SEEDS = (0, 1)

# How many go on after the first and the second round, and how far behind the best, in accuracy. One step's spread
# between seeds is about 0.01; the mean of three steps may still mislead about seven.
KEPT, MARGINS = (5, 3), (0.05, 0.02)

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


STAGES = {
    "optimizer and initialization": {
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
    # All take about as long as the first (see data/README.md).
    "pictures, width, epochs": {
        AS_BEFORE: {},
        "96 px, width/8, 5 epochs": {"image_size": 96, "width_factor": 1 / 8, "epochs": 5},
        "112 px, width/8, 4 epochs": {"image_size": 112, "width_factor": 1 / 8, "epochs": 4},
        "96 px, width·3/16, 3 epochs": {"image_size": 96, "width_factor": 3 / 16, "epochs": 3},
        "48 to 64 px, width/4, 5 epochs": {"first_size": 48, "epochs": 5},
        "64 to 96 px, width/8, 6 epochs": {"image_size": 96, "first_size": 64, "width_factor": 1 / 8, "epochs": 6},
    },
    "batch, schedule, decay, smoothing": {
        AS_BEFORE: {},
        "batch 32": {"batch_size": 32},
        "batch 128": {"batch_size": 128},
        "warm-up 1 epoch": {"warmup_epochs": 1.0},
        "weight decay 0.05": {"weight_decay": 0.05},
        "weight decay 0.5": {"weight_decay": 0.5},
        "label smoothing 0.1": {"label_smoothing": 0.1},
        "crops from 0.5": {"crop_scale": 0.5},
        "layer scale 0.1": {"layer_scale_init": 0.1},
    },
}

FAIR_FACTORS = (0.5, 1.0, 2.0)  # times each rate of the chosen recipes

Accuracies = Mapping[Experiment, float]


def accuracies_of(runs: Iterable[RunRecord]) -> dict[Experiment, float]:
    """The accuracy of every stored run, by its ``Experiment``."""
    return {Experiment.from_settings(run["settings"]): run["accuracy"] for run in runs}


def stage_recipes(found: Accuracies) -> dict[str, dict[str, Recipe]]:
    """``{stage: {variant: Recipe}}``, as far as the runs so far decide what a stage begins with."""
    recipes, base = {}, START
    for stage, variants in STAGES.items():
        recipes[stage] = {name: base.change(**changes) for name, changes in variants.items()}
        if stage_runs(recipes[stage], found):
            break
        base = recipes[stage][best_variant(recipes[stage], found)]
    return recipes


def stage_runs(recipes: Mapping[str, Recipe], found: Accuracies) -> list[tuple[str, Experiment]]:
    """What a stage needs next, as ``(variant, Experiment)``: its first round that is not whole."""
    rounds = (
        (lambda: recipes, FIRST_STEPS, SEARCH_SEEDS[:1]),
        (lambda: _second_round(recipes, found), SEARCH_STEPS, SEARCH_SEEDS[:1]),
        (lambda: _third_round(recipes, found), SEARCH_STEPS, SEARCH_SEEDS),
    )
    for names, steps, seeds in rounds:
        wanted = [(name, make_experiment(s, recipes[name], seed)) for name in names() for seed in seeds for s in steps]
        missing = [(name, experiment) for name, experiment in wanted if experiment not in found]
        if missing:
            return missing
    return []


def best_variant(recipes: Mapping[str, Recipe], found: Accuracies) -> str:
    """The variant of a finished stage with the best mean of all steps and both seeds."""
    return max(_third_round(recipes, found), key=lambda name: _mean(recipes[name], found))


def _second_round(recipes, found):
    return _near({name: _mean(recipes[name], found, FIRST_STEPS, SEARCH_SEEDS[:1]) for name in recipes}, 0)


def _third_round(recipes, found):
    names = _second_round(recipes, found)
    return _near({name: _mean(recipes[name], found, seeds=SEARCH_SEEDS[:1]) for name in names}, 1)


def _near(means, round_before):
    best = sorted(means, key=means.get, reverse=True)[: KEPT[round_before]]
    return [name for name in best if means[name] >= means[best[0]] - MARGINS[round_before]]


def _mean(recipe, found, steps=SEARCH_STEPS, seeds=SEARCH_SEEDS):
    return statistics.fmean(found[make_experiment(step, recipe, seed)] for seed in seeds for step in steps)


def chosen_recipes(found: Accuracies) -> dict[str, Recipe] | None:
    """The chosen recipe and the best of the other optimizer, ``{"muon": …, "adamw": …}``; None before the last stage
    is whole. The other one has the same geometry and details, and rate and initialization of its best in stage 1."""
    stages = stage_recipes(found)
    last = list(STAGES)[-1]
    if last not in stages or stage_runs(stages[last], found):
        return None
    chosen = stages[last][best_variant(stages[last], found)]
    first = next(iter(stages.values()))
    others = {name: recipe for name, recipe in first.items() if recipe.algorithm != chosen.algorithm}
    other = others[max(others, key=lambda name: _mean(others[name], found, FIRST_STEPS, SEARCH_SEEDS[:1]))]
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
    for recipes in stage_recipes(found).values():
        missing = stage_runs(recipes, found)
        if missing:
            return missing
    missing = {experiment: variant for variant, experiment in fair_runs(found) if experiment not in found}
    return [(variant, experiment) for experiment, variant in missing.items()]


def search_tables(runs: Iterable[RunRecord]) -> dict[str, "Table"]:
    """A table for each stage that is whole, best mean first, the chosen variant marked: accuracies in percent."""
    from convnext_lessons.figures.tables import Table  # needs matplotlib, which a bare GPU machine lacks

    found, tables = accuracies_of(runs), {}
    for stage, recipes in stage_recipes(found).items():
        if stage_runs(recipes, found):
            break
        second, third = _second_round(recipes, found), _third_round(recipes, found)
        rounds = {name: 1 + (name in second) + (name in third) for name in recipes}
        rows = {name: _row(name, recipes[name], found) for name in recipes}
        ordered = sorted(recipes, key=lambda name: (-rounds[name], -float(rows[name][2])))
        head = ("variant", "runs", "mean", *(f"step {step}" for step in SEARCH_STEPS))
        chosen = ordered.index(best_variant(recipes, found))
        tables[stage] = Table(head, [rows[name] for name in ordered], marked=[chosen])
    return tables


def _row(name: str, recipe: Recipe, found: Accuracies) -> list[str]:
    """Mean over what was trained, and each step's, in percent."""
    by_step = {step: [found.get(make_experiment(step, recipe, seed)) for seed in SEARCH_SEEDS] for step in SEARCH_STEPS}
    by_step = {step: [value for value in values if value is not None] for step, values in by_step.items()}
    means = {step: statistics.fmean(values) for step, values in by_step.items() if values}
    steps = [f"{100 * means[step]:.1f}" if step in means else "" for step in SEARCH_STEPS]
    return [name, str(sum(map(len, by_step.values()))), f"{100 * statistics.fmean(means.values()):.1f}", *steps]
