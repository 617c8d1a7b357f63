"""How fast the course is beside its peers: ratios, each from measurements that take turns in one process.

A ratio above 1 says that the course is faster. timm is compared with where it is installed; ``make bench`` installs it.
"""

import importlib.util
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

import nbformat
import torch
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from convnext_lessons.architecture import RESNET50
from convnext_lessons.colab import set_up_cell
from convnext_lessons.cost import sketch
from convnext_lessons.images import imagenette_folder, load_images, training_batches
from convnext_lessons.lessons import execute, find_lesson, lessons
from convnext_lessons.machine import atomic, device_name, reference_folder
from convnext_lessons.network import build
from convnext_lessons.recipe import MEAN, POCKET, STD
from convnext_lessons.records import SCHEMA, versions
from convnext_lessons.roadmap import architecture_after
from convnext_lessons.widgets import CostExplorer

BATCH, SIDE = 8, 224
OPENING = "from convnext_lessons.classroom import open_lesson\n\ndevice, recipe, images = open_lesson(step=4)"
DRAWING = """\
from convnext_lessons.drawing import draw_block
from convnext_lessons.roadmap import architecture_after

draw_block(architecture_after(3), architecture_after(4))"""


def peers():
    """``{step: {name: make}}``: the same networks by others."""
    found = {"0": {"torchvision": models.resnet50}, "11": {"torchvision": models.convnext_tiny}}
    if importlib.util.find_spec("timm"):
        import timm

        found["0"]["timm"] = lambda: timm.create_model("resnet50")
        found["11"]["timm"] = lambda: timm.create_model("convnext_tiny")
        found["11"]["timm, conv_mlp"] = lambda: timm.create_model("convnext_tiny", conv_mlp=True)
    return found


def pair(ours, theirs, rounds):
    """Time two callables in turns; the ratios theirs / ours, one a round, after one that warms up."""
    ratios = []
    for number in range(rounds + 1):
        spent = {}
        for one in (ours, theirs) if number % 2 else (theirs, ours):
            start = time.perf_counter()
            one()
            spent[one] = time.perf_counter() - start
        ratios.append(spent[theirs] / spent[ours])
    return ratios[1:]


def network_ratios(rounds=7, side=SIDE, batch=BATCH, progress=print):
    """Inference and training step (forward and backward) of the road's two ends beside those of others, on the CPU."""
    ratios = {}
    pictures = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    for (step, others), training in itertools.product(peers().items(), (False, True)):
        ours = _worker(build(architecture_after(step), layer_scale_init=1.0), pictures, training)
        for name, make in others.items():
            theirs = _worker(make(), pictures, training)
            kind = "training step" if training else "inference"
            ratios[f"step {step}, {kind}, {name}"] = pair(ours, theirs, rounds)
            progress(_line(f"step {step}, {kind}, {name}", ratios[f"step {step}, {kind}, {name}"]))
    return ratios


def step_ratios(rounds=5, side=SIDE, batch=BATCH, progress=print):
    """A training step of each step's network beside ResNet-50's, on the CPU: how many times as long it takes."""
    pictures = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    first = _worker(build(architecture_after(0)), pictures, training=True)
    ratios = {}
    for step in range(1, 12):
        other = _worker(build(architecture_after(step), layer_scale_init=1.0), pictures, training=True)
        ratios[str(step)] = pair(first, other, rounds)
        progress(_line(f"step {step}, a training step, times ResNet-50's", ratios[str(step)]))
    return ratios


def loader_ratios(rounds=5, pictures=1280, progress=print):
    """Pocket's cached pictures, cropped and flipped in batches, beside torchvision's folder and torch's loader with the
    same alterations picture by picture, with none and with two loader processes."""
    images = load_images("imagenette", POCKET.image_size)
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
    folder = ImageFolder(imagenette_folder() / "train", transform)

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
        ratios[name] = pair(ours, theirs, rounds)
        progress(_line(name, ratios[name]))
    return ratios


def waits(progress=print):
    """What a learner waits for, in seconds."""
    spent = {}
    for name, cells in {"fresh kernel to first picture": [DRAWING], "to first trained batch": [OPENING]}.items():
        spent[name] = _executed(cells)
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
        spent[f"explorer's answer, {kind}"] = statistics.median(answers)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        execute(find_lesson(4), Path(folder) / "04.ipynb", real=True)
        spent["lesson 04, its training run included"] = time.perf_counter() - start
        start = time.perf_counter()
        for path in lessons():
            execute(path, Path(folder) / path.name, fast=True)
        spent[f"all {len(lessons())} lessons in fast mode, one after the other"] = time.perf_counter() - start
    for name, seconds in spent.items():
        progress(f"{name:70} {seconds:8.2f} s")
    return spent


def make_bench(progress=print):
    """Measure everything, print it, and keep it in data/reference/bench.json."""
    content = {
        "schema": SCHEMA,
        "device": {"name": device_name(torch.device("cpu")), "threads": torch.get_num_threads()},
        "versions": versions() | _timm(),
        "pictures": {"batch": BATCH, "side": SIDE},
        "ratios": network_ratios(progress=progress) | loader_ratios(progress=progress),
        "steps": step_ratios(progress=progress),
        "seconds": waits(progress),
    }
    with atomic(reference_folder() / "bench.json") as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def bench():
    """What ``make_bench`` kept."""
    return json.loads((reference_folder() / "bench.json").read_text(encoding="utf-8"))


def bench_table(content):
    """What was kept as three tables in Markdown."""
    lines = ["| beside | × faster, median | range |", "|---|---|---|"]
    for name, ratios in content["ratios"].items():
        lines.append(f"| {name} | {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |")
    lines += ["", "| step | × multiply-adds | × activation bytes | × time, median | range |", "|---|---|---|---|---|"]
    start = sketch(RESNET50)
    for step, ratios in content["steps"].items():
        cost = sketch(architecture_after(step))
        cells = [step, f"{cost.macs / start.macs:.2f}", f"{cost.activation_bytes / start.activation_bytes:.2f}"]
        cells += [f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| what a learner waits for | seconds |", "|---|---|"]
    for name, seconds in content["seconds"].items():
        lines.append(f"| {name} | {seconds:.3g} |" if seconds >= 0.001 else f"| {name} | under 0.001 |")
    return "\n".join(lines)


def _worker(network, pictures, training):
    network.to(memory_format=torch.channels_last).train(training)

    def once():
        with torch.set_grad_enabled(training):
            output = network(pictures)
        if training:
            output.sum().backward()

    return once


def _executed(cells):
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
