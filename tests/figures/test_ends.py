import pytest

from convnext_lessons.figures import draw_ends
from convnext_lessons.model import PAPER_STEPS, START, TITLES, architecture_after, count, paper_after


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_the_ends_are_drawn_and_nothing_between_them(is_drawn):
    plot = draw_ends(76.13, example=7)
    assert is_drawn(plot)
    top, bottom = plot.figure.axes
    assert {f"{value:.2f}" for value in (76.13, START.accuracy, paper_after(11).accuracy)} <= set(words(top))
    heights = [bar.get_height() for bar in bottom.patches]
    assert heights == pytest.approx([count(architecture_after(step)).macs / 1e9 for step in (0, 11)])
    told = " ".join(words(top) + words(bottom) + [plot.alt])
    hidden = [paper_after(step).accuracy for step in PAPER_STEPS[:-1]]
    assert not [value for value in hidden if f"{value:.2f}" in told]
    assert [label.get_text() for label in bottom.get_xticklabels()] == [
        f"{n} {title}" for n, title in enumerate(TITLES)
    ]


@pytest.mark.parametrize("example", [3, 7])
def test_one_step_tells_what_it_adds_and_the_others_ask(example):
    plot = draw_ends(76.13, example)
    before, after = paper_after(example - 1), paper_after(example)
    macs = [count(architecture_after(step)).macs / 1e9 for step in (example - 1, example)]
    top, bottom = plot.figure.axes
    assert words(top).count("?") == words(bottom).count("?") == 9
    assert f"{after.accuracy - before.accuracy:+.2f}\n± {after.spread:.2f}" in words(top)
    assert f"{macs[1] - macs[0]:+.2f}" in words(bottom)
    assert f"{TITLES[example]} is shown" in plot.alt


def test_what_training_and_architecture_brought_stands_beside_the_arrows():
    top, _ = draw_ends(76.0, example=7).figure.axes
    assert {"training +2.82", "architecture +3.15"} <= set(words(top))
