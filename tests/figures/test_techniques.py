import math
import re

import matplotlib.colors
import pytest
import torch
from torchvision.transforms import v2

from convnext_lessons.figures import (
    draw_altered,
    draw_budget,
    draw_depth,
    draw_ladder,
    draw_mixed,
    draw_parts,
    draw_schedules,
    draw_smoothed,
)
from convnext_lessons.figures.palette import CHANGED
from convnext_lessons.runs import ORIGINAL, PAPER, POCKET
from convnext_lessons.training import Budget, BudgetError


@pytest.fixture
def picture():
    return torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))


def shown(panel):
    """The picture of a panel as a tensor [3, H, W]."""
    return torch.as_tensor(panel.images[0].get_array().data).permute(2, 0, 1)


def test_mixed_pictures_stand_over_the_shares_of_their_labels(picture, is_drawn):
    mixed = {("mixup", 0.7): picture, ("CutMix", 1.0): 1 - picture}
    plot = draw_mixed(mixed, ("a cat", "a dog"))
    assert is_drawn(plot)
    assert "mixup, 70% a cat and 30% a dog; CutMix, 100% a cat and 0% a dog" in plot.alt
    for panel, ((kind, _), expected) in zip(plot.figure.axes, mixed.items(), strict=True):
        assert panel.get_title() == kind
        assert torch.allclose(shown(panel), expected)
    assert plot.figure.axes[0].get_xlabel() == "70% a cat\n30% a dog"


def test_one_mixed_picture_is_enough_for_a_slider(picture, is_drawn):
    assert is_drawn(draw_mixed({("mixup", 0.5): picture}, ("a cat", "a dog")))


@pytest.mark.parametrize("technique", ["RandAugment", "erasing"])
def test_alterations_are_drawn_anew_and_the_same_every_time(technique, picture, is_drawn):
    plot = draw_altered(picture, {technique: 27}, draws=4)
    assert is_drawn(plot)
    assert plot.alt.startswith(f"A picture altered by {technique} at strength 27: ")
    panels = [shown(panel) for panel in plot.figure.axes]
    assert len(panels) == 4 and not torch.equal(panels[0], panels[1])
    again = draw_altered(picture, {technique: 27}, draws=4)
    assert all(torch.equal(panel, shown(axes)) for panel, axes in zip(panels, again.figure.axes, strict=True))


def test_two_techniques_stand_side_by_side(picture, is_drawn):
    plot = draw_altered(picture, {"RandAugment": 27, "erasing": 30}, draws=2)
    assert is_drawn(plot)
    titles = [panel.get_title() for panel in plot.figure.axes]
    assert titles == ["RandAugment, 27"] * 2 + ["erasing, 30"] * 2
    assert all(panel.get_xlabel() in plot.alt for panel in plot.figure.axes)


@pytest.mark.parametrize("strength", [0, 9, 30])
def test_each_operation_of_randaugment_is_named_and_shown_once(strength, picture):
    panels = draw_altered(picture, {"RandAugment": strength}, draws=13).figure.axes
    names = [panel.get_xlabel() for panel in panels]
    operations = set(v2.RandAugment._AUGMENTATION_SPACE) - {"Identity"}
    assert len(set(names)) == len(operations) == 13
    assert not operations & set(names), "torchvision's name, in place of words for it"
    if strength:
        still = {"full contrast", "even brightness", "fewer colours"}  # may leave noise of all colours as it was
        changed = {name for name, panel in zip(names, panels, strict=True) if not torch.equal(shown(panel), picture)}
        assert changed >= set(names) - still


@pytest.mark.parametrize("name", ["fewer colours", "invert the bright"])
def test_the_named_operation_is_the_one_that_was_done(name, picture):
    for panel in draw_altered(picture, {"RandAugment": 27}, draws=13).figure.axes:
        if panel.get_xlabel() == name:
            result = (255 * shown(panel)).round().to(torch.uint8)
    pixels = (255 * picture).round().to(torch.uint8)
    bright = pixels >= 26  # solarized at 27 of 30: from a tenth of 255 on
    expected = {"fewer colours": pixels & 0xF0, "invert the bright": torch.where(bright, 255 - pixels, pixels)}
    assert torch.equal(result, expected[name])


@pytest.mark.parametrize(("strength", "largest"), [(0, 0.03), (9, 0.1), (30, 1 / 3)])
def test_erasing_takes_no_more_than_its_strength_and_leaves_the_rest(strength, largest, picture):
    shares = []
    for panel in draw_altered(picture, {"erasing": strength}, draws=8).figure.axes:
        changed = ((shown(panel) - picture).abs() > 1e-3).any(0)
        shares.append(changed.float().mean().item())
        assert panel.get_xlabel() == f"{shares[-1]:.0%} erased"
    assert max(shares) <= largest + 0.02  # whole pixels
    assert min(shares) > 0


def test_the_lowest_smoothed_loss_is_marked_where_torch_has_it():
    plot = draw_smoothed(0.1, classes=10)
    (axes,) = plot.figure.axes
    curve, mark = axes.lines
    lead, loss = (torch.as_tensor(values, dtype=torch.float64) for values in curve.get_data())
    best = math.log(0.91 / 0.01)
    assert mark.get_xdata()[0] == pytest.approx(best)
    assert lead[loss.argmin()].item() == pytest.approx(best, abs=0.1)
    logits = torch.zeros(len(lead), 10, dtype=torch.float64)
    logits[:, 0] = lead
    labels = torch.zeros(len(lead), dtype=torch.long)
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    assert torch.allclose(loss, expected, atol=1e-4)
    assert f"with smoothing 0.1: lowest loss at a lead of {best:.1f}" in plot.alt


def test_without_smoothing_nothing_is_the_lowest(is_drawn):
    plot = draw_smoothed(0.0)
    assert is_drawn(plot)
    assert "the loss falls without end" in plot.alt
    assert len(plot.figure.axes[0].lines) == 1


def test_stochastic_depth_shows_who_passed_what(is_drawn):
    passed = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1]], dtype=torch.bool)
    plot = draw_depth([0.0, 0.1, 0.2], passed)
    assert is_drawn(plot)
    assert "4 pictures" in plot.alt and "rate 0.2: 2.7 of 3 blocks, 2.2 drawn" in plot.alt
    (axes,) = plot.figure.axes
    assert torch.equal(torch.as_tensor(axes.images[0].get_array().data) > 0, passed)


def test_schedules_are_the_recipes_own(is_drawn):
    plot = draw_schedules((PAPER, ORIGINAL, POCKET), points=90)
    assert is_drawn(plot)
    assert "paper, rises to 0.004 in 20 epochs and falls along a cosine until epoch 300" in plot.alt
    assert "original, begins at 0.1 and falls in steps until epoch 90" in plot.alt
    for panel, recipe in zip(plot.figure.axes, (PAPER, ORIGINAL, POCKET), strict=True):
        epochs, rates = panel.lines[0].get_data()
        assert len(epochs) == 90 and epochs[0] == 0 and epochs[-1] < recipe.epochs
        assert list(rates) == [recipe.learning_rate_at(epoch) for epoch in epochs]
        assert panel.get_title().startswith(f"{recipe.name}: {recipe.algorithm}")


def test_every_rung_of_a_ladder_stands_on_the_one_below(is_drawn):
    plot = draw_ladder({"start": 76.0, "longer": 78.0, "worse": 77.5}, "top-1 %")
    assert is_drawn(plot)
    assert plot.alt == "top-1 %, from 76.00 to 77.50: longer +2.00, worse -0.50."
    (axes,) = plot.figure.axes
    assert [(bar.get_y(), bar.get_height()) for bar in axes.patches] == [(76.0, 2.0), (78.0, -0.5)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["longer", "worse"]
    low, high = axes.get_ylim()
    assert low < 76.0 and high > 78.0


def test_a_budget_rings_the_readers_choice(is_drawn):
    plot = draw_budget(PAPER, 8, 819, 1.5, (1, 8, 32))
    assert is_drawn(plot)
    budget = Budget(PAPER, 8, 819, 1.5)
    assert plot.alt.startswith(str(budget))
    assert re.search(r"5\.4 on 1, 0\.7 on 8, 0\.2 on 32\.$", plot.alt)
    (axes,) = plot.figure.axes
    line, ring = axes.lines
    assert list(line.get_xdata()) == [1, 8, 32]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (8, pytest.approx(budget.hours / 24))
    assert matplotlib.colors.to_hex(ring.get_markeredgecolor()).upper() == CHANGED


def test_a_budget_without_a_price_has_no_money_in_it():
    assert "an hour" not in draw_budget(PAPER, 2, 100, 0.0, (1, 2)).alt


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(BudgetError):
        draw_budget(PAPER, 0, 819, 1.5, (1, 2))


# Parts of a picture's way ---------------------------------------------------------------------------------------------

PARTS = {"decode": [0.8, 1.0, 1.6], "alter": [2.0, 2.0, 2.2]}


def test_parts_add_up_to_the_cores_that_a_gpu_needs():
    picture = draw_parts(PARTS, rate=500)
    (axes,) = picture.figure.axes
    assert [bar.get_width() for bar in axes.patches] == [1.0, 2.0]
    assert axes.get_title() == "together 3.0 ms: 1.5 cores keep one GPU busy"
    assert "decode 1.00, alter 2.00; together 3.0" in picture.alt and "2.00 ms a picture, so 1.5 cores" in picture.alt


def test_the_line_of_a_part_is_from_its_shortest_to_its_longest_round():
    (axes,) = draw_parts(PARTS, rate=500).figure.axes
    assert [list(line.get_xdata()) for line in axes.lines[:2]] == [[0.8, 1.6], [2.0, 2.2]]
    assert axes.lines[2].get_xdata()[0] == 2.0  # the GPU's time
