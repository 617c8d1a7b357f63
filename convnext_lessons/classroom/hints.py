"""A plain sentence under the errors that learners meet: cells out of order, and edits that break a block."""

import re
from typing import Any

# (kind of error, what its message contains, what to do), the first that fits.
_HINTS = (
    (
        NameError,
        r"name '(?P<name>\w+)' is not defined",
        "'{name}' comes from an earlier cell: run the cells from the top (Run, Run All Above Selected Cell), or check "
        "its spelling.",
    ),
    (
        RuntimeError,
        r"size of tensor a .* must match the size of tensor b .* dimension [23]",
        "Two tensors that are added have different heights or widths: does a convolution lack its padding "
        "(kernel_size // 2), or does only one of the two paths have the stride?",
    ),
    (
        RuntimeError,
        r"size of tensor a .* must match the size of tensor b .* dimension 1",
        "Two tensors that are added have different channels: the shortcut has to deliver as many as the residual path.",
    ),
    (
        RuntimeError,
        r"to have (?P<wanted>\d+) channels, but got (?P<got>\d+) channels",
        "A convolution was made for {wanted} channels and gets {got}: compare what the layer before it puts out, and "
        "its groups.",
    ),
    (
        RuntimeError,
        r"[Kk]ernel size can't be greater than actual input size|Output size is too small",
        "The picture has become smaller than the kernel: is there a padding, or a stride too many?",
    ),
    (
        ValueError,
        r"(in|out)_channels must be divisible by groups",
        "Every group needs the same number of channels: groups must divide both channel counts; a depthwise "
        "convolution has groups = in_channels = out_channels.",
    ),
    (
        RuntimeError,
        r"Error\(s\) in loading state_dict",
        "The two modules do not have the same layers, so the weights of one do not fit the other: compare them, line "
        "by line, with print(module).",
    ),
    (
        AssertionError,
        r"",
        "This cell proves something, and with the values as they are now it does not hold. What did you change? A "
        "fresh copy of the lesson comes when you delete yours and start `make lab` again.",
    ),
)


def find_hint(error: BaseException) -> str | None:
    """What to do about an error, in one sentence or two; None where there is nothing to add to its own words."""
    for kind, pattern, words in _HINTS:
        found = re.search(pattern, str(error))
        if isinstance(error, kind) and found:
            return words.format(**found.groupdict())
    return None


def show_hints(shell: Any) -> None:
    """Let an IPython shell print the hint under the error that it belongs to."""

    def handler(shell, kind, error, trace, tb_offset=None):
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        words = find_hint(error)
        if words:
            print(f"Hint: {words}")

    shell.set_custom_exc(tuple({kind for kind, *_ in _HINTS}), handler)
