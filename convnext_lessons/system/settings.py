"""What environment variables choose, and where the course keeps its files."""

import os
from pathlib import Path

from convnext_lessons.system.errors import CourseError

PACKAGE = Path(__file__).resolve().parent.parent
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None


class SettingError(CourseError):
    """An environment variable that says nothing usable."""


def fast_mode() -> bool:
    """True where ``CONVNEXT_LESSONS_FAST=1`` asks for few batches, thin networks and small stand-in images."""
    return _is_on("CONVNEXT_LESSONS_FAST")


def static_mode() -> bool:
    """True where ``CONVNEXT_LESSONS_STATIC=1`` asks for a still picture in place of every widget, for pages to be
    read."""
    return _is_on("CONVNEXT_LESSONS_STATIC")


def images_asked_for() -> str | None:
    """The data set that ``CONVNEXT_LESSONS_IMAGES`` names: one known by name, or a folder; None where it is not set."""
    return os.environ.get("CONVNEXT_LESSONS_IMAGES") or None


def data_folder() -> Path:
    """Where images, caches and the learner's runs live: ``CONVNEXT_LESSONS_DATA``, or ``data/`` of the checkout, or
    the user's cache folder.

    Raises:
        SettingError: the variable names no folder.
    """
    asked = os.environ.get("CONVNEXT_LESSONS_DATA")
    try:
        if asked:
            return Path(asked).expanduser().resolve()
        if CHECKOUT:
            return CHECKOUT / "data"
        return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "convnext-lessons"
    except (OSError, RuntimeError) as error:  # a user without a home, or links that loop
        raise SettingError(f"CONVNEXT_LESSONS_DATA is {asked!r}, which is no folder ({error}).") from error


def reference_folder() -> Path:
    """The stored runs that come with the course, found beside the package wherever it is installed."""
    return CHECKOUT / "data" / "reference" if CHECKOUT else PACKAGE / "stored_runs"


def _is_on(name):
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off")
