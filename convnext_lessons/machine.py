"""The machine underneath: device, fast mode, folders, atomic writes and the base of our errors.

torch is imported where it is needed, so that ``doctor`` can also speak where it is missing.
"""

import contextlib
import errno
import os
import platform
import shutil
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None


class CourseError(Exception):
    """Base of every error that the course raises on purpose: one sentence with what is wrong and what to do."""


class DeviceError(CourseError):
    """A device was asked for that this machine does not have."""


class StorageError(CourseError):
    """A folder cannot be written or a disk is full."""


def fast_mode():
    """True where ``CONVNEXT_LESSONS_FAST=1`` asks for few batches, thin networks and small stand-in images."""
    return os.environ.get("CONVNEXT_LESSONS_FAST", "0") not in ("", "0")


def static_mode():
    """True where ``CONVNEXT_LESSONS_STATIC=1`` asks for a picture in the place of every widget, for pages to be
    read."""
    return os.environ.get("CONVNEXT_LESSONS_STATIC", "0") not in ("", "0")


def device(asked=None):
    """The ``torch.device`` to run on: the one asked for, or a CUDA GPU where there is one, or the CPU.

    Raises:
        DeviceError: the device that was asked for is unknown or absent.
    """
    import torch

    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(asked)
    except RuntimeError:
        raise DeviceError(f"'{asked}' is no device that PyTorch knows; say 'cpu' or 'cuda'.") from None
    if found.type not in ("cpu", "cuda"):
        raise DeviceError(f"'{asked}' is a device that the course does not train on; say 'cpu' or 'cuda'.")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"'{asked}' was asked for, but PyTorch sees {torch.cuda.device_count()} GPUs here; say 'cpu', or switch a "
            "GPU on "
            "(on Colab: Runtime, Change runtime type, T4 GPU)."
        )
    return found


def device_name(where):
    """The name to record for a device: the GPU's own, or the processor's."""
    if where.type == "cuda":
        import torch

        return torch.cuda.get_device_name(where)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def wait_for(where):
    """Wait until everything queued on a device is done, so that a clock read next to it means something."""
    if where.type == "cuda":
        import torch

        torch.cuda.synchronize(where)


def data_folder():
    """Where images, caches and the ledger live: ``CONVNEXT_LESSONS_DATA``, or ``data/`` of the checkout, or the
    user's cache folder."""
    asked = os.environ.get("CONVNEXT_LESSONS_DATA")
    if asked:
        return Path(asked).expanduser().resolve()
    if CHECKOUT:
        return CHECKOUT / "data"
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "convnext-lessons"


def reference_folder():
    """The stored runs that come with the course, found beside the package wherever it is installed."""
    return CHECKOUT / "data" / "reference" if CHECKOUT else PACKAGE / "stored_runs"


def made(folder):
    """A folder, made where it was missing.

    Raises:
        StorageError: it cannot be made or written.
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
def atomic(path):
    """Give a temporary path beside ``path`` to write to, and move it there only when the block ends well.

    A reader sees the old content or the new, never a part; a failure leaves nothing behind.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    made(path.parent)
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
def atomic_folder(path):
    """The same for a folder: give an empty temporary one beside ``path`` and rename it when the block ends well."""
    path = Path(path)
    made(path.parent)
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


def save_tensors(content, path):
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


def storage_error(folder, error):
    """A ``StorageError`` for what the operating system said about a folder."""
    if error.errno == errno.ENOSPC:
        return StorageError(
            f"The disk under {folder} is full; free some space there, or set CONVNEXT_LESSONS_DATA to a folder on "
            "another disk."
        )
    return StorageError(
        f"{folder} cannot be written ({error.strerror or error}); set CONVNEXT_LESSONS_DATA to a folder that can."
    )
