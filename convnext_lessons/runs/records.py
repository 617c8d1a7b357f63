"""What a run leaves behind: the whole experiment, the machine, the curve and the result, one line of JSON a run.

Also the files of ``data/reference``, which hold the stored runs and measurements that come with the course.
"""

import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
import torchvision

from convnext_lessons import __version__
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.roadmap import architecture_after, step_of
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.system.devices import device_name
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import data_folder, fast_mode, reference_folder
from convnext_lessons.system.storage import locked, read_json, storage_error, write_json

SCHEMA = 1

RunRecord = dict[str, Any]  # one run, as ``record_of`` makes it


class RecordError(CourseError, ValueError):
    """Stored runs or measurements that cannot be read."""


@dataclass(frozen=True)
class Experiment:
    """An architecture, a recipe and a seed; with the images they make a run that can be repeated."""

    architecture: Architecture
    recipe: Recipe
    seed: int = 0

    @property
    def step(self) -> str | None:
        """The road's label of the architecture, such as ``"4"`` or ``"3a"``; None for a network beside the road."""
        return step_of(self.architecture)

    def settings(self) -> dict[str, Any]:
        """Everything that was chosen, as plain values of JSON."""
        return json.loads(
            json.dumps({"architecture": asdict(self.architecture), "recipe": asdict(self.recipe), "seed": self.seed})
        )

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Experiment":
        """The experiment of a stored run; what was added to architectures or recipes since then has its default."""
        return cls(Architecture(**settings["architecture"]), Recipe(**settings["recipe"]), settings["seed"])


def make_experiment(step: int | str, recipe: Recipe, seed: int = 0) -> Experiment:
    """The ``Experiment`` of a step of the road.

    Raises:
        UnknownStep: there is no such step.
    """
    return Experiment(architecture_after(step), recipe, seed)


def record_of(
    experiment: Experiment,
    images: Any,
    device: torch.device,
    precision: str,
    curve: Sequence[Mapping[str, Any]],
    status: str,
    **result: Any,
) -> RunRecord:
    """One run as a dictionary ready for JSON.

    Args:
        images: the data set it ran on, such as ``Images``.
        precision: the number format of the forward pass, such as ``"float32"``.
        curve: points ``{"pictures", "seconds", "loss"}``, some with ``"accuracy"``; seconds of training, evaluations
            left out.
        status: ``"complete"`` or ``"interrupted"``.
    """
    accuracies = [point["accuracy"] for point in curve if "accuracy" in point]
    return {
        "schema": SCHEMA,
        "step": experiment.step,
        "recipe": experiment.recipe.name,
        "seed": experiment.seed,
        "images": {"source": images.source, "note": images.note, "train": len(images.train), "val": len(images.val)},
        "device": {
            "type": device.type,
            "name": device_name(device),
            "threads": torch.get_num_threads(),
            "precision": precision,
        },
        "versions": versions(),
        "settings": experiment.settings(),
        "status": status,
        "fast": fast_mode(),
        "accuracy": accuracies[-1] if accuracies else None,
        "curve": curve,
        **result,
    }


def versions() -> dict[str, str]:
    """The software that a measured number depends on."""
    return {
        "convnext_lessons": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
    }


class RunStore:
    """Runs in a JSONL file, to which several processes may append.

    Args:
        path: of the file; the learner's own runs unless given.
    """

    def __init__(self, path: str | Path | None = None):
        self.path = Path(path) if path else data_folder() / "ledger.jsonl"

    def append(self, record: RunRecord) -> None:
        """Add one run, unless the file holds it already, by its ``"run_id"`` and status; it is on the disk when
        this returns.

        Raises:
            RecordError: it is no record, which has plain values.
            StorageError: the file cannot be written.
        """
        try:
            line = json.dumps(dict(record), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise RecordError(
                f"This is no record of a run ({error}); it is a dictionary of plain values, none of them nan."
            ) from error
        with locked(self.path):
            if "run_id" in record and any(_is_same_run(run, record) for _, run in self._lines()):
                return
            try:
                with open(self.path, "a+b", buffering=0) as file:
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

    def runs(self) -> list[RunRecord]:
        """All runs, oldest first. A damaged line, such as one torn by a crash, is left out with a warning.

        Raises:
            RecordError: the file cannot be read, or a run was written by another version of the course.
        """
        found = []
        for number, run in self._lines():
            if not isinstance(run.get("schema"), int):
                warnings.warn(
                    f"Line {number} of {self.path} is damaged, or was cut off while it was written; it is left out.",
                    stacklevel=2,
                )
            elif run.get("schema") != SCHEMA:
                raise RecordError(
                    f"Line {number} of {self.path} has schema {run.get('schema')!r}, and this version reads {SCHEMA}; "
                    "update the course."
                )
            else:
                found.append(run)
        return found

    def _lines(self):
        """(number, run) for each line that is not empty; {} in place of one that holds no run."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RecordError(f"{self.path} cannot be read ({error.strerror}).") from error
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    run = json.loads(line)
                except (ValueError, RecursionError):
                    run = {}
                yield number, run if isinstance(run, dict) else {}


def _is_same_run(run, other):
    return all(run.get(key) == other[key] for key in ("run_id", "status"))


def reference_runs(name: str = "pocket", **wanted: Any) -> list[RunRecord]:
    """The stored runs of ``data/reference/NAME.jsonl`` whose fields have the wanted values, such as ``step="4"``."""
    if "step" in wanted:
        wanted["step"] = step_of(architecture_after(wanted["step"]))  # "3b" is stored as "3"
    return [
        run
        for run in RunStore(reference_folder() / f"{name}.jsonl").runs()
        if all(run[key] == value for key, value in wanted.items())
    ]


def group_name(run: RunRecord) -> str:
    """What to call the group that a run belongs to: its variant in a collection, else its step."""
    return run.get("variant") or f"step {run['step']}"


def validated_points(run: RunRecord) -> list[dict[str, Any]]:
    """The points of a run's curve at which its accuracy was measured."""
    return [point for point in run["curve"] if "accuracy" in point]


def write_measurements(name: str, device: Mapping[str, Any], content: Mapping[str, Any], folder: Path | None = None):
    """Keep measurements in ``data/reference/NAME.json``, with the device and the versions that made them.

    Raises:
        StorageError: the file cannot be written.
    """
    header = {"schema": SCHEMA, "device": dict(device), "versions": versions()}
    write_json((folder or reference_folder()) / f"{name}.json", {**header, **content})


def read_measurements(name: str) -> dict[str, Any]:
    """What is stored in ``data/reference/NAME.json``: ``times``, ``engine``, ``bench`` or ``gpu``.

    Raises:
        RecordError: there is no such file, or it cannot be read.
    """
    try:
        return read_json(reference_folder() / f"{name}.json")
    except (OSError, ValueError) as error:
        raise RecordError(f"There are no stored measurements '{name}' ({error}); see data/README.md.") from error
