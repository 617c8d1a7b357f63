"""Processes to be hurt, forked from this one, which has imported torch already; and what becomes of them."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convnext_lessons.system import CourseError

LONGEST = 120  # seconds; what takes longer does not end
REFUSED = 3  # the exit status of an error of the course

_FORK = multiprocessing.get_context("fork")


class Fault(Exception):
    """The course did not stand a fault."""


def check(fine: bool, words: str) -> None:
    """Raise a ``Fault`` unless all is fine."""
    if not fine:
        raise Fault(words)


@dataclass(frozen=True)
class End:
    """How a process ended: its exit status, which is minus the signal that killed it, and its last words."""

    status: int
    words: str

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def check_fine(self) -> None:
        """It did its work."""
        check(self.status == 0, f"it ended with {self.status}: {self.words}")

    def check_fine_or_refused(self) -> None:
        """It did its work, or said in one sentence why not."""
        one_sentence = "\n" not in self.words and self.words.endswith((".", "?"))
        check(
            self.status == 0 or (self.status == REFUSED and one_sentence), f"no refusal ({self.status}): {self.words}"
        )


def live(work: Callable[[], object], place: Path, kill_after: float | None = None) -> End:
    """Do some work in a process of its own, which is killed after so many seconds if they are given.

    Raises:
        Fault: it does not end.
    """
    process = _FORK.Process(target=_work, args=(work, place))
    process.start()
    process.join(LONGEST if kill_after is None else kill_after)
    is_late = process.is_alive()
    if is_late:
        process.kill()
        process.join()
    check(not is_late or kill_after is not None, f"it does not end within {LONGEST} s")
    found = [path.read_text(errors="replace").strip() for path in _notes(place) if path.exists()]
    for path in _notes(place):
        path.unlink(missing_ok=True)
    return End(process.exitcode, next((words for words in found if words), ""))


def _notes(place):
    """Where a process leaves its sentence, and everything else that it says."""
    return place / "sentence.txt", place / "errors.txt"


def _work(work, place):
    sentence, errors = _notes(place)
    with open(errors, "ab") as file:
        os.dup2(file.fileno(), 2)
    faulthandler.enable()
    try:
        work()
    except CourseError as error:
        sentence.write_text(str(error), errors="replace")
        sys.exit(REFUSED)


def processes_with(mark: str) -> list[int]:
    """The living processes that were started with a word in their environment."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _has(path, mark)]


def _has(process, mark):
    try:
        is_dead = (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        return not is_dead and mark.encode() in (process / "environ").read_bytes()
    except OSError:  # it ended meanwhile, or is another user's
        return False


def check_gone(mark: str, seconds: float) -> None:
    """After so many seconds no process with a word in its environment lives on; one that does is killed."""
    end = time.monotonic() + seconds
    while (left := processes_with(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    check(not left, f"{len(left)} processes live on after {seconds:.0f} s")
