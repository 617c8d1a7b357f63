"""A vote of the room: a question with three answers, counted by hands, by keys 1 to 3, or by a click."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from convnext_lessons.system.errors import CourseError


class VoteError(CourseError, ValueError):
    """Answers that make no vote."""


@dataclass(frozen=True)
class Vote:
    """Shows itself as three buttons, behind each what the deck's script has counted.

    Attributes:
        name: under which the deck keeps the counts; a ``Tally`` of that name shows them.
        answers: three.

    Raises:
        VoteError: there are more or fewer than three.
    """

    name: str
    answers: Sequence[str]

    def __post_init__(self):
        if len(self.answers) != 3:
            raise VoteError(f"The vote '{self.name}' has {len(self.answers)} answers; give three, for keys 1 to 3.")

    def __repr__(self):
        return "; ".join(f"{number}: {answer}" for number, answer in enumerate(self.answers, start=1))

    def _repr_html_(self):
        buttons = "".join(
            f'<li><button type="button"><kbd>{number}</kbd><span>{escape(answer)}</span>'
            '<output aria-label="votes"></output></button></li>'
            for number, answer in enumerate(self.answers, start=1)
        )
        return f'<ol class="vote" data-vote="{escape(self.name)}">{buttons}</ol>'


@dataclass(frozen=True)
class Tally:
    """What the room said to a vote, in a line; empty where nobody pressed a key."""

    name: str

    def __repr__(self):
        return f"What the room said: {self.name}."

    def _repr_html_(self):
        return f'<p class="tally" data-vote="{escape(self.name)}"></p>'
