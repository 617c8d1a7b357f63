"""What a run leaves behind: the whole experiment, the machine, the curve and the result, one line of JSON a run."""

import contextlib
import json
import os
import platform
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
import torch
import torchvision

from convnext_lessons import __version__
from convnext_lessons.architecture import Architecture
from convnext_lessons.machine import (
    CourseError,
    data_folder,
    device_name,
    fast_mode,
    made,
    reference_folder,
    storage_error,
)
from convnext_lessons.recipe import Recipe
from convnext_lessons.roadmap import architecture_after, step_of

try:
    import fcntl
except ImportError:  # Windows: no advisory locks, and one learner at a time
    fcntl = None

SCHEMA = 1


class RecordError(CourseError, ValueError):
    """Stored runs that cannot be read or do not belong together."""


@dataclass(frozen=True)
class Experiment:
    """An architecture, a recipe and a seed; with the images they make a run that can be repeated."""

    architecture: Architecture
    recipe: Recipe
    seed: int = 0

    @property
    def step(self):
        """The road's label of the architecture, such as ``"4"`` or ``"3a"``; None for a network beside the road."""
        return step_of(self.architecture)

    def settings(self):
        """Everything that was chosen, as plain values of JSON."""
        return json.loads(
            json.dumps({"architecture": asdict(self.architecture), "recipe": asdict(self.recipe), "seed": self.seed})
        )

    @classmethod
    def from_settings(cls, settings):
        """The experiment of a stored run; what was added to architectures or recipes since then has its default."""
        return cls(Architecture(**settings["architecture"]), Recipe(**settings["recipe"]), settings["seed"])


def experiment(step, recipe, seed=0):
    """The ``Experiment`` of a step of the road."""
    return Experiment(architecture_after(step), recipe, seed)


def record_of(what, images, device, precision, curve, status, **result):
    """One run as a dictionary ready for JSON.

    Args:
        what: the ``Experiment``.
        images: the ``Images`` it ran on.
        curve: points ``{"pictures", "seconds", "loss"}``, some with ``"accuracy"``; seconds of training, evaluations
            left out.
        status: ``"complete"`` or ``"interrupted"``.
    """
    accuracies = [point["accuracy"] for point in curve if "accuracy" in point]
    return {
        "schema": SCHEMA,
        "step": what.step,
        "recipe": what.recipe.name,
        "seed": what.seed,
        "images": {"source": images.source, "note": images.note, "train": len(images.train), "val": len(images.val)},
        "device": {
            "type": device.type,
            "name": device_name(device),
            "threads": torch.get_num_threads(),
            "precision": precision,
        },
        "versions": versions(),
        "settings": what.settings(),
        "status": status,
        "fast": fast_mode(),
        "accuracy": accuracies[-1] if accuracies else None,
        "curve": curve,
        **result,
    }


def versions():
    """The software that a measured number hangs on."""
    return {
        "convnext_lessons": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
    }


class Ledger:
    """Runs in a JSONL file, to which several processes may append."""

    def __init__(self, path=None):
        self.path = Path(path) if path else data_folder() / "ledger.jsonl"

    def append(self, record):
        """Add one run; it is on the disk when this returns.

        Raises:
            StorageError: the file cannot be written.
        """
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        made(self.path.parent)
        try:
            with open(self.path, "a+b", buffering=0) as file, _locked(file):
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                torn = size > 0 and file.read(1) != b"\n"
                try:
                    rest = b"\n" + line if torn else line
                    while rest:  # a disk that fills up may take a part without a word
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise storage_error(self.path, error) from error

    def runs(self):
        """All runs, oldest first. A torn line, left by a crash while it was written, is left out with a warning."""
        if not self.path.exists():
            return []
        found = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                run = json.loads(line)
            except json.JSONDecodeError:
                warnings.warn(
                    f"Line {number} of {self.path} was cut off while it was written; that run is left out.",
                    stacklevel=2,
                )
                continue
            if run.get("schema") != SCHEMA:
                raise RecordError(
                    f"Line {number} of {self.path} has schema {run.get('schema')!r}, and this version reads {SCHEMA}; "
                    "update the course."
                )
            found.append(run)
        return found


def reference_runs(name="pocket", **wanted):
    """The stored runs of ``data/reference/NAME.jsonl`` whose fields have the wanted values, such as ``step="4"``."""
    if "step" in wanted:
        wanted["step"] = step_of(architecture_after(wanted["step"]))  # "3b" is stored as "3"
    return [
        run
        for run in Ledger(reference_folder() / f"{name}.jsonl").runs()
        if all(run[key] == value for key, value in wanted.items())
    ]


def name_of(run):
    """What to call the group that a run belongs to: its variant in a collection, else its step."""
    return run.get("variant") or f"step {run['step']}"


@contextlib.contextmanager
def _locked(file):
    if fcntl is None:
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
