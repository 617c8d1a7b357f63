"""How fast the course is beside its peers: ratios, each from measurements that take turns in one process.

A ratio above 1 says that the course is faster. timm is compared with where it is installed; ``make bench`` installs it.
"""

import importlib.util
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import torch
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from convnext_lessons.classroom.colab import set_up_cell
from convnext_lessons.classroom.notebooks import execute, find_lesson, list_lessons
from convnext_lessons.classroom.widgets import CostExplorer
from convnext_lessons.data.augmentation import MEAN, STD, training_batches
from convnext_lessons.data.datasets import IMAGENETTE, dataset_folder
from convnext_lessons.data.in_memory import load_images
from convnext_lessons.figures.tables import Table
from convnext_lessons.model.architecture import RESNET50
from convnext_lessons.model.cost import COSTS, count
from convnext_lessons.model.network import build
from convnext_lessons.model.roadmap import LABELS, PAPER_STEPS, architecture_after, step_of
from convnext_lessons.model.timing import ROUNDS, make_worker, time_in_turns
from convnext_lessons.runs.recipes import POCKET
from convnext_lessons.runs.records import write_measurements
from convnext_lessons.system.devices import device_name

Progress = Callable[[str], object]

BATCH, SIDE = 8, 224

OPENING = "from convnext_lessons.classroom import open_lesson\n\ndevice, recipe, images = open_lesson(step=4)"

DRAWING = """\
from convnext_lessons.figures import draw_block
from convnext_lessons.model import architecture_after

draw_block(architecture_after(3), architecture_after(4))"""


def peers() -> dict[str, dict[str, Callable[[], torch.nn.Module]]]:
    """``{step: {name: make}}``: the same networks by others."""
    end = str(PAPER_STEPS[-1])  # ConvNeXt-T, whatever comes after it
    found = {"0": {"torchvision": models.resnet50}, end: {"torchvision": models.convnext_tiny}}
    if importlib.util.find_spec("timm"):
        import timm

        found["0"]["timm"] = lambda: timm.create_model("resnet50")
        found[end]["timm"] = lambda: timm.create_model("convnext_tiny")
        found[end]["timm, conv_mlp"] = lambda: timm.create_model("convnext_tiny", conv_mlp=True)
    return found


def measure_networks(
    rounds: int = 7, side: int = SIDE, batch: int = BATCH, progress: Progress = print
) -> dict[str, list[float]]:
    """Inference and training step (forward and backward) of ResNet-50 and ConvNeXt-T beside others, on the CPU."""
    ratios = {}
    for (step, others), training in itertools.product(peers().items(), (False, True)):
        work = {"image_size": side, "batch_size": batch, "training": training, "device": torch.device("cpu")}
        ours = make_worker(build(architecture_after(step), layer_scale_init=1.0), **work)
        for name, make in others.items():
            theirs = make_worker(make, **work)
            kind = "training step" if training else "inference"
            ratios[f"step {step}, {kind}, {name}"] = time_in_turns(ours, theirs, rounds)
            progress(_line(f"step {step}, {kind}, {name}", ratios[f"step {step}, {kind}, {name}"]))
    return ratios


def measure_steps(
    rounds: int = ROUNDS, side: int = SIDE, batch: int = BATCH, progress: Progress = print
) -> dict[str, list[float]]:
    """A training step of every network of the road beside ResNet-50's, on the CPU: how many times as long it takes.

    What the lessons say of time is read from here, by ``runs.times``.
    """
    work = {"image_size": side, "batch_size": batch, "training": True, "device": torch.device("cpu")}
    first = make_worker(architecture_after(0), **work)
    ratios = {}
    for step in dict.fromkeys(step_of(architecture_after(label)) for label in LABELS[1:]):
        other = make_worker(build(architecture_after(step), layer_scale_init=1.0), **work)
        ratios[step] = time_in_turns(first, other, rounds)
        progress(_line(f"step {step}, a training step, times ResNet-50's", ratios[step]))
    return ratios


def measure_loader(rounds: int = 5, pictures: int = 1280, progress: Progress = print) -> dict[str, list[float]]:
    """Pocket's cached pictures, cropped and flipped in batches, beside torchvision's folder and torch's loader with the
    same alterations picture by picture, with none and with two loader processes."""
    images = load_images(IMAGENETTE.name, POCKET.image_size)
    batches = pictures // POCKET.batch_size
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(POCKET.image_size, (POCKET.crop_scale, 1), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    folder = ImageFolder(dataset_folder(IMAGENETTE) / "train", transform)

    def ours():
        for _ in itertools.islice(training_batches(images, POCKET, 0, 0), batches):
            pass

    ratios = {}
    for workers in (0, 2):
        several = {"num_workers": workers, "persistent_workers": True, "multiprocessing_context": "forkserver"}
        loader = DataLoader(folder, POCKET.batch_size, shuffle=True, **(several if workers else {}))
        stream = itertools.chain.from_iterable(itertools.repeat(loader))

        def theirs(stream=stream):
            for _ in itertools.islice(stream, batches):
                pass

        name = f"loader, ImageFolder and DataLoader with {workers} processes"
        ratios[name] = time_in_turns(ours, theirs, rounds)
        progress(_line(name, ratios[name]))
    return ratios


def measure_waits(progress: Progress = print) -> dict[str, float]:
    """What a learner waits for, in seconds."""
    seconds = {}
    for name, cells in {"fresh kernel to first picture": [DRAWING], "to first trained batch": [OPENING]}.items():
        seconds[name] = _time_cells(cells)
    # What a change in lesson 04's explorer takes, for designs not seen before and for those that were.
    sizes = {"expansion": (1, 2, 3, 4, 5, 8), "width": (68, 86, 96, 112, 136, 192)}
    after = architecture_after(4)
    explorer = CostExplorer(after, sizes, {"step 3": architecture_after(3), "step 4": after}, "")
    for kind in ("new", "seen"):
        slider, answers = explorer.controls["width"], []
        for value in (68, 86, 112, 136, 192):
            start = time.perf_counter()
            slider.value = value
            answers.append(time.perf_counter() - start)
        seconds[f"explorer's answer, {kind}"] = statistics.median(answers)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        execute(find_lesson(4), Path(folder) / "04.ipynb", real=True)
        seconds["lesson 04, its training run included"] = time.perf_counter() - start
        start = time.perf_counter()
        lessons = list_lessons()
        for path in lessons:
            execute(path, Path(folder) / path.name, fast=True)
        seconds[f"all {len(lessons)} lessons in fast mode, one after the other"] = time.perf_counter() - start
    for name, value in seconds.items():
        progress(f"{name:70} {value:8.2f} s")
    return seconds


def make_benchmark(progress: Progress = print) -> None:
    """Measure everything, print it, and keep it in data/reference/bench.json."""
    device = {"name": device_name(torch.device("cpu")), "threads": torch.get_num_threads()}
    content = {
        "peers": _timm(),
        "pictures": {"batch": BATCH, "side": SIDE},
        "ratios": measure_networks(progress=progress) | measure_loader(progress=progress),
        "steps": measure_steps(progress=progress),
        "seconds": measure_waits(progress),
    }
    write_measurements("bench", device, content)


def benchmark_tables(content: Mapping[str, Any]) -> list[Table]:
    """What was kept as three tables: beside peers, every step beside ResNet-50, what a learner waits for."""
    beside = [(name, *_ratios_in_words(ratios)) for name, ratios in content["ratios"].items()]
    start, steps = count(RESNET50), []
    for step, ratios in content["steps"].items():
        cost = count(architecture_after(step))
        counted = [f"{kind.of(cost) / kind.of(start):.2f}" for kind in COSTS]
        steps.append((step, *counted, *_ratios_in_words(ratios)))
    waits = [
        (name, f"{seconds:.3g}" if seconds >= 0.001 else "under 0.001") for name, seconds in content["seconds"].items()
    ]
    return [
        Table(("beside", "× faster, median", "range"), beside),
        Table(("step", *(f"× {kind.title}" for kind in COSTS), "× time, median", "range"), steps),
        Table(("what a learner waits for", "seconds"), waits),
    ]


def _ratios_in_words(ratios):
    return f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"


def _time_cells(cells):
    """Seconds that cells take in a kernel that has yet to start."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.ipynb"
        sources = [set_up_cell(), *cells, "class images: note = 'none'"]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        nbformat.write(notebook, path)
        start = time.perf_counter()
        execute(path, path)
        return time.perf_counter() - start


def _line(name, ratios):
    return f"{name:70} {statistics.median(ratios):6.2f}, in {len(ratios)} rounds {min(ratios):.2f} to {max(ratios):.2f}"


def _timm():
    if not importlib.util.find_spec("timm"):
        return {}
    import timm

    return {"timm": timm.__version__}
