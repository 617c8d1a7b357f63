"""The base of every error that the course raises on purpose."""


class CourseError(Exception):
    """One sentence that says what is wrong and what to do."""
