"""The device to train on.

torch is imported where it is needed, so that ``doctor`` can also speak where it is missing.
"""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_lessons.system.errors import CourseError

if TYPE_CHECKING:
    import torch


class DeviceError(CourseError):
    """A device was asked for that this machine does not have."""


def choose_device(asked: str | torch.device | None = None) -> torch.device:
    """The device to run on: the one asked for, or a CUDA GPU where there is one, or the CPU.

    Raises:
        DeviceError: the device that was asked for is unknown or absent.
    """
    import torch

    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except (RuntimeError, TypeError, ValueError):
        raise DeviceError(f"{str(asked)!r} is no device that PyTorch knows; say 'cpu' or 'cuda'.") from None
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"'{asked}' is a device that the course does not train on; say 'cpu' or 'cuda'.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"'{asked}' was asked for, but PyTorch sees {torch.cuda.device_count()} GPUs here; say 'cpu', or switch a "
            "GPU on (on Colab: Runtime, Change runtime type, T4 GPU)."
        )
    return device


def device_name(device: torch.device) -> str:
    """The name to record for a device: the GPU's own, or the processor's."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def synchronize(device: torch.device) -> None:
    """Wait until everything queued on a device is done, so that a clock read next to it means something."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
