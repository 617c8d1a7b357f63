"""What the recipe's machinery costs: each part of a picture's way, each technique, a checkpoint, more processes."""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from convnext_lessons.data.datasets import IMAGENETTE, dataset_folder
from convnext_lessons.data.loader import AnyImages
from convnext_lessons.data.on_disk import open_images
from convnext_lessons.experiments.parts import measure_parts
from convnext_lessons.model.roadmap import PAPER_STEPS
from convnext_lessons.runs.recipes import PAPER, REHEARSAL
from convnext_lessons.runs.records import Experiment, make_experiment, write_measurements
from convnext_lessons.system.devices import choose_device, device_name
from convnext_lessons.training.budget import make_trainer_without_images, measure_loader_rate, measure_step_rate
from convnext_lessons.training.checkpoints import CheckpointFolder, read_log

# A recipe without one of its techniques. Those of the first kind work in the loader, the others in the step.
IN_THE_LOADER = {
    "RandAugment": {"augmentation": "crops"},
    "random erasing": {"erasing": 0.0},
}

IN_THE_STEP = {
    "mixup and CutMix": {"mixup": 0.0, "cutmix": 0.0},
    "label smoothing": {"label_smoothing": 0.0},
    "stochastic depth": {"stochastic_depth": 0.0},
    "moving average": {"ema": 0.0},
}


def measure_techniques(
    experiment: Experiment,
    images: AnyImages,
    device: str | torch.device | None = None,
    rounds: int = 5,
    seconds: float = 2.0,
) -> dict[str, list[float]]:
    """How much longer each technique of a recipe makes the work that it is part of.

    Returns:
        ``{technique: ratios}``: the time for a picture, in the loader or in the step, with everything on, relative to
        the time without that technique; one for each round, in which both are measured one after the other.
    """
    ratios, device = {}, choose_device(device)
    for _, (name, changes) in itertools.product(range(rounds), {**IN_THE_LOADER, **IN_THE_STEP}.items()):
        without = Experiment(experiment.architecture, experiment.recipe.change(**changes), experiment.seed)
        if name in IN_THE_LOADER:
            rates = [
                measure_loader_rate(images, each.recipe, seconds=seconds, device=device)
                for each in (without, experiment)
            ]
        else:
            rates = [measure_step_rate(each, device, seconds=seconds) for each in (without, experiment)]
        ratios.setdefault(name, []).append(rates[0] / rates[1])
    return ratios


def measure_checkpoint(
    experiment: Experiment, device: str | torch.device | None = None, rounds: int = 3
) -> tuple[float, int]:
    """(seconds, bytes) of one checkpoint of an experiment's network, its average and its optimizer's state."""
    device = choose_device(device)
    trainer = make_trainer_without_images(experiment, device)
    side = max(32, experiment.recipe.image_size // 4)  # the state does not depend on it
    trainer.step([(torch.randn(2, 3, side, side, device=device), torch.tensor([0, 1], device=device))], 1.0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointFolder(folder, experiment.settings())
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            checkpoints.save(trainer.state([]))
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds), (Path(folder) / "last.pt").stat().st_size


def make_engine(progress: Callable[[str], object] = print) -> None:
    """Measure what lesson 12 shows of the machinery, on the CPU, and keep it in data/reference/engine.json."""
    content = {"images": open_images(REHEARSAL, IMAGENETTE.name).note}
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder))
        large = open_images(PAPER, folder)
        rate = measure_loader_rate(large, PAPER.change(batch_size=64), seconds=20)
        content["loader"] = {"recipe": "paper", "file_size": PHOTOGRAPH, "images_per_second": rate}
        progress(f"loader: {content['loader']}")
        paper = make_experiment(PAPER_STEPS[-1], PAPER)
        parts = {"recipe": "paper", "file_size": PHOTOGRAPH, "milliseconds": measure_parts(large, paper, "cpu")}
        content["parts"] = parts
        progress(f"parts: {parts['milliseconds']}")
    rehearsal = make_experiment(PAPER_STEPS[-1], REHEARSAL)
    content["techniques"] = measure_techniques(rehearsal, open_images(REHEARSAL, IMAGENETTE.name), "cpu")
    progress(f"techniques: {content['techniques']}")
    seconds, size = measure_checkpoint(paper, "cpu")
    content["checkpoint"] = {"seconds": seconds, "bytes": size}
    progress(f"checkpoint: {content['checkpoint']}")
    content["processes"] = _measure_processes(progress)
    device = {"name": device_name(torch.device("cpu")), "threads": torch.get_num_threads()}
    write_measurements("engine", device, content)


PHOTOGRAPH = (500, 375)  # a usual size in ImageNet


def write_photographs(folder: Path, count: int = 200) -> None:
    """Pictures of Imagenette blown up to the size of ImageNet's, so that decoding them takes as long."""
    sources = sorted((dataset_folder(IMAGENETTE) / "train").glob("*/*.JPEG"))
    for split in ("train", "val"):
        (folder / split / "a").mkdir(parents=True)
    for number in range(count):
        with Image.open(sources[number * len(sources) // count]) as opened:
            large = opened.convert("RGB").resize(PHOTOGRAPH, Image.Resampling.BICUBIC)
        large.save(folder / ("train" if number < count - 1 else "val") / "a" / f"{number}.jpg", quality=90)


def _measure_processes(progress, rounds=2):
    """Pictures a second of two epochs of the rehearsal: one process with one thread, one with two, and two with one."""
    samples = {}
    for _ in range(rounds):
        for processes, threads in ((1, 1), (1, 2), (2, 1)):
            with tempfile.TemporaryDirectory() as folder:
                launch = [sys.executable, "-m", "torch.distributed.run"]
                launch += ["--standalone", f"--nproc-per-node={processes}"]
                command = ["-m", "convnext_lessons", "train", "--recipe", "rehearsal", "--images", "imagenette"]
                command += ["--epochs", "2", "--workers", "0", "--device", "cpu", "--out", folder]
                environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
                subprocess.run([*launch, *command], check=True, capture_output=True, env=environment)
                last = read_log(folder)[-1]
            samples.setdefault(f"{processes} × {threads} threads", []).append(last["pictures"] / last["seconds"])
    rates = {name: statistics.median(values) for name, values in samples.items()}
    progress(f"processes: {rates}")
    return rates
