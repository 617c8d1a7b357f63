"""What a run keeps in its folder: ``log.jsonl``, ``last.pt``, and curves for TensorBoard where that is installed."""

import contextlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.storage import atomic, save_tensors, storage_error

CHECKPOINT_VERSION = 3  # goes up with every change of what a checkpoint holds


class CheckpointError(CourseError):
    """A checkpoint that cannot be read or belongs to another run."""


class CheckpointFolder:
    """The folder of one run; does nothing for a run without a folder.

    ``last.pt`` is replaced as a whole. The one before it stays as ``previous.pt`` until the run is finished, and takes
    its place should the disk have damaged it.

    Args:
        folder: of the run, or None.
        signature: plain values that say which run this is; a checkpoint with others is refused.
        writes: whether this process writes; the others only read.
    """

    def __init__(self, folder: str | Path | None, signature: Mapping[str, Any], writes: bool = True):
        self.folder = Path(folder) if folder else None
        self.signature = {"version": CHECKPOINT_VERSION, **signature}
        self.writes = writes and self.folder is not None
        self._board = None

    def begin(self, device: torch.device) -> dict[str, Any] | None:
        """What the last checkpoint holds, or None where there is none; the log is cut back to it.

        Raises:
            CheckpointError: neither it nor the one before can be read, or they are of another run.
        """
        if not self.folder:
            return None
        saved = self._newest(device)
        curve = saved["curve"] if saved else []
        if self.writes:
            # A log may be ahead of its checkpoint; what is trained again is logged again.
            with atomic(self.folder / "log.jsonl") as part:
                part.write_text("".join(json.dumps(point) + "\n" for point in curve), encoding="utf-8")
            self._board = _board(self.folder / "tensorboard", curve[-1]["pictures"] if curve else 0)
        return saved

    def _newest(self, device):
        paths = [self.folder / name for name in ("last.pt", "previous.pt")]
        there = [path for path in paths if path.exists()]
        for path in there:
            saved = _read(path, device)
            if saved is not None:
                self._check(path, saved)
                if path != there[0]:
                    warnings.warn(f"{there[0]} cannot be read; the run goes on from {path.name}.", stacklevel=3)
                return saved
        if there:
            raise CheckpointError(
                f"The checkpoint {there[0]} cannot be read, and there is no good one before it; delete it to start "
                "this run anew."
            )
        return None

    def _check(self, path, saved):
        signature = saved.get("signature") if isinstance(saved, dict) else None
        if not isinstance(signature, dict):
            raise CheckpointError(f"{path} is not a checkpoint of the course; choose another folder, or delete it.")
        if signature != self.signature:
            differ = [key for key in self.signature if signature.get(key) != self.signature[key]]
            raise CheckpointError(
                f"{path} belongs to another run (its {', '.join(differ)} differ); choose another folder, or delete it."
            )

    def write(self, point: Mapping[str, Any]) -> None:
        """Add a point of the curve to the log."""
        if not self.writes:
            return
        try:
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")
        except OSError as error:
            raise storage_error(self.folder, error) from error
        if self._board:
            for name, value in point.items():
                if name != "pictures":
                    self._board.add_scalar(name, value, point["pictures"])
            self._board.flush()

    def save(self, content: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            StorageError: the disk is full or the folder cannot be written; the checkpoint is then the old one.
        """
        if not self.writes:
            return
        last, new = self.folder / "last.pt", self.folder / "new.pt"
        save_tensors({"signature": self.signature, **content}, new)
        try:
            # Whenever this is cut off, one of the names holds a whole checkpoint.
            if last.exists():
                os.replace(last, self.folder / "previous.pt")
            os.replace(new, last)
        except OSError as error:
            raise storage_error(self.folder, error) from error

    def end(self) -> None:
        """The run is finished; nobody will need the checkpoint before the last one."""
        if self.writes:
            (self.folder / "previous.pt").unlink(missing_ok=True)
        if self._board:
            self._board.close()


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The points of a run's curve so far, also of one that goes on elsewhere; a line that is just being written is left
    out.

    Raises:
        CheckpointError: there is no log.
    """
    path = Path(folder) / "log.jsonl"
    if not path.exists():
        raise CheckpointError(f"{path} is not there: no run has begun in that folder.")
    points = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            points.append(json.loads(line))
    return points


def read_checkpoint(folder: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """What a run's last checkpoint holds: ``"signature"``, ``"network"``, ``"average"`` and more.

    Raises:
        CheckpointError: there is none that can be read.
    """
    path = Path(folder) / "last.pt"
    saved = _read(path, device) if path.exists() else None
    if not isinstance(saved, dict) or saved.get("signature", {}).get("version") != CHECKPOINT_VERSION:
        raise CheckpointError(f"{path} is no checkpoint of this version of the course.")
    return saved


def _read(path, device):
    try:
        return torch.load(path, weights_only=True, map_location=device)
    except Exception:  # a damaged file can raise nearly anything
        return None


def _board(folder, pictures):
    """TensorBoard's writer, where that is installed; it hides what an earlier attempt wrote after ``pictures``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=pictures + 1)
