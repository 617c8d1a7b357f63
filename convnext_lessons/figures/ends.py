"""The two ends of the road, its rival, and one step; what lies between is left to the lessons."""

from convnext_lessons.figures.palette import CHANGED, CHANGED_WORDS, NORM, NORM_WORDS, POINTWISE, SOFT, SPATIAL
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.model.cost import count
from convnext_lessons.model.roadmap import (
    PAPER_STEPS,
    START,
    SWIN_T,
    TITLES,
    architecture_after,
    paper_after,
)


def draw_ends(original: float, example: int) -> Plot:
    """The paper's accuracy and our multiply-adds at the first and the last step, with named places between them. One
    step shows what it adds, the others a question mark.

    Args:
        original: accuracy in percent of ResNet-50 with its older training.
        example: the step to show.
    """
    last = PAPER_STEPS[-1]
    ends = {0: START, last: paper_after(last)}
    gain = paper_after(example).accuracy - paper_after(example - 1).accuracy
    spread = paper_after(example).spread
    macs = {step: count(architecture_after(step)).macs / 1e9 for step in (0, example - 1, example, last)}
    figure, (top, bottom) = new_figure(9.6, 5.2, rows=2, share="x", heights=(3, 1.3))

    top.axhline(SWIN_T.accuracy, color=NORM, ls="--", lw=1.2)
    top.text(last / 2, SWIN_T.accuracy + 0.12, f"Swin-T {SWIN_T.accuracy:.1f}", color=NORM_WORDS, ha="center")
    top.plot(0, original, "o", color=SPATIAL, mfc="none")
    accuracies, spreads = zip(*((end.accuracy, end.spread) for end in ends.values()), strict=True)
    top.errorbar(list(ends), accuracies, spreads, fmt="o", color=SPATIAL, capsize=3)
    aside = 0.45  # clear of the numbers over the dots
    for low, high, place, why in (
        (original, START.accuracy, aside, "training"),
        (START.accuracy, ends[last].accuracy, last - aside, "architecture"),
    ):
        side = "left" if place < 1 else "right"
        top.annotate("", (place, high), (place, low), arrowprops={"arrowstyle": "->", "color": CHANGED, "lw": 1.5})
        beside = place + (0.15 if side == "left" else -0.15)
        top.text(beside, low + 0.25, f"{why} {high - low:+.2f}", color=CHANGED_WORDS, ha=side)
    top.plot([0, last - aside], [START.accuracy] * 2, color=SOFT, ls=":", lw=1)
    note = {"textcoords": "offset points", "color": SPATIAL, "weight": "bold", "ha": "center"}
    for place, value in ((0, original), *((step, end.accuracy) for step, end in ends.items())):
        top.annotate(f"{value:.2f}", (place, value), (0, 8), **note)
    top.set(ylabel="ImageNet top-1, %", ylim=(75.6, 82.9))

    for step in range(1, last):
        words = f"{gain:+.2f}\n± {spread:.2f}" if step == example else "?"
        top.text(step, 80.2, words, color=SPATIAL if step == example else SOFT, ha="center", va="center")
        words = f"{macs[example] - macs[example - 1]:+.2f}" if step == example else "?"
        bottom.text(step, 2.0, words, color=SPATIAL if step == example else SOFT, ha="center", va="center")
    bars = bottom.bar(list(ends), [macs[step] for step in ends], color=POINTWISE)
    bottom.bar_label(bars, [f"{macs[step]:.2f}" for step in ends], size=8)
    bottom.set(ylabel="10⁹ multiply-adds", ylim=(0, 5.6), xlim=(-0.6, last + 0.6))
    bottom.set_xticks(range(last + 1), [f"{step} {TITLES[step]}" for step in range(last + 1)])
    bottom.tick_params(axis="x", labelrotation=35)
    for label in bottom.get_xticklabels():
        label.set_horizontalalignment("right")
    top.set_title("Accuracy: the paper's Table 10, three seeds. Multiply-adds: counted here.", size=10)
    return Plot(
        figure,
        f"The ends of the road: ResNet-50 {original:.2f} % with its older training, {START.accuracy:.2f} % with the "
        f"modern one, {macs[0]:.2f} G; step {last} {ends[last].accuracy:.2f} %, {macs[last]:.2f} G; Swin-T "
        f"{SWIN_T.accuracy:.1f} %. Of the steps between {TITLES[example]} is shown: {gain:+.2f} ± {spread:.2f} points.",
    )
