"""What this machine has, and what to do about what is missing."""

import importlib.util
import os
import platform
import shutil
import socket
import sys
import tempfile

from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import data_folder

GIGA = 1e9


def doctor(options):
    """Say in plain words what this machine has, and what to do about what is missing."""
    well = True
    for fine, words in _findings():
        well = well and fine
        print(("  ok  " if fine else "  !!  ") + words)
    print("Everything is there." if well else "Lines with !! say what to do.")
    return 0 if well else 1


def _findings():
    """Yield (is it fine, what was found and what to do) for each thing that the course needs."""
    version = platform.python_version()
    fine = sys.version_info >= (3, 11)
    yield (
        fine,
        f"Python {version}"
        + ("" if fine else ": the course needs 3.11 or later; install it and run `make install` again"),
    )
    missing = [
        name
        for name in ("torch", "torchvision", "fvcore", "matplotlib", "scipy", "ipywidgets", "jupyterlab")
        if not _has(name)
    ]
    if missing:
        yield (
            False,
            f"missing packages: {', '.join(missing)}; run `make install`, or `pip install -e .` in the course's folder",
        )
    if _has("torch"):
        yield from _torch_findings()
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIGA
        fine = memory > 4
        yield (
            fine,
            f"{memory:.0f} GB of memory" + ("" if fine else ": a lesson alone takes about 2; close other programs"),
        )
    folder = data_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / GIGA
    fine = free > 2
    yield (
        fine,
        f"{free:.0f} GB free for {folder}"
        + ("" if fine else ": 2 are needed; free some, or set CONVNEXT_LESSONS_DATA"),
    )
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        yield False, f"{existing} cannot be written ({error.strerror}); set CONVNEXT_LESSONS_DATA to a folder that can"
    if _has("torch"):
        yield from _image_findings()
    with socket.socket() as port:
        free_port = port.connect_ex(("127.0.0.1", 8888)) != 0
    yield (
        True,
        "port 8888 is free for JupyterLab" if free_port else "port 8888 is taken; JupyterLab will take the next one",
    )


def _torch_findings():
    import torch
    import torchvision

    yield True, f"torch {torch.__version__}, torchvision {torchvision.__version__}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / GIGA
        yield True, f"GPU: {torch.cuda.get_device_name(0)}, {memory:.0f} GB"
    else:
        yield True, "no GPU: lessons run at pocket scale on the CPU, a training run in a minute or two"


def _image_findings():
    from convnext_lessons.data.datasets import IMAGENETTE, dataset_folder, downloads_folder

    if not (downloads_folder() / IMAGENETTE.folder).exists():
        yield (
            True,
            f"{IMAGENETTE.title} is not here yet: the first lesson downloads it (about 100 MB), or takes a stand-in",
        )
        return
    try:
        dataset_folder(IMAGENETTE)
        train, val = (f"{IMAGENETTE.counts[split]:,}" for split in ("train", "val"))
        yield True, f"{IMAGENETTE.title}: {train} training and {val} validation pictures"
    except CourseError as error:
        yield False, str(error)


def _has(name):
    return importlib.util.find_spec(name) is not None
