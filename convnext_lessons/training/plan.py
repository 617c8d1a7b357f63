"""What a run would be, in words, before it begins: its batches, its steps, its memory, its time and its price."""

import torch

from convnext_lessons.data.loader import AnyImages, default_workers
from convnext_lessons.model.cost import count
from convnext_lessons.runs.records import Experiment
from convnext_lessons.system.devices import device_name
from convnext_lessons.system.distributed import SINGLE_PROCESS, Process
from convnext_lessons.training.budget import Budget, measure_loader_rate, measure_step_rate

MOST_PICTURES = 64  # in a measured step on the CPU, where a whole local batch may take a minute


def describe_plan(
    experiment: Experiment,
    images: AnyImages,
    device: torch.device,
    process: Process = SINGLE_PROCESS,
    price: float = 0.0,
) -> str:
    """Some lines about a run that has not begun; times are measured here, for some seconds.

    Args:
        price: of a device for an hour.
    """
    recipe = experiment.recipe
    cost = count(experiment.architecture.thinner(recipe.width_factor), recipe.image_size)
    steps = len(images.train) // recipe.batch_size
    local = recipe.local_batches(process.rank, process.world_size)
    size = max(map(len, local))
    measured = min(size, MOST_PICTURES) if device.type == "cpu" else size
    rate = measure_step_rate(experiment, device, measured)
    limit = f"{rate:,.0f} pictures a second trained on {device_name(device)}, in steps of {measured}"
    if recipe.augmentation != "batches":
        workers = default_workers(process)
        loader = measure_loader_rate(images, recipe, workers, device=device)
        limit += f", {loader:,.0f} brought by {workers} loader processes"
        rate = min(rate, loader)
    lines = [
        f"network    {cost.params / 1e6:.2f} million parameters, {cost.macs / 1e9:.3f} G multiply-adds a picture of "
        f"{recipe.image_size} px",
        f"pictures   {len(images.train):,} for training, {len(images.val):,} for validation: {images.note}",
        f"batches    {recipe.batch_size} pictures; {len(local)} × {size} for each of {process.world_size} processes",
        f"steps      {recipe.epochs} epochs × {steps:,} = {recipe.epochs * steps:,}",
        f"rate       {recipe.learning_rate:g} after {recipe.warmup_epochs:g} epochs of warm-up",
        f"memory     {_memory(device)}",
        f"measured   {limit}",
        f"time       {Budget(recipe, process.world_size, rate, price, len(images.train))}, validation not counted",
    ]
    return "\n".join(lines)


def _memory(device):
    if device.type != "cuda":
        return "not measured on the CPU"
    return f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB at the most, in a step of one local batch"
