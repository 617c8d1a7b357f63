"""The README's pictures."""

import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from convnext_lessons.classroom.freshness import hash_sources
from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.diagrams import draw_network
from convnext_lessons.figures.plots import Plot
from convnext_lessons.figures.road import draw_summary
from convnext_lessons.model.roadmap import PAPER_STEPS, architecture_after
from convnext_lessons.system.settings import reference_folder
from convnext_lessons.system.storage import atomic


def draw_both_networks() -> Diagram:
    """The two ends of the road as strips of blocks."""
    return draw_network(architecture_after(0), architecture_after(PAPER_STEPS[-1]), names=("ResNet-50", "ConvNeXt-T"))


# What each picture is drawn by, and the stored files that it shows.
PICTURES: dict[str, tuple[Callable[[], Diagram | Plot], tuple[str, ...]]] = {
    "networks.png": (draw_both_networks, ()),
    "road.png": (draw_summary, ("pocket.jsonl", "bench.json")),
}


def readme_picture(name: str) -> Path:
    """Where a picture of the README is."""
    return reference_folder().parent / name


def draw_readme_pictures() -> list[Path]:
    """Draw all of them, each with a hash inside of what it was drawn from."""
    for name, (draw, _) in PICTURES.items():
        info = PngInfo()
        info.add_text("source_hash", _hash_of(name))
        with Image.open(io.BytesIO(draw().png())) as drawn, atomic(readme_picture(name)) as part:
            drawn.save(part, "png", optimize=True, pnginfo=info)
    return [readme_picture(name) for name in PICTURES]


def is_fresh(name: str) -> bool:
    """Whether a picture was drawn from what is stored now."""
    with Image.open(readme_picture(name)) as drawn:
        return drawn.text.get("source_hash") == _hash_of(name)


def _hash_of(name):
    draw, stored = PICTURES[name]
    return hash_sources([draw.__name__], stored)
