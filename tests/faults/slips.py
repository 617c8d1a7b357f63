"""File operations that go wrong: the n-th of a process, which then dies or is told that the disk is full."""

import builtins
import contextlib
import errno
import io
import itertools
import os
from collections.abc import Callable, Iterator
from unittest.mock import patch

import torch

DEAD = 9  # the exit status of a process that died
NAMES = ("open", "mkdir", "fsync", "replace", "rename", "unlink")  # of ``os``


def die() -> None:
    """End this process at once, as a power cut would."""
    os._exit(DEAD)


def full() -> None:
    """What the operating system says when nothing fits on a disk any more."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def slips(first: int, fail: Callable[[], None] = full, lasting: bool = False) -> Iterator[Callable[[], int]]:
    """In this block the ``first`` operation that changes files fails, counted from 1; with ``lasting``, also all that
    follow. Gives a function that says how many there were. A write that fails has written its first half.
    """
    counter = itertools.count(1)
    reached = [0]

    def happens():
        reached[0] = number = next(counter)
        return number == first or (lasting and number > first)

    def slipping(work):
        def slip(*args, **kwargs):
            if happens():
                fail()
            return work(*args, **kwargs)

        return slip

    class File(io.FileIO):
        def write(self, data):
            if happens():
                super().write(data[: len(data) // 2])
                fail()
            return super().write(data)

    def open_file(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if not set(mode) & set("wax+"):
            return read(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if happens():
            fail()
        raw = File(file, mode.replace("t", "").replace("b", ""), closefd, opener)
        if buffering == 0:
            return raw
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def save_tensors(content, path, **settings):
        if happens():
            whole = io.BytesIO()
            save(content, whole, **settings)
            with read(path, "wb") as file:
                file.write(whole.getvalue()[: whole.tell() // 2])
            fail()
        save(content, path, **settings)

    read, save = builtins.open, torch.save
    with contextlib.ExitStack() as stack:
        for name in NAMES:
            stack.enter_context(patch.object(os, name, slipping(getattr(os, name))))
        stack.enter_context(patch.object(builtins, "open", open_file))
        stack.enter_context(patch.object(io, "open", open_file))
        stack.enter_context(patch.object(torch, "save", save_tensors))  # writes by itself
        yield lambda: reached[0]
