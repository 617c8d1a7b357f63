"""Files that are written as a whole or not at all, JSON in them, and locks between processes."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import data_folder


class StorageError(CourseError):
    """A folder cannot be written or a disk is full."""


class Locked(CourseError):
    """Another process works in the same place."""


def ensure_folder(folder: str | Path) -> Path:
    """The folder, created where it was missing.

    Raises:
        StorageError: it cannot be created or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    if not os.access(folder, os.W_OK):
        raise storage_error(folder, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    return folder


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and move it there only when the block ends well.

    A reader sees the old content or the new, never a part; a failure leaves nothing behind.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    ensure_folder(path.parent)
    part = _part(path)
    with storage_errors(path.parent):
        try:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield part
            with open(part, "rb") as written:
                os.fsync(written.fileno())
            os.replace(part, path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """The same for a folder: give an empty temporary one beside ``path`` and rename it when the block ends well."""
    path = Path(path)
    ensure_folder(path.parent)
    part = _part(path)
    with storage_errors(path.parent):
        try:
            os.mkdir(part)
            yield part
            os.replace(part, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, so that a power cut does not undo a rename."""
    with contextlib.suppress(OSError):  # some file systems cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep_parts(path: str | Path) -> None:
    """Remove what killed writers of ``path`` left beside it. Only for who holds the lock that all its writers take."""
    path = Path(path)
    for part in path.parent.glob(f".{path.name}.*.part"):
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: str | Path, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let one process at a time into the block, among all that lock the same path; the lock ends with its process.

    Args:
        on_wait: called where another process is inside, before waiting for it.

    Raises:
        StorageError: the folder cannot be written.
    """
    lock = _lock_of(path)
    with storage_errors(Path(path).parent):
        if not _acquire(lock, 0):
            on_wait()
            _acquire(lock, -1)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def locked_or_refused(path: str | Path, refusal: str) -> Iterator[None]:
    """The same without waiting.

    Raises:
        Locked: another process is inside; ``refusal`` is the sentence.
        StorageError: the folder cannot be written.
    """
    lock = _lock_of(path)
    with storage_errors(Path(path).parent):
        free = _acquire(lock, 0)
    if not free:
        raise Locked(refusal)
    try:
        yield
    finally:
        lock.release()


def _lock_of(path):
    from filelock import FileLock  # here, so that ``doctor`` can also speak where it is missing

    path = Path(path)
    ensure_folder(path.parent)
    return FileLock(path.with_name(f".{path.name}.lock"))


def _acquire(lock, seconds):
    from filelock import Timeout

    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    except NotImplementedError:
        warnings.warn(f"The disk of {lock.lock_file} has no locks: keep other processes away.", stacklevel=4)
    return True


def _part(path):
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextlib.contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """In this block, what the operating system says about a folder becomes a ``StorageError``; what it says about other
    files, which the block may read, goes on as it is."""
    try:
        yield
    except OSError as error:
        elsewhere = error.filename and not Path(os.fsdecode(error.filename)).is_relative_to(folder)
        if elsewhere and error.errno != errno.ENOSPC:
            raise
        raise storage_error(folder, error) from error


def save_tensors(content: Mapping[str, Any], path: str | Path) -> None:
    """``torch.save``, atomically.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    import torch

    with atomic(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch's own writer does not say what the operating system said
            raise StorageError(
                f"{path} cannot be written; is the disk full? Free some space, or choose a folder on another disk."
            ) from error


def write_json(path: str | Path, content: Any) -> None:
    """Write plain values as JSON, atomically.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with atomic(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The plain values in a file of JSON.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no JSON.
    """
    return json.loads(Path(path).read_text(encoding="utf-8"))


def storage_error(folder: str | Path, error: OSError) -> StorageError:
    """A ``StorageError`` for what the operating system said about a folder."""
    elsewhere = "choose another folder"
    if Path(folder).is_relative_to(data_folder()):
        elsewhere = "set CONVNEXT_LESSONS_DATA to another folder"
    if error.errno == errno.ENOSPC:
        return StorageError(f"The disk under {folder} is full; free some space there, or {elsewhere} on another disk.")
    return StorageError(f"{folder} cannot be written ({error.strerror or error}); {elsewhere}.")
