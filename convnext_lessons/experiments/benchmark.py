"""How fast the course is beside its peers: ratios, each from measurements that take turns in one process.

A ratio above 1 says that the course is faster. timm is compared with where it is installed; ``make bench`` installs it.
"""

import functools
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
from convnext_lessons.data.loader import raw_stream
from convnext_lessons.data.on_disk import open_images
from convnext_lessons.experiments.engine import write_photographs
from convnext_lessons.figures.tables import Table
from convnext_lessons.model.architecture import RESNET50
from convnext_lessons.model.cost import COSTS, count
from convnext_lessons.model.network import build
from convnext_lessons.model.roadmap import LABELS, PAPER_STEPS, architecture_after, step_of
from convnext_lessons.model.timing import ROUNDS, make_worker, time_in_turns
from convnext_lessons.runs.recipes import PAPER, POCKET
from convnext_lessons.runs.records import write_measurements
from convnext_lessons.system.devices import device_name

Progress = Callable[[str], object]

BATCH, SIDE = 8, 224
LOADED = 64  # pictures in a batch of the paper's loader

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


def measure_recipe_loader(rounds: int = 5, pictures: int = 256, progress: Progress = print) -> dict[str, list[float]]:
    """The work of a loader process by the paper's recipe, on files as large as ImageNet's, beside torchvision's
    reference and timm with the same alterations. Both decode by Pillow and alter its pictures; torchvision's makes
    numbers, standardizes and erases there, too, which timm and the course leave to the device."""
    recipe, ratios = PAPER.change(batch_size=LOADED, local_batch_size=None, epochs=10**9), {}
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder))
        streams = {"ours": raw_stream(open_images(recipe, folder), recipe, 0, 0, torch.device("cpu"))}
        for name, make in {
            "torchvision's reference": _reference_loader,
            "timm, without Posterize": _timm_loader,
        }.items():
            if name.startswith("timm") and not importlib.util.find_spec("timm"):
                progress("timm is not installed; its loader is left out")
                continue
            streams[name] = itertools.chain.from_iterable(itertools.repeat(make(Path(folder) / "train", recipe)))

        def bring(name):
            for _ in itertools.islice(streams[name], pictures // LOADED):
                pass

        for name in list(streams)[1:]:
            ours, theirs = (functools.partial(bring, each) for each in ("ours", name))
            ratios[f"the paper's loader, {name}"] = time_in_turns(ours, theirs, rounds)
            progress(_line(f"the paper's loader, {name}", ratios[f"the paper's loader, {name}"]))
    return ratios


def _reference_loader(folder, recipe):
    """In the manner of torchvision's references/classification, with the recipe's own alterations."""
    cut, flip, *operations = recipe.training_transform().transforms[1:]
    standardize = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    erase = v2.RandomErasing(recipe.erasing, value="random")
    transform = v2.Compose([cut, flip, *operations, *standardize, erase])
    return DataLoader(ImageFolder(folder, transform), LOADED, shuffle=True, drop_last=True)


def _timm_loader(folder, recipe):
    """timm's loader, without what it does on the device, with its own names for the recipe's alterations. Posterize is
    left out: it asks Pillow for 0 bits, which Pillow 13 refuses."""
    import timm.data

    names = {"auto_augment": "rand-m9-mstd0.5-inc1", "interpolation": recipe.interpolation}
    erasing = {"re_prob": recipe.erasing, "re_mode": "pixel"}
    work = {"num_workers": 0, "persistent_workers": False, "pin_memory": False, "device": torch.device("cpu")}
    dataset = timm.data.ImageDataset(str(folder))
    loader = timm.data.create_loader(dataset, recipe.image_size, LOADED, is_training=True, **names, **erasing, **work)
    (augment,) = (step for step in dataset.transform.transforms if isinstance(step, timm.data.RandAugment))
    augment.ops = [operation for operation in augment.ops if "Posterize" not in operation.name]
    return loader.loader


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
        "ratios": measure_networks(progress=progress)
        | measure_loader(progress=progress)
        | measure_recipe_loader(progress=progress),
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
