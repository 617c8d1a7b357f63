import pytest
from torch import nn

from convnext_lessons.figures import ACTIVATION, NORM, SPATIAL, STREAM, draw_stems
from convnext_lessons.figures.palette import FAINT
from convnext_lessons.model import architecture_after, build, count

STEMS = {"step 1": architecture_after(1), "step 2": architecture_after(2)}


def texts(picture):
    return [rest[2] for kind, *rest in picture.items if kind == "text"]


def shapes(picture, fill):
    """(left side, right side) of the polygons of a colour, as heights, from left to right."""
    found = []
    for kind, *rest in picture.items:
        if kind == "polygon" and rest[1] == fill:
            (_, top_left), (_, top_right), (_, bottom_right), (_, bottom_left) = rest[0]
            found.append((bottom_left - top_left, bottom_right - top_right))
    return found


def test_every_tensor_is_as_tall_as_its_resolution_and_a_layer_leads_from_one_to_the_next():
    picture = draw_stems({"step 1": architecture_after(1)})
    assert shapes(picture, SPATIAL) == [(170, 85)]
    assert shapes(picture, FAINT) == [(85, 42.5)]
    assert shapes(picture, STREAM) == [(170, 170), (85, 85), (42.5, 42.5)]
    assert shapes(picture, NORM) == shapes(picture, ACTIVATION) == [(85, 85)]
    assert [words for words in texts(picture) if "×224" in words or "×112" in words or "×56" in words] == [
        "224×224×3",
        "112×112×64",
        "56×56×64",
    ]


def test_a_patchify_stem_goes_down_in_one_layer():
    picture = draw_stems({"step 2": architecture_after(2)})
    assert shapes(picture, SPATIAL) == [(170, 42.5)]
    assert "4×4 conv" in texts(picture) and "3 → 64, stride 4" in texts(picture)


@pytest.mark.parametrize(("name", "model"), STEMS.items())
def test_the_heading_has_the_stems_own_costs(name, model):
    (heading,) = [words for words in texts(draw_stems({name: model})) if words.startswith(name)]
    cost = count(model)
    assert f"{cost.by_stage('macs')['stem'] / 1e6:.1f} M multiply-adds" in heading
    assert f"{cost.by_stage('params')['stem']:,} parameters" in heading


def test_the_sentence_tells_every_layer():
    alt = draw_stems(STEMS).alt
    assert "step 1 from 224×224×3, 7×7 conv, 3 → 64, stride 2 to 112×112×64, BatchNorm to 112×112×64" in alt
    assert "3×3 max-pool, stride 2 to 56×56×64; step 2 from" in alt


def test_changing_the_module_changes_the_picture():
    network = build(architecture_after(2).thinner(1 / 8))
    network.stem = nn.Sequential(*network.stem, nn.MaxPool2d(3, 2, 1))
    picture = draw_stems({"mine": network}, image_size=64)
    assert "3×3 max-pool" in texts(picture) and "8×8×8" in texts(picture)
