"""One process or many: what ``torchrun`` started, and the few things that processes have to tell each other."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass

import torch
from torch import distributed

from convnext_lessons.machine import CourseError
from convnext_lessons.machine import device as choose_device

WISHES = (signal.SIGTERM, signal.SIGINT)


class ProcessesError(CourseError):
    """Processes that cannot work together."""


class Stopped(CourseError):
    """The run was asked to leave, and has saved where it is."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: place of this process, from 0.
        count: of processes on all machines.
        local_rank: place of this process on its machine.
        local_count: of processes on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self):
        """Is this the one that writes and speaks?"""
        return self.rank == 0

    def device(self, asked=None):
        """This process's own device: as ``machine.device``, and with several GPUs the one of its place.

        Raises:
            DeviceError: there is no such device, or fewer GPUs than processes on this machine.
        """
        found = choose_device(asked)
        if found.type == "cuda" and self.count > 1:
            found = choose_device(f"cuda:{self.local_rank}")
            torch.cuda.set_device(found)
        return found

    def sum(self, *values):
        """The sums of numbers over all processes; exact to double precision, in the order of the ranks."""
        if self.count == 1:
            return values
        mine = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(mine)
        return mine.tolist()

    def any(self, *wishes):
        """For each wish, whether some process has it."""
        if self.count == 1:
            return wishes
        mine = torch.tensor(wishes, dtype=torch.int32)
        distributed.all_reduce(mine, distributed.ReduceOp.MAX)
        return tuple(bool(wish) for wish in mine.tolist())

    def share(self, tensors):
        """Give every process the first one's content of some tensors."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    @contextlib.contextmanager
    def in_turn(self):
        """The first process of every machine runs the block alone, then the others: what it fetches or decodes is there
        for them."""
        if self.local_rank > 0:
            self.any(False)  # waits for all
        yield
        if self.local_rank == 0:
            self.any(False)


@contextlib.contextmanager
def joined(asked=None):
    """Join the processes that ``torchrun`` started, for the length of a block; alone where there is no torchrun.

    Args:
        asked: the device that will be trained on, as in ``machine.device``.

    Raises:
        ProcessesError: torchrun was started in a way that cannot survive a restart.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Processes()
        return
    local_rank, local_count = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    # torchrun's own store outlives a restart, and what the dead processes wrote there would be taken for the new ones'
    # addresses: they would wait for each other for ever. Each machine counts its restarts for itself.
    lasting = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    several = local_count < int(os.environ["WORLD_SIZE"])
    if lasting and several and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
        raise ProcessesError(
            "Restarts on several machines need a store of their own: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 "
            "before torchrun on each machine, or --max-restarts=0."
        )
    store, rank, count = next(distributed.rendezvous("env://"))
    if lasting:
        store = distributed.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    # Numbers and wishes travel over gloo, beside the GPUs' queue, so that telling them does not wait for it.
    backend = "cpu:gloo,cuda:nccl" if choose_device(asked).type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
    try:
        yield Processes(rank, count, local_rank, local_count)
    finally:
        distributed.destroy_process_group()


class StopRequest:
    """Remembers that this process was asked to leave, so that it can finish its step and save first.

    For the length of a ``with`` block SIGTERM and SIGINT (Ctrl-C, the stop button) are such wishes, which a request
    around this one hears of, too; a second SIGINT is the usual KeyboardInterrupt.

    Args:
        seconds: after which it counts as asked without a signal.
    """

    def __init__(self, seconds=None):
        self._asked = False
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def made(self):
        """Was this process asked to leave, or is its time over?"""
        return self._asked or (self._end is not None and time.monotonic() >= self._end)

    @property
    def seconds_left(self):
        """Until the time is over; None without an end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def _note(self, name, _):
        if self._asked and name == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True

    def __enter__(self):
        # Python delivers signals to the main thread, and lets only that one ask for them.
        mine = threading.current_thread() is threading.main_thread()
        self._before = {name: signal.signal(name, self._note) for name in WISHES} if mine else {}
        return self

    def __exit__(self, *_):
        for name, handler in self._before.items():
            signal.signal(name, handler)
            around = getattr(handler, "__self__", None)
            if self._asked and isinstance(around, StopRequest):
                around._asked = True
