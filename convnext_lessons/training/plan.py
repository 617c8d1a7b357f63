"""What a run would be, in words, before it begins: its batches, its steps, its memory, its time and its price."""

import torch

from convnext_lessons.data.loader import AnyImages, default_workers
from convnext_lessons.model.cost import count
from convnext_lessons.runs.records import Experiment
from convnext_lessons.system.devices import device_name
from convnext_lessons.training.budget import Budget, measure_loader_rate, measure_step_rate
from convnext_lessons.training.trainer import TrainOptions, prepare_experiment

MOST_PICTURES = 64  # in a measured step on the CPU, where a whole local batch may take a minute


def describe_plan(
    experiment: Experiment,
    images: AnyImages,
    device: torch.device,
    options: TrainOptions | None = None,
    price: float = 0.0,
) -> str:
    """Some lines about a run that has not begun; times are measured here, for some seconds.

    Args:
        price: of a device for an hour.

    Raises:
        TrainingError: the run could not begin: pictures, recipe and processes do not fit together.
    """
    options = options or TrainOptions()
    process = options.process
    experiment = prepare_experiment(experiment, images, process)
    recipe = experiment.recipe
    cost = count(experiment.architecture.thinner(recipe.width_factor), recipe.image_size)
    steps = len(images.train) // recipe.batch_size
    local = recipe.local_batches(process.rank, process.world_size)
    size = max(map(len, local))
    measured = min(size, MOST_PICTURES) if device.type == "cpu" else size
    rate = measure_step_rate(experiment, device, measured, options=options)
    limit = f"{rate:,.0f} pictures a second trained on {device_name(device)}, in steps of {measured}"
    if recipe.augmentation != "batches":
        workers = default_workers(process) if options.workers is None else options.workers
        loader = measure_loader_rate(images, recipe, workers, device=device)
        limit += f", {loader:,.0f} brought by {workers} loader processes"
        rate = min(rate, loader)
    lines = [
        f"network    {cost.params / 1e6:.2f} million parameters, {cost.macs / 1e9:.3f} G multiply-adds a picture of "
        f"{recipe.image_size} px",
        f"pictures   {len(images.train):,} for training, {len(images.val):,} for validation: {images.note}",
        f"batches    {recipe.batch_size} pictures; {len(local)} × {size} for each of {process.world_size} processes"
        + (f", {options.micro_batch_size} at a time" if options.micro_batch_size else ""),
        f"steps      {recipe.epochs} epochs × {steps:,} = {recipe.epochs * steps:,}",
        f"rate       {recipe.learning_rate:g} after {recipe.warmup_epochs:g} epochs of warm-up",
        f"memory     {_memory(cost, recipe, min(size, options.micro_batch_size or size), device)}",
        f"measured   {limit}",
        f"time       {Budget(recipe, process.world_size, rate, price, len(images.train))}, validation not counted",
    ]
    return "\n".join(lines)


def _memory(cost, recipe, pictures, device):
    """Measured on a GPU, counted elsewhere: activations, and four float32 numbers a weight: itself, its gradient and
    what the optimizer keeps of it."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB at the most, in a step of one local batch"
    numbers = 4 * cost.params + (cost.params if recipe.ema else 0)
    counted = pictures * cost.activation_bytes + 4 * numbers
    return f"{counted / 1e9:.1f} GB counted for {pictures} pictures at a time: activations, weights and their state"
