"""What a run is, and what runs may say.

A ``Recipe`` is one way to train, ``RECIPES`` those of the course; an ``Experiment`` is an architecture, a recipe and a
seed; a run leaves one record, and ``significance`` says what groups of records can tell.
"""

from convnext_lessons.runs.recipe import Recipe, RecipeError
from convnext_lessons.runs.recipes import LESSON, ORIGINAL, PAPER, POCKET, RECIPES, REHEARSAL, recipe_of
from convnext_lessons.runs.records import (
    Experiment,
    RecordError,
    RunStore,
    group_name,
    make_experiment,
    read_measurements,
    reference_runs,
    validated_points,
)
from convnext_lessons.runs.significance import (
    SignificanceError,
    compare_groups,
    compare_runs,
    compare_steps,
    describe_group,
    describe_position,
    pooled_spread,
    resolvable_difference,
)
from convnext_lessons.runs.times import stored_time_ratio, time_ratio

__all__ = [
    "LESSON",
    "ORIGINAL",
    "PAPER",
    "POCKET",
    "RECIPES",
    "REHEARSAL",
    "Experiment",
    "Recipe",
    "RecipeError",
    "RecordError",
    "RunStore",
    "SignificanceError",
    "compare_groups",
    "compare_runs",
    "compare_steps",
    "describe_group",
    "describe_position",
    "group_name",
    "make_experiment",
    "pooled_spread",
    "read_measurements",
    "recipe_of",
    "reference_runs",
    "resolvable_difference",
    "stored_time_ratio",
    "time_ratio",
    "validated_points",
]
