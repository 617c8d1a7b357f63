"""Files that are written as a whole or not at all, and JSON in them."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from convnext_lessons.system.errors import CourseError


class StorageError(CourseError):
    """A folder cannot be written or a disk is full."""


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
        raise StorageError(f"The folder {folder} cannot be written to; set CONVNEXT_LESSONS_DATA to one that can.")
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
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise storage_error(path.parent, error) from error
    part = Path(name)
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    except OSError as error:
        raise storage_error(path.parent, error) from error
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """The same for a folder: give an empty temporary one beside ``path`` and rename it when the block ends well."""
    path = Path(path)
    ensure_folder(path.parent)
    try:
        part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    except OSError as error:
        raise storage_error(path.parent, error) from error
    try:
        yield part
        os.chmod(part, 0o755)
        os.replace(part, path)
    except OSError as error:
        raise storage_error(path.parent, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
    if error.errno == errno.ENOSPC:
        return StorageError(
            f"The disk under {folder} is full; free some space there, or set CONVNEXT_LESSONS_DATA to a folder on "
            "another disk."
        )
    return StorageError(
        f"{folder} cannot be written ({error.strerror or error}); set CONVNEXT_LESSONS_DATA to a folder that can."
    )
