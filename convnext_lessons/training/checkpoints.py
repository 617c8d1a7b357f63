"""What a run keeps in its folder: ``log.jsonl``, ``last.pt``, and curves for TensorBoard where that is installed."""

import contextlib
import hashlib
import json
import os
import platform
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch

from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.storage import (
    atomic,
    locked_or_refused,
    read_json,
    save_tensors,
    storage_errors,
    sweep_parts,
    sync_folder,
    write_json,
)

CHECKPOINT_VERSION = 4  # goes up with every change of what a checkpoint holds
WEIGHTS_FILE = "weights.safetensors"  # what a finished run leaves beside its last checkpoint
NAMES = ("last.pt", "new.pt", "previous.pt")  # in the order in which they are trusted


class CheckpointError(CourseError):
    """A checkpoint that cannot be read or belongs to another run."""


class CheckpointFolder:
    """The folder of one run, held by one process for the length of a ``with`` block; does nothing for a run without a
    folder.

    ``last.pt`` is replaced as a whole. The one before it stays as ``previous.pt`` until the run is finished, and takes
    its place should the disk have damaged it: each knows a checksum of all that it holds.

    Args:
        folder: of the run, or None.
        signature: plain values that say which run this is; a checkpoint with others is refused.
        writes: whether this process writes; the others only read.

    Raises:
        CheckpointError: the folder's name is empty.
        Locked: on entering, another process writes into the folder.
    """

    def __init__(self, folder: str | Path | None, signature: Mapping[str, Any], writes: bool = True):
        if folder == "":
            raise CheckpointError("The run's folder has no name; say where it should be.")
        self.folder = Path(folder) if folder is not None else None
        self.signature = {"version": CHECKPOINT_VERSION, **signature}
        self.writes = writes and self.folder is not None
        self._board = None
        self._stack = contextlib.ExitStack()  # what is to be done at the end

    def __enter__(self) -> Self:
        if self.writes:
            with storage_errors(self.folder), contextlib.ExitStack() as stack:
                stack.enter_context(locked_or_refused(self.folder / "run", self._refusal()))
                for name in ("writer.json", "log.jsonl", "new.pt", WEIGHTS_FILE):
                    sweep_parts(self.folder / name)
                write_json(self.folder / "writer.json", _describe_this_process())
                stack.callback((self.folder / "writer.json").unlink, missing_ok=True)
                self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        if self.writes:
            with storage_errors(self.folder):
                self._stack.close()

    def _refusal(self):
        try:
            writer = "process {pid} on {host}, since {since}".format(**read_json(self.folder / "writer.json"))
        except (OSError, ValueError, LookupError, TypeError):
            writer = "it has not said its name"
        return f"Another process trains in {self.folder} ({writer}); wait for it, stop it, or choose another folder."

    def begin(self, device: torch.device) -> dict[str, Any] | None:
        """What the last checkpoint holds, or None where there is none; the log is cut back to it. A log without a
        checkpoint is somebody else's, and is kept aside.

        Raises:
            CheckpointError: neither it nor the one before can be read, or they are of another run.
        """
        if not self.folder:
            return None
        saved = self._newest(device)
        curve = saved["curve"] if saved else []
        if self.writes:
            with storage_errors(self.folder):
                self._begin_logs(curve, is_new=saved is None)
        return saved

    def _begin_logs(self, curve, is_new):
        log = self.folder / "log.jsonl"
        if is_new and log.exists() and log.stat().st_size:
            log.replace(_free_name(self.folder, "log.old", ".jsonl"))
        # A log may be ahead of its checkpoint; what is trained again is logged again.
        with atomic(log) as part:
            part.write_text("".join(json.dumps(point) + "\n" for point in curve), encoding="utf-8")
        self._board = _board(self.folder / "tensorboard", curve[-1]["pictures"] if curve else 0)
        if self._board:
            self._stack.callback(self._board.close)

    def _newest(self, device):
        there = [path for path in (self.folder / name for name in NAMES) if path.exists()]
        for path in there:
            saved = _read(path, device)
            if saved is not None:
                self._check(path, saved)
                if path != there[0]:
                    warnings.warn(f"{there[0]} is damaged; the run goes on from {path.name}.", stacklevel=3)
                if path.name == "new.pt" and self.writes:  # saving was cut off before its last step
                    with storage_errors(self.folder):
                        os.replace(path, self.folder / "last.pt")
                return saved
        if there:
            raise CheckpointError(
                f"The checkpoint {there[0]} is damaged, or too large for the free memory, and there is no good one "
                "before it; move it away to start this run anew."
            )
        return None

    def _check(self, path, saved):
        signature = saved.get("signature") if isinstance(saved, dict) else None
        if not isinstance(signature, dict):
            raise CheckpointError(f"{path} is not a checkpoint of the course; choose another folder, or move it away.")
        if signature != self.signature:
            other = [key for key in self.signature if signature.get(key) != self.signature[key]]
            raise CheckpointError(
                f"{path} belongs to another run (other {', '.join(other)}); choose another folder, or move it away."
            )

    def write(self, point: Mapping[str, Any]) -> None:
        """Add a point of the curve to the log.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        if not self.writes:
            return
        with storage_errors(self.folder):
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")
            if self._board:
                for name, value in point.items():
                    if name != "pictures" and value is not None:
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
        save_tensors(with_checksum({"signature": self.signature, **content}), new)
        with storage_errors(self.folder):
            # Whenever this is cut off, one of the names holds a whole checkpoint.
            if last.exists():
                os.replace(last, self.folder / "previous.pt")
            os.replace(new, last)
            sync_folder(self.folder)

    def end(self) -> None:
        """The run is finished; nobody will need the checkpoint before the last one."""
        if self.writes:
            with storage_errors(self.folder):
                (self.folder / "previous.pt").unlink(missing_ok=True)


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The points of a run's curve so far, also of one that goes on elsewhere; a line that is damaged or just
    being written is left out.

    Raises:
        CheckpointError: there is no log.
    """
    path = Path(folder) / "log.jsonl"
    if not path.exists():
        raise CheckpointError(f"{path} is not there: no run has begun in that folder.")
    points = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            point = json.loads(line)
            if isinstance(point, dict) and {"pictures", "seconds"} <= point.keys():
                points.append(point)
    return points


def read_checkpoint(folder: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """What a run's last good checkpoint holds: ``"signature"``, ``"network"``, ``"average"`` and more.

    Raises:
        CheckpointError: there is none that can be read.
    """
    for path in (Path(folder) / name for name in NAMES):
        saved = _read(path, device) if path.exists() else None
        if isinstance(saved, dict) and saved.get("signature", {}).get("version") == CHECKPOINT_VERSION:
            return saved
    raise CheckpointError(f"{Path(folder) / NAMES[0]} is no whole checkpoint of this version of the course.")


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's content with a checksum over all its tensors and values."""
    return {**content, "checksum": checksum(content)}


def _read(path, device):
    """What a checkpoint holds; None where it is damaged.

    Raises:
        CheckpointError: it is not damaged and cannot be read all the same.
    """
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); see to its rights, and keep it.") from error
    try:
        saved = torch.load(path, weights_only=True, map_location=device)
    except Exception:  # a damaged file can raise nearly anything
        return None
    if not isinstance(saved, dict) or "checksum" not in saved:
        return saved  # of another version, or none of ours: its signature will say so
    expected = saved.pop("checksum")
    return saved if checksum(saved) == expected else None


def checksum(content: Any) -> str:
    """Over all tensors and plain values in nested dictionaries, lists and tuples."""
    digest = hashlib.blake2b(digest_size=16)

    def add(value):
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        elif isinstance(value, Mapping):
            digest.update(f"{{{len(value)} ".encode())
            for key, inner in value.items():
                add(key)
                add(inner)
        elif isinstance(value, list | tuple):
            digest.update(f"[{len(value)} ".encode())
            for inner in value:
                add(inner)
        else:
            digest.update(f"{value!r} ".encode())

    add(content)
    return digest.hexdigest()


def _describe_this_process():
    return {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _free_name(folder, stem, suffix):
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}.{number}{suffix}"
    return path


def _board(folder, pictures):
    """TensorBoard's writer, where that is installed; it hides what an earlier attempt wrote after ``pictures``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=pictures + 1)
