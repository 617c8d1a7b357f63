"""What a lesson does around its own cells: choose the scale, load the pictures, say how long training takes here, show
hints under errors; and, with a GPU, train before and after with several seeds.
"""

import sys
from pathlib import Path

import torch

from convnext_lessons.classroom.hints import show_hints
from convnext_lessons.data.in_memory import Images, load_images
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.recipes import POCKET, recipe_of
from convnext_lessons.runs.records import Experiment, RunRecord, make_experiment, reference_runs
from convnext_lessons.runs.significance import compare_runs
from convnext_lessons.system.devices import choose_device, device_name
from convnext_lessons.system.settings import fast_mode
from convnext_lessons.training.trainer import estimate_seconds, train

SEEDS_WITH_GPU = 3


def open_lesson(
    step: int | str, scale: str | None = None, source: str | Path | None = None, epochs: int | None = None
) -> tuple[torch.device, Recipe, Images]:
    """Get ready for a lesson, and say in plain words what this machine will do.

    Args:
        step: the road's step that the lesson takes.
        scale: ``"pocket"`` or ``"lesson"``; pocket without a GPU and lesson with one unless given.
        source: of the pictures, see ``data.load_images``: a data set by name, or a folder of your own.
        epochs: that the lesson trains, where it does not follow the recipe to its end.

    Returns:
        (device, recipe, images)

    Raises:
        RecipeError: there is no such scale.
    """
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        show_hints(shell)
    device = choose_device()
    recipe = recipe_of(scale or ("lesson" if device.type == "cuda" else "pocket"))
    images = load_images(source, recipe.image_size)
    if fast_mode():
        print("FAST MODE: a few batches on small stand-in pictures. Accuracies mean nothing here.")
    hint = "" if device.type == "cuda" else "; no GPU found (on Colab: Runtime, Change runtime type, T4 GPU)"
    print(f"Device: {device_name(device)}{hint}.")
    width = "full width" if recipe.width_factor == 1 else f"1/{1 / recipe.width_factor:g} of the full width"
    size = f"{width}, {recipe.image_size} px, {recipe.epochs} epochs"
    print(f"Scale: {recipe.name} ({size}). Costs are always those of the full network at 224 px.")
    if not reference_runs(recipe.name):
        again = f'open_lesson(step={step}, scale="pocket")'
        print(f"The stored runs to compare with are of pocket scale: {again} trains like them.")
    print(f"Pictures: {images.note}, {len(images.train):,} to train and {len(images.val):,} to validate.")
    seconds = (
        estimate_seconds(make_experiment(step, recipe), images, device) * (epochs or recipe.epochs) / recipe.epochs
    )
    part = f"The {epochs} epochs that you train" if epochs else f"One training run of step {step}"
    print(f"{part} will take about {max(2, round(seconds))} seconds here.")
    return device, recipe, images


def repeat(
    before: Architecture, after: Architecture, images: Images, device: torch.device, seeds: int | None = None
) -> list[RunRecord]:
    """Train two architectures at pocket scale with several seeds each, and say what these runs of your own tell.

    Args:
        images: the lesson's, whose data set is used here too.
        seeds: how many of each. Unless given, three on a GPU, where such a run takes seconds, and none without one.

    Returns:
        The records of the runs, for ``draw_curves``.
    """
    if seeds is None:
        seeds = SEEDS_WITH_GPU if device.type == "cuda" else 0
    if not seeds:
        print(
            "Without a GPU this cell trains nothing and the stored runs have to do;\nfor six of your own call "
            "repeat(before, after, images, device, seeds=3)."
        )
        return []
    images = load_images(images.source, POCKET.image_size)
    records = []
    for seed in range(seeds):
        pair = []
        for side, architecture in (("before", before), ("after", after)):
            run = train(Experiment(architecture, POCKET, seed), images, device)
            print(f"{run}, {run.record['seconds']:.0f} s")
            if run.record["status"] != "complete":
                return records  # the stop button
            pair.append({**run.record, "variant": "" if run.record["step"] else side})
        records += pair
    print(compare_runs(records))
    return records
