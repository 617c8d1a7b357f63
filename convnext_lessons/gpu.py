"""What is measured on a GPU, in parts of ten minutes: whether it waits for its pictures, and the runs at lesson scale.

``convnext-lessons reference gpu`` goes on where it was until nothing is missing.
"""

import contextlib
import json
import os
import shutil
import signal
import threading
from pathlib import Path

from convnext_lessons.budget import step_rate
from convnext_lessons.images import load_images, seed_of
from convnext_lessons.machine import atomic, data_folder, device_name, reference_folder
from convnext_lessons.machine import device as choose_device
from convnext_lessons.processes import Stopped, StopRequest
from convnext_lessons.recipe import LESSON
from convnext_lessons.records import SCHEMA, Ledger, experiment, versions
from convnext_lessons.reference import ON_GPU, Tagged, missing
from convnext_lessons.training import precision_for, train


def make_on_gpu(minutes=10.0, device="cuda", folder=None, progress=print):
    """Go on with what is measured on a GPU: its rates, then the collections of ``ON_GPU``, one run after the other, for
    so many minutes. Call again until nothing is missing: a run that was under way goes on where it was.

    Args:
        folder: where the runs are stored; data/reference unless given. Checkpoints of the run under way are beside
            downloads and caches, in ``runs``.

    Returns:
        How many runs are still missing.

    Raises:
        DeviceError: there is no such device.
        NotDownloaded: Imagenette is not here and cannot be fetched.
    """
    device, folder = choose_device(device), Path(folder or reference_folder())
    ledgers = {name: Ledger(folder / f"{name}.jsonl") for name in ON_GPU}
    todo = [(ledger, pair) for name, ledger in ledgers.items() for pair in missing(name, ledger)]
    done = 0
    with StopRequest() as request, _leaving_after(minutes):
        if not (folder / "gpu.json").exists():
            make_rates(device, folder, progress)
        for ledger, (variant, what) in todo:
            if request.made:
                break
            images = load_images("imagenette", what.recipe.image_size, progress)
            place = data_folder() / "runs" / f"{ledger.path.stem} {seed_of(what.settings())}"
            try:
                run = train(what, images, device, ledger=Tagged(ledger.path, variant), folder=place)
            except Stopped:
                break
            shutil.rmtree(place)
            done += 1
            progress(f"{done} of {len(todo)}: {run}, {variant or what.recipe.name}, {run.record['seconds']:.0f} s")
    left = len(todo) - done
    progress("Everything is there." if not left else f"{left} runs are left; the same command goes on.")
    return left


@contextlib.contextmanager
def _leaving_after(minutes):
    """Ask this process to leave as a scheduler would, so that a run saves where it is."""
    timer = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def make_rates(device, folder, progress=print, seconds=10.0):
    """Measure whether a GPU waits for its pictures, at both ends of the road and at its most expensive step, and keep
    it in gpu.json: training pictures a second with real pictures, and with one batch that is there already."""
    images = load_images("imagenette", LESSON.image_size, progress)
    rates = {}
    for step in ("0", "3", "11"):
        what = experiment(step, LESSON)
        rates[step] = {
            "synthetic": step_rate(what, device, seconds=seconds),
            "pictures": step_rate(what, device, seconds=seconds, images=images),
        }
        progress(f"step {step}: {rates[step]['pictures'] / rates[step]['synthetic']:.1%} of the rate without pictures")
    content = {
        "schema": SCHEMA,
        "device": {"name": device_name(device), "precision": str(precision_for(device)).removeprefix("torch.")},
        "versions": versions(),
        "images": images.note,
        "batch_size": LESSON.batch_size,
        "rates": rates,
    }
    with atomic(folder / "gpu.json") as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
