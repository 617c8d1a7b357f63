"""What is measured on a GPU, in parts of ten minutes: whether it waits for its pictures, and the runs at lesson scale.

``convnext-lessons reference gpu`` goes on where it was until nothing is missing.
"""

import itertools
import json
import shutil
import statistics
from pathlib import Path

from convnext_lessons.budget import step_rate
from convnext_lessons.images import load_images, seed_of
from convnext_lessons.machine import atomic, data_folder, device_name, reference_folder
from convnext_lessons.machine import device as choose_device
from convnext_lessons.processes import Stopped, StopRequest
from convnext_lessons.recipe import LESSON
from convnext_lessons.records import SCHEMA, Ledger, experiment, versions
from convnext_lessons.reference import ON_GPU, Tagged, missing_of, not_in_fast_mode
from convnext_lessons.training import Engine, TrainingError, precision_for, train


def make_on_gpu(minutes=10.0, device="cuda", folder=None, progress=print):
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
        NotDownloaded: Imagenette is not here and cannot be fetched.
    """
    not_in_fast_mode()
    device, folder = choose_device(device), Path(folder or reference_folder())
    with StopRequest(60 * minutes) as request:
        images = load_images("imagenette", LESSON.image_size, progress)
        if not (folder / "gpu.json").exists():
            make_rates(images, device, folder, progress)
        for name, (variant, what) in _missing(folder):
            place = data_folder() / "runs" / f"{name} {seed_of(what.settings())}"
            engine = Engine(seconds=request.seconds_left)
            if request.made:
                break
            try:
                run = train(what, images, device, ledger=Ledger(place / "ledger.jsonl"), folder=place, engine=engine)
            except Stopped:
                break
            except TrainingError as error:
                progress(f"step {what.step}, seed {what.seed}, {variant or name}: {error}")
                continue
            if run.record["status"] != "complete":
                break
            # First stored, then removed: whatever happens in between, no finished run is lost.
            Tagged(folder / f"{name}.jsonl", variant).append(run.record)
            shutil.rmtree(place)
            progress(f"{run}, {variant or name}, {run.record['seconds']:.0f} s")
    left = len(_missing(folder))
    progress("Everything is there." if not left else f"{left} runs are left; the same command goes on.")
    return left


def _missing(folder):
    ledgers = {name: Ledger(folder / f"{name}.jsonl") for name in ON_GPU}
    return [(name, pair) for name, ledger in ledgers.items() for pair in missing_of(ON_GPU[name](), ledger)]


def make_rates(images, device, folder, progress=print, rounds=3, seconds=5.0):
    """Measure whether training waits for its pictures, at both ends of the road and at its most expensive step, and
    keep it in gpu.json: training pictures a second with batches cut, turned and scaled from the pictures in the
    device's memory, and with one batch that is there already; medians of rounds in which both take turns."""
    samples = {}
    for _, step in itertools.product(range(rounds), ("0", "3", "11")):
        what = experiment(step, LESSON)
        for kind, source in (("synthetic", None), ("pictures", images)):
            rate = step_rate(what, device, seconds=seconds, images=source)
            samples.setdefault(step, {}).setdefault(kind, []).append(rate)
    rates = {}
    for step, kinds in samples.items():
        kinds = rates[step] = {kind: statistics.median(values) for kind, values in kinds.items()}
        progress(f"step {step}: {kinds['pictures'] / kinds['synthetic']:.1%} of the rate without pictures")
    content = {
        "schema": SCHEMA,
        "device": {"name": device_name(device), "precision": str(precision_for(device)).removeprefix("torch.")},
        "versions": versions(),
        "images": images.note,
        "batch_size": LESSON.batch_size,
        "rounds": rounds,
        "rates": rates,
    }
    with atomic(folder / "gpu.json") as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
