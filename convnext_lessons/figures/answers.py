"""What a trained network says to pictures."""

from collections.abc import Sequence
from pathlib import Path

from convnext_lessons.data.folders import printable, read_image
from convnext_lessons.figures.palette import INK, SPATIAL
from convnext_lessons.figures.plots import Plot, new_figure

LONGEST_NAME = 30  # letters of a class beside its bar


def draw_answers(pictures: Sequence[str | Path], answers: Sequence[Sequence[tuple[str, float]]]) -> Plot:
    """Each picture beside a bar for each of its classes, as ``TrainedNetwork.predict`` gives them.

    Raises:
        ImagesError: one is no readable picture.
    """
    figure, panels = new_figure(7, 2.1 * len(pictures), rows=len(pictures), columns=2)
    said = []
    for picture, classes, shown, bars in zip(pictures, answers, panels[::2], panels[1::2], strict=True):
        names = [name.replace("$", r"\$")[:LONGEST_NAME] for name, _ in classes]
        shares = [share for _, share in classes]
        shown.imshow(read_image(picture))
        shown.set(xticks=[], yticks=[])
        shown.set_title(printable(Path(picture).name).replace("$", r"\$")[:40], size=9)
        bars.barh(range(len(names)), shares, color=SPATIAL, height=0.7)
        for place, share in enumerate(shares):
            bars.text(share + 0.01, place, f"{share:.1%}", va="center", size=9, color=INK)
        bars.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1.15), xticks=[])
        bars.invert_yaxis()
        said.append(f"{Path(picture).name}: {classes[0][0]}, {shares[0]:.0%}")
    return Plot(figure, f"Pictures and what the network says: {'; '.join(said)}.")
