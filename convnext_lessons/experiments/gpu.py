"""What is measured on a GPU, in parts of ten minutes: whether it waits for its pictures, and the runs at lesson scale.

``convnext-lessons reference gpu`` goes on where it was until nothing is missing.
"""

import itertools
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from convnext_lessons.data.augmentation import seed_of
from convnext_lessons.data.datasets import IMAGENETTE
from convnext_lessons.data.in_memory import Images, load_images
from convnext_lessons.experiments.collections import ON_GPU, CollectionStore, refuse_fast_mode, without_stored
from convnext_lessons.model.roadmap import LAST_STEP
from convnext_lessons.runs.recipes import LESSON
from convnext_lessons.runs.records import RunStore, make_experiment, write_measurements
from convnext_lessons.system.devices import choose_device, device_name
from convnext_lessons.system.distributed import Stopped, StopRequest
from convnext_lessons.system.settings import data_folder, reference_folder
from convnext_lessons.training.budget import measure_step_rate
from convnext_lessons.training.trainer import TrainingError, TrainOptions, precision_for, train


def make_on_gpu(
    minutes: float = 10.0,
    device: str | torch.device = "cuda",
    folder: str | Path | None = None,
    progress: Callable[[str], object] = print,
) -> int:
    """Go on with what is measured on a GPU: its rates, then the collections of ``ON_GPU``, one run after the other, for
    so many minutes. Call again until nothing is missing: a run that was under way goes on where it was.

    Args:
        minutes: until the run under way is asked to save and leave, which takes a few seconds more.
        folder: where the runs are stored; data/reference unless given. The run under way has its checkpoint in
            ``runs``, beside downloads and caches.

    Returns:
        How many runs are still missing.

    Raises:
        CollectionError: in fast mode.
        DeviceError: there is no such device.
        NotDownloaded: Imagenette is not here and cannot be downloaded.
    """
    refuse_fast_mode()
    device, folder = choose_device(device), Path(folder or reference_folder())
    with StopRequest(60 * minutes) as request:
        images = load_images(IMAGENETTE.name, LESSON.image_size, progress)
        if not (folder / "gpu.json").exists():
            make_rates(images, device, folder, progress)
        for name, (variant, experiment) in _missing(folder):
            if request.requested:
                break
            run_folder = data_folder() / "runs" / f"{name} {seed_of(experiment.settings())}"
            store, options = RunStore(run_folder / "ledger.jsonl"), TrainOptions(seconds=request.seconds_left)
            try:
                run = train(experiment, images, device, store=store, folder=run_folder, options=options)
            except Stopped:
                break
            except TrainingError as error:
                progress(f"step {experiment.step}, seed {experiment.seed}, {variant or name}: {error}")
                continue
            if run.record["status"] != "complete":
                break
            # First stored, then removed: whatever happens in between, no finished run is lost.
            CollectionStore(folder / f"{name}.jsonl", variant).append(run.record)
            shutil.rmtree(run_folder)
            progress(f"{run}, {variant or name}, {run.record['seconds']:.0f} s")
    left = len(_missing(folder))
    progress("Everything is there." if not left else f"{left} runs are left; the same command goes on.")
    return left


def _missing(folder):
    stores = {name: RunStore(folder / f"{name}.jsonl") for name in ON_GPU}
    return [(name, pair) for name, store in stores.items() for pair in without_stored(ON_GPU[name](), store)]


def make_rates(
    images: Images,
    device: torch.device,
    folder: Path,
    progress: Callable[[str], object] = print,
    rounds: int = 3,
    seconds: float = 5.0,
) -> None:
    """Measure whether training waits for its pictures, at both ends of the road and at its most expensive step, and
    keep it in gpu.json: training pictures a second with batches cut, turned and scaled from the pictures in the
    device's memory, and with one batch that is there already; medians of rounds in which both take turns."""
    samples = {}
    for _, step in itertools.product(range(rounds), ("0", "3", str(LAST_STEP))):
        experiment = make_experiment(step, LESSON)
        for kind, source in (("synthetic", None), ("pictures", images)):
            rate = measure_step_rate(experiment, device, seconds=seconds, images=source)
            samples.setdefault(step, {}).setdefault(kind, []).append(rate)
    rates = {
        step: {kind: statistics.median(values) for kind, values in kinds.items()} for step, kinds in samples.items()
    }
    for step, kinds in rates.items():
        progress(f"step {step}: {kinds['pictures'] / kinds['synthetic']:.1%} of the rate without pictures")
    precision = str(precision_for(device)).removeprefix("torch.")
    content = {"images": images.note, "batch_size": LESSON.batch_size, "rounds": rounds, "rates": rates}
    write_measurements("gpu", {"name": device_name(device), "precision": precision}, content, folder)
