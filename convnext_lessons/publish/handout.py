"""The handout: one A4 page with six questions to predict, a road to draw, and where the lessons are."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from convnext_lessons.classroom.colab import repository_address
from convnext_lessons.model.cost import count
from convnext_lessons.model.roadmap import LAST_STEP, PAPER_STEPS, START, TITLES, architecture_after, paper_after
from convnext_lessons.publish.slide_numbers import ORIGINAL_ACCURACY, draw_big_road
from convnext_lessons.runs.significance import compare_steps
from convnext_lessons.system.settings import CHECKOUT
from convnext_lessons.system.storage import atomic

TEMPLATES = Path(__file__).parent / "templates"


def write_handout(page: Path) -> Path:
    """Write the handout as HTML that prints on one sheet of A4.

    Raises:
        StorageError: it cannot be written.
    """
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    content = environment.get_template("handout.html.j2").render(
        questions=questions(), road=draw_big_road(covered=True).svg(), lessons=_where_the_lessons_are()
    )
    with atomic(page) as part:
        part.write_text(content, encoding="utf-8")
    return page


def questions() -> list[tuple[str, tuple[str, str, str]]]:
    """Six questions, each with three answers; what the deck answers in this order."""
    end = paper_after(LAST_STEP).accuracy
    training = START.accuracy - ORIGINAL_ACCURACY
    seeds = len(next(iter(compare_steps().groups.values())))
    before, after = (count(architecture_after(step)).macs for step in (3, 4))
    return [
        (
            f"From the ResNet-50 of 2015 ({ORIGINAL_ACCURACY} % on ImageNet) to ConvNeXt-T ({end} %): how many of the "
            f"{end - ORIGINAL_ACCURACY:.2f} points come from training alone?",
            tuple(f"{training + more:.1f}" for more in (-1, 0, 1)),
        ),
        ("Which of these steps gains most?", _steps(1, 3, 6)),
        (
            f"Step 4 turns the block inside out and takes {100 * (1 - after / before):.0f} % off the multiply-adds. "
            "The memory that training needs …",
            ("falls as well", "stays within 10 %", "rises by half"),
        ),
        ("One step loses accuracy and is kept. Which?", _steps(2, 5, 9)),
        ("A kernel of 11×11 instead of 7×7 …", ("gains half a point", "is within the noise", "loses half a point")),
        (
            f"Our own short runs, {seeds} seeds a step: how many of the {len(PAPER_STEPS)} steps stand "
            "out from the noise?",
            ("at most 3", "4 to 7", "8 or more"),
        ),
    ]


def _steps(*numbers):
    return tuple(f"{number} {TITLES[number]}" for number in numbers)


def _where_the_lessons_are():
    address = repository_address() if CHECKOUT else None
    return f"The lessons: {address}" if address else "The lessons: ConvNeXt Lessons, notebooks 00 to 12 (make lab)"
