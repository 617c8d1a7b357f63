"""Frozen dataclasses of which one makes changed copies."""

from dataclasses import fields, replace
from typing import ClassVar, Self

from convnext_lessons.system.errors import CourseError


class Changeable:
    """Base of a frozen dataclass: ``record.change(field=value)`` is a copy with another value, checked like the first.

    Attributes:
        TITLE: what an error calls the record, such as "an architecture".
        ERROR: what is raised for a field that it does not have.
    """

    TITLE: ClassVar[str]
    ERROR: ClassVar[type[CourseError]]

    def change(self, **changes: object) -> Self:
        """The same record with some fields changed.

        Raises:
            ``ERROR``: a field is unknown or its value cannot work.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise self.ERROR(f"{self.TITLE.capitalize()} has no field '{name}'; it has {', '.join(known)}.")
        return replace(self, **changes)
