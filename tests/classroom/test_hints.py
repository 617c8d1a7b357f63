import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch import nn

from convnext_lessons.classroom.hints import find_hint, show_hints

x = torch.randn(2, 8, 6, 6)


def undefined():
    return before  # noqa: F821


def no_padding():
    return x + nn.Conv2d(8, 8, 3)(x)


def other_channels():
    return x + nn.Conv2d(8, 4, 3, padding=1)(x)


def wrong_input():
    return nn.Conv2d(16, 16, 1)(x)


def too_small():
    return nn.Conv2d(8, 8, 7)(x)


def wrong_groups():
    return nn.Conv2d(8, 8, 3, groups=3)


def groups_of_another_layer():
    return nn.Conv2d(32, 32, 3, groups=8, padding=1)(x)


def other_layers():
    nn.Conv2d(8, 8, 3).load_state_dict(nn.Conv2d(8, 8, 3, bias=False).state_dict())


def broken_claim():
    raise AssertionError


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (undefined, "'before' comes from an earlier cell"),
        (no_padding, "lack its padding"),
        (other_channels, "different channels"),
        (wrong_input, "made for 16 channels and gets 8"),
        (too_small, "smaller than the kernel"),
        (wrong_groups, "groups must divide both"),
        (groups_of_another_layer, "made for 32 channels and gets 8"),
        (other_layers, "print(module)"),
        (broken_claim, "What did you change?"),
    ],
)
def test_what_learners_meet_has_a_plain_sentence(mistake, words):
    with pytest.raises(Exception) as caught:
        mistake()
    assert words in find_hint(caught.value)


def test_other_errors_speak_for_themselves():
    assert find_hint(RuntimeError("something else")) is None
    assert find_hint(KeyError("x")) is None


def test_a_shell_prints_the_error_and_the_hint(capsys):
    shell = InteractiveShell()
    show_hints(shell)
    result = shell.run_cell("undefined_here")
    printed = capsys.readouterr().out
    assert isinstance(result.error_in_exec, NameError)
    assert "NameError" in printed and "Hint: 'undefined_here' comes from an earlier cell" in printed
    assert shell.run_cell("raise KeyError('x')").error_in_exec is not None
    assert "Hint" not in capsys.readouterr().out
