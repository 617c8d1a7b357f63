import io

from PIL import Image
from torchvision.models import swin_t

from convnext_lessons.figures import CHANGED, SPATIAL, draw_orders
from convnext_lessons.figures.palette import CHANGED_WORDS
from convnext_lessons.model import architecture_after


def words_of(picture, color=None):
    """The words of a diagram, those in one colour if one is given."""
    texts = [item for item in picture.items if item[0] == "text"]
    return [item[3] for item in texts if color in (None, item[6])]


def boxes_of(picture):
    return [item for item in picture.items if item[0] == "polygon"]


def test_the_moved_layer_and_the_changed_resolution_are_marked_and_nothing_else():
    picture = draw_orders(architecture_after(4), architecture_after(5), stage=2, block=1)
    moved = ["3×3 depthwise", "768, stride 2", "3×3 depthwise", "96, stride 2"]
    resized = ["at 56×56: 231 M", "at 28×28: 57.8 M"]
    assert sorted(words_of(picture, CHANGED_WORDS)) == sorted(moved + resized)
    outlined = [box for box in boxes_of(picture) if box[3] == CHANGED]
    assert [box[2] for box in outlined] == [SPATIAL, SPATIAL]
    arrow = boxes_of(picture)[-1]
    assert arrow[2] == CHANGED and len(arrow[1]) == 3
    before, after = picture.alt.split("; ")
    assert before.startswith(
        "Block 1 of stage 2. before: step 4, stage 2, block 1: 1×1 conv, 96 → 768 at 56×56: 231 M,"
    )
    assert "after: step 5, stage 2, block 1: 3×3 depthwise, 96, stride 2 at 28×28: 0.677 M, 1×1 conv" in after


def test_where_no_layer_moves_nothing_is_marked_and_swin_stands_in_front():
    swin = swin_t().features[1][0]
    picture = draw_orders(architecture_after(3), architecture_after(4), swin=swin)
    assert not words_of(picture, CHANGED_WORDS) and not [box for box in boxes_of(picture) if CHANGED in box[2:4]]
    assert "Swin's block: attention, 96, linear, 96 → 384, linear, 384 → 96; before: step 3" in picture.alt
    assert picture.width > draw_orders(architecture_after(3), architecture_after(4)).width
    assert len(boxes_of(picture)) == 9
    assert Image.open(io.BytesIO(picture.png())).format == "PNG"


def test_widths_follow_the_channels():
    design = architecture_after(5)
    picture = draw_orders(design, design.change(kernel_size=7, expansion=2))
    boxes = [[x for x, _ in box[1]] for box in boxes_of(picture)]
    before, after = ([max(box) - min(box) for box in side] for side in (boxes[:3], boxes[3:]))
    assert before[1] == 4 * before[0] and after[1] == 2 * after[0] and before[0] == after[0]
    assert "after: stage 1, block 2" in words_of(picture)
