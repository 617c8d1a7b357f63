"""What machine, disk and torchrun give.

Errors, environment variables, devices, atomic files and the processes of a run: the ground floor, which knows nothing
of networks. ``system.distributed`` has a door of its own, since it needs torch, and ``doctor`` speaks where torch is
missing.
"""

from convnext_lessons.system.devices import DeviceError, choose_device, device_name, synchronize
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import data_folder, fast_mode, reference_folder, static_mode
from convnext_lessons.system.storage import StorageError, atomic, atomic_folder, read_json, save_tensors, write_json

__all__ = [
    "CourseError",
    "DeviceError",
    "StorageError",
    "atomic",
    "atomic_folder",
    "choose_device",
    "data_folder",
    "device_name",
    "fast_mode",
    "read_json",
    "reference_folder",
    "save_tensors",
    "static_mode",
    "synchronize",
    "write_json",
]
