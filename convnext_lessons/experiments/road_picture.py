"""The README's picture of the road."""

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from convnext_lessons.classroom.freshness import hash_sources
from convnext_lessons.figures.road import draw_summary
from convnext_lessons.system.settings import reference_folder
from convnext_lessons.system.storage import atomic

STORED = ("pocket.jsonl", "times.json")  # what it shows


def road_picture() -> Path:
    """Where the README's picture of the road is."""
    return reference_folder().parent / "road.png"


def draw_road_picture() -> Path:
    """Draw the road, summed up, for the README, with a hash inside of what it was drawn from."""
    info = PngInfo()
    info.add_text("source_hash", hash_sources([draw_summary.__name__], STORED))
    with Image.open(io.BytesIO(draw_summary().png())) as drawn, atomic(road_picture()) as part:
        drawn.save(part, "png", optimize=True, pnginfo=info)
    return road_picture()


def road_picture_is_fresh() -> bool:
    """Whether the README's picture was drawn from what is stored now."""
    with Image.open(road_picture()) as drawn:
        return drawn.text.get("source_hash") == hash_sources([draw_summary.__name__], STORED)
