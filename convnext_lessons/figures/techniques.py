"""The ImageNet recipe in pictures: what its techniques do, its schedule, what each part brings, what a run takes."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence

import torch
from torchvision.transforms import v2

from convnext_lessons.data.augmentation import MEAN, STD
from convnext_lessons.figures.palette import CHANGED, CHANGED_WORDS, HEAT, INK, POINTWISE, SPATIAL
from convnext_lessons.figures.plots import WHITE, Plot, new_figure
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.training.budget import Budget

# What RandAugment's operations do, by torchvision's names for them.
_OPERATIONS = {
    "ShearX": "shear sideways",
    "ShearY": "shear up or down",
    "TranslateX": "shift sideways",
    "TranslateY": "shift up or down",
    "Rotate": "rotate",
    "Brightness": "brightness",
    "Color": "saturation",
    "Contrast": "contrast",
    "Sharpness": "sharpness",
    "Posterize": "fewer colours",
    "Solarize": "invert the bright",
    "AutoContrast": "full contrast",
    "Equalize": "even brightness",
}


def draw_mixed(mixed: Mapping[tuple[str, float], torch.Tensor], names: tuple[str, str]) -> Plot:
    """Pictures made of two, each over the shares that its label has of them.

    Args:
        mixed: pictures [3, H, W] with values from 0 to 1, by what mixed them and the first one's share.
        names: of what the two pictures show.
    """
    figure, panels = new_figure(2.2 * len(mixed), 2.8, columns=len(mixed))
    words = []
    for panel, ((kind, share), picture) in zip(panels, mixed.items(), strict=True):
        label = [f"{part:.0%} {name}" for part, name in zip((share, 1 - share), names, strict=True)]
        panel.imshow(picture.permute(1, 2, 0).numpy())
        panel.set(title=kind, xlabel="\n".join(label), xticks=[], yticks=[])
        words.append(f"{kind}, {' and '.join(label)}")
    return Plot(figure, f"Two pictures mixed: {'; '.join(words)}.")


def draw_altered(picture: torch.Tensor, strengths: Mapping[str, int], draws: int = 6) -> Plot:
    """What techniques that work on one picture make of it, drawn anew several times; what was done is under each.

    Args:
        picture: [3, H, W] with values from 0 to 1.
        strengths: from 0 to 30, by technique. Of ``"RandAugment"`` different operations are shown, one at a time, with
            this magnitude. ``"erasing"`` takes at most so many 90ths of the picture's area.
        draws: of each technique.
    """
    figure, panels = new_figure(1.75 * draws * len(strengths), 2.3, columns=draws * len(strengths))
    altered = []
    for technique, strength in strengths.items():
        draw = _erased if technique == "erasing" else _rand_augmented
        altered += [(technique, strength, *found) for found in itertools.islice(draw(picture, strength), draws)]
    for panel, (technique, strength, name, result) in zip(panels, altered, strict=True):
        panel.imshow(result.permute(1, 2, 0).clip(0, 1).numpy())
        panel.set(xticks=[], yticks=[], xlabel=name)
        panel.set_title(f"{technique}, {strength}", size=10)
    words = []
    for technique, strength in strengths.items():
        names = ", ".join(name for other, _, name, _ in altered if other == technique)
        words.append(f"{technique} at strength {strength}: {names}")
    return Plot(figure, f"A picture altered by {'; by '.join(words)}.")


def _erased(picture, strength):
    """Yield what was done and the picture, with noise in a rectangle, drawn on standardized numbers as in training."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    erase = v2.RandomErasing(1.0, scale=(0.02, max(0.03, strength / 90)), value="random")
    standardized = (picture - mean) / std
    for seed in itertools.count():
        torch.manual_seed(seed)
        noisy = erase(standardized)
        share = (noisy != standardized).any(0).float().mean().item()
        yield f"{share:.0%} erased", noisy * std + mean


class _TellingRandAugment(v2.RandAugment):
    """RandAugment that remembers which operation it drew."""

    def _apply_image_or_video_transform(self, image, transform_id, *arguments, **settings):
        self.drawn = transform_id
        return super()._apply_image_or_video_transform(image, transform_id, *arguments, **settings)


def _rand_augmented(picture, strength):
    """Yield operations and what they make of a picture, each once; the one that does nothing is left out."""
    augment = _TellingRandAugment(1, strength, fill=[round(255 * value) for value in MEAN])
    shown = {"Identity"}
    for seed in itertools.count():
        torch.manual_seed(seed)
        result = augment((255 * picture).round().to(torch.uint8)) / 255
        if augment.drawn not in shown:
            shown.add(augment.drawn)
            yield _OPERATIONS.get(augment.drawn, augment.drawn), result


def draw_smoothed(smoothing: float, classes: int = 1000) -> Plot:
    """The loss against a smoothed label, over how far the right class's logit leads all others."""
    wrong = smoothing / classes  # the label's share for each wrong class
    right = 1 - smoothing + wrong
    lead = torch.linspace(0, 16, 200)
    loss = (lead.exp() + classes - 1).log() - right * lead
    figure, (axes,) = new_figure(6.4, 2.5)
    axes.plot(lead.numpy(), loss.numpy(), color=SPATIAL)
    words = "the loss falls without end"
    if smoothing:
        best = math.log(right / wrong)
        axes.axvline(best, ls="--", color=INK, lw=1)
        words = f"lowest loss at a lead of {best:.1f}"
    axes.set(xlabel="lead of the right class's logit", ylabel="loss", ylim=(0, 7.2))
    axes.set_title(f"smoothing {smoothing}: {words}", size=10)
    return Plot(figure, f"The loss over the right logit's lead, with smoothing {smoothing}: {words}.")


def draw_depth(rates: Sequence[float], passed: torch.Tensor) -> Plot:
    """Which blocks each picture passes where stochastic depth skips some.

    Args:
        rates: at which each block is skipped.
        passed: [blocks, pictures], true where a picture passed.
    """
    expected, drawn = len(rates) - sum(rates), passed.sum(0).float().mean()
    title = f"rate {rates[-1]:g}: {expected:.1f} of {len(rates)} blocks, {drawn:.1f} drawn"
    figure, (axes,) = new_figure(7.5, 3)
    blocks, pictures = passed.shape
    corners = (0.5, pictures + 0.5, blocks + 0.5, 0.5)  # both are counted from 1
    axes.imshow(passed.numpy(), cmap=HEAT, aspect="auto", vmin=0, vmax=1.5, extent=corners)
    axes.set(xlabel="picture", ylabel="block (white: skipped)")
    axes.set_title(title, size=10)
    return Plot(figure, f"Blocks that {pictures} pictures pass with stochastic depth, {title}.")


def draw_schedules(recipes: Sequence[Recipe], points: int = 600) -> Plot:
    """The learning rate over the epochs, a panel for each recipe."""
    figure, panels = new_figure(4.5 * len(recipes), 2.8, columns=len(recipes))
    words = []
    for panel, recipe in zip(panels, recipes, strict=True):
        epochs = [recipe.epochs * point / points for point in range(points)]
        panel.plot(epochs, [recipe.learning_rate_at(epoch) for epoch in epochs], color=SPATIAL)
        panel.set(xlabel="epoch", ylabel="learning rate")
        panel.set_title(f"{recipe.name}: {recipe.algorithm}, batch {recipe.batch_size}", size=10)
        rise = f"rises to {recipe.learning_rate:g} in {recipe.warmup_epochs:g} epochs"
        start = rise if recipe.warmup_epochs else f"begins at {recipe.learning_rate:g}"
        fall = {"cosine": "along a cosine", "steps": "in steps"}[recipe.schedule]
        words.append(f"{recipe.name}, {start} and falls {fall} until epoch {recipe.epochs}")
    return Plot(figure, f"The learning rate by recipe: {'; '.join(words)}.")


def draw_ladder(rungs: Mapping[str, float], ylabel: str) -> Plot:
    """What each of some changes adds, one on top of the other.

    Args:
        rungs: what is reached, by the name of the last change; the first is where the ladder stands.
    """
    names, heights = list(rungs), list(rungs.values())
    gains = [height - below for below, height in itertools.pairwise(heights)]
    figure, (axes,) = new_figure(8, 3.4)
    bars = axes.bar(names[1:], gains, bottom=heights[:-1], color=POINTWISE)
    axes.bar_label(bars, [f"{gain:+.2f}" for gain in gains], size=8, color=INK)
    axes.set(ylabel=ylabel, ylim=(min(heights) - 0.1, max(heights) + 0.5))
    axes.set_xticks(range(len(gains)), names[1:], rotation=35, ha="right", rotation_mode="anchor")
    words = ", ".join(f"{name} {gain:+.2f}" for name, gain in zip(names[1:], gains, strict=True))
    return Plot(figure, f"{ylabel}, from {heights[0]:.2f} to {heights[-1]:.2f}: {words}.")


def draw_budget(recipe: Recipe, devices: int, rate: float, price: float, choices: Sequence[int]) -> Plot:
    """Days that a recipe takes over the number of GPUs, with a ring around the reader's choice.

    Args:
        devices, rate, price: see ``Budget``.
        choices: numbers of GPUs to show.
    """
    budget = Budget(recipe, devices, rate, price)
    days = [Budget(recipe, choice, rate).hours / 24 for choice in choices]
    figure, (axes,) = new_figure(7, 2.8)
    axes.plot(choices, days, color=SPATIAL, marker="o")
    axes.plot([devices], [budget.hours / 24], marker="o", ms=14, mfc="none", mec=CHANGED, mew=2)
    axes.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="days")
    axes.set_xticks(choices, choices)
    axes.set_yticks(days, [f"{day:.1f}" for day in days])
    axes.minorticks_off()
    axes.set_title(str(budget), size=10)
    table = ", ".join(f"{day:.1f} on {choice}" for choice, day in zip(choices, days, strict=True))
    return Plot(figure, f"{budget}. Days by the number of GPUs: {table}.")


def draw_parts(milliseconds: Mapping[str, Sequence[float]], rate: float) -> Plot:
    """What each part of a picture's way into the network takes one core, and how many cores keep a GPU busy.

    Args:
        milliseconds: of every part, one for each round; the line is from the shortest to the longest.
        rate: pictures a second of one GPU, whose time for a picture is the vertical line.
    """
    figure, (axes,) = new_figure(7.5, 0.45 * len(milliseconds) + 1)
    middles = {part: statistics.median(rounds) for part, rounds in milliseconds.items()}
    total, gpu = sum(middles.values()), 1000 / rate
    for row, (part, rounds) in enumerate(milliseconds.items()):
        axes.barh(row, middles[part], color=POINTWISE, height=0.7)
        axes.plot([min(rounds), max(rounds)], [row, row], color=INK, lw=1.5)
        axes.text(max(rounds) + gpu / 40, row, f"{middles[part]:.2f}", va="center", size=9, bbox=WHITE, zorder=3)
    axes.axvline(gpu, color=CHANGED, lw=2)
    axes.text(gpu, -0.8, f"one GPU trains a picture in {gpu:.2f} ms ", color=CHANGED_WORDS, size=9, ha="right")
    axes.set_yticks(range(len(milliseconds)), milliseconds, size=10)
    longest = max(gpu, *(max(rounds) for rounds in milliseconds.values()))
    axes.set(xlabel="ms a picture on one core", xlim=(0, 1.15 * longest), ylim=(len(milliseconds) - 0.4, -1.3))
    axes.set_title(f"together {total:.1f} ms: {total / gpu:.1f} cores keep one GPU busy", size=10)
    words = ", ".join(f"{part} {middle:.2f}" for part, middle in middles.items())
    return Plot(
        figure,
        f"Milliseconds that a picture takes one core: {words}; together {total:.1f}. A GPU that trains {rate:g} "
        f"pictures a second needs {gpu:.2f} ms a picture, so {total / gpu:.1f} cores keep it busy.",
    )
