import os

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel
from torch import nn

from convnext_lessons.classroom.hints import find_hint, show_hints
from convnext_lessons.cli import main

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


def run_a_middle_cell_first(environment):
    """What a fresh kernel prints to a learner who begins in the middle of a lesson."""
    manager, client = start_new_kernel(env=environment)
    printed = []
    try:
        client.execute_interactive("before.change(norm='layer')", timeout=60, output_hook=printed.append)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return "".join(message["content"].get("text", "") for message in printed)


def test_hints_are_there_before_the_first_cell_of_a_kernel_that_lab_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONSTARTUP", "")  # so that it is as before afterwards
    monkeypatch.delenv("PYTHONSTARTUP")
    monkeypatch.setattr("jupyterlab.labapp.LabApp.launch_instance", lambda argv: None)
    alone = dict(os.environ)
    main(["lab", f"--folder={tmp_path}"])
    words = "Hint: 'before' comes from an earlier cell: run the cells from the top"
    assert words in run_a_middle_cell_first(dict(os.environ))
    assert "Hint" not in run_a_middle_cell_first(alone)
