"""The website's first page: what the course is, its road under a slider, three ways to use it, its lessons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from convnext_lessons.classroom.widgets import Explorer
from convnext_lessons.figures.diagrams import draw_network
from convnext_lessons.model.architecture import RESNET50
from convnext_lessons.model.cost import count
from convnext_lessons.model.roadmap import PAPER_STEPS, TITLES, architecture_after, paper_after
from convnext_lessons.publish.pages import minutes_of, title_of

_WORDS = """\
# ConvNeXt Lessons

**A ResNet-50 becomes a ConvNeXt-T in eleven steps, one idea each. Read them here, or run them on your own machine.**

{road}

## Three ways to use it

<div class="ways">
<div><h3>Read</h3><p>Every lesson stands here as it was executed, with its pictures, numbers and results. Sliders
move, predictions are graded; nothing is installed, and nothing leaves your browser.</p></div>
<div><h3>Run</h3><p><code>make lab</code> in a copy of the course opens lessons of your own in JupyterLab. A training
run takes minutes on two cores, without a GPU.{colab}</p></div>
<div><h3>Present</h3><p>Every lesson ends with questions for a group.{kit}</p></div>
</div>

## The lessons

Begin with lesson 00. Accuracies are the paper's (Liu et al., CVPR 2022, Table 10, three seeds, ImageNet); multiply-adds
are counted by the course, at 224 px.

{lessons}

This is an independent course on *A ConvNet for the 2020s* ([arXiv 2201.03545](https://arxiv.org/abs/2201.03545)); it
has no connection with the paper's authors. [Where each number comes from](data/README.md).

"""

_TREE = """\
```{{toctree}}
:hidden:
:caption: {caption}
{entries}
```

"""


def draw_road_explorer() -> Explorer:
    """The whole network under a slider over the road, ResNet-50 above it."""
    stops = [_Stop(step, f"{step} {TITLES[step]}") for step in (0, *PAPER_STEPS)]
    return Explorer(
        {"after step": stops},
        lambda stop: draw_network(RESNET50, architecture_after(stop.step), names=("where it begins", "now")),
        task="A block is as high as it has channels. Move the slider, and watch hourglasses become barrels.",
        start={"after step": stops[-1]},
    )


@dataclass(frozen=True)
class _Stop:
    """A step whose text is its title, as a slider shows it."""

    step: int
    title: str

    def __str__(self):
        return self.title


def home_page(
    road: str, lessons: Mapping[str, NotebookNode], groups: Mapping[str, Sequence[str]], kit: bool, colab: bool
) -> str:
    """The page as MyST Markdown.

    Args:
        road: HTML of the road's explorer.
        lessons: by the name of their files.
        groups: further pages under their captions.
        kit: whether there is a page about reading groups.
        colab: whether the lessons open on Colab.
    """
    words = _WORDS.format(
        road=road,
        colab=" On Colab each opens with a click." if colab else "",
        kit=' <a href="docs/reading_group.html">The kit for a reading group</a> has the rest.' if kit else "",
        lessons=_table(lessons),
    )
    trees = {"Lessons": [f"notebooks/{name}" for name in lessons], **groups}
    return words + "".join(
        _TREE.format(caption=caption, entries="\n".join(entries)) for caption, entries in trees.items() if entries
    )


def _table(lessons):
    rows = ["| lesson | minutes | paper: top-1 | multiply-adds |", "| --- | --- | --- | --- |"]
    for number, (name, notebook) in enumerate(lessons.items()):
        accuracy = macs = ""
        if number in (0, *PAPER_STEPS):
            paper = paper_after(number)
            accuracy = f"{paper.accuracy:.2f} ± {paper.spread:.2f} %"
            macs = f"{count(architecture_after(number)).macs / 1e9:.2f} G"
        link = f"[{title_of(notebook)}](notebooks/{name}.ipynb)"
        rows.append(f"| {link} | {minutes_of(notebook)} | {accuracy} | {macs} |")
    return "\n".join(rows)
