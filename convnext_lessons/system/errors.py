"""The base of every error that the course raises on purpose."""

from textwrap import shorten


class CourseError(Exception):
    """One sentence that says what is wrong and what to do."""


def in_a_line(words: object) -> str:
    """What a stranger says, such as another library's error or a name in a file, as one line that can be printed."""
    line = shorten(str(words), 300, placeholder=" …") or type(words).__name__
    return "".join(letter if letter.isprintable() else "�" for letter in line)
