from torchvision.models import convnext, swin_transformer

from convnext_lessons.classroom import count_lines


class Example:
    """Docstrings
    do not count."""

    def method(self):
        """Nor this one."""
        # Nor comments.

        text = "but a text that is used"
        return (text,)

    def other(self): ...


def function():
    """Of two lines."""
    return 1


def test_only_code_counts():
    assert count_lines(function) == 2
    assert count_lines(Example) == 1 + 3 + 1
    assert count_lines(function, Example) == 7


def test_torchvision_s_blocks():
    attention = swin_transformer.ShiftedWindowAttention, swin_transformer.shifted_window_attention
    ours, theirs = count_lines(convnext.CNBlock), count_lines(swin_transformer.SwinTransformerBlock, *attention)
    assert 20 < ours < 40 and 4 < theirs / ours < 9  # 27 and 170 in torchvision 0.29
