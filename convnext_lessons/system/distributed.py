"""One process or many: what ``torchrun`` started, and the few things that its processes have to tell each other."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import distributed

from convnext_lessons.system.devices import choose_device
from convnext_lessons.system.errors import CourseError

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
SECONDS_TO_SAVE = 120  # for a process whose torchrun was killed
SECONDS_TO_ANSWER = 5  # for torchrun's store


class DistributedError(CourseError):
    """Processes that cannot work together."""


class Stopped(CourseError):
    """The run was asked to stop, and has saved where it is."""


@dataclass(frozen=True)
class Process:
    """This process among those that train together.

    Attributes:
        rank: of this process, from 0.
        world_size: processes on all machines.
        local_rank: of this process on its machine.
        local_world_size: processes on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_main(self) -> bool:
        """True on rank 0, which alone writes and prints."""
        return self.rank == 0

    def device(self, asked: str | torch.device | None = None) -> torch.device:
        """This process's own device: as ``choose_device``, and with several GPUs the one of its local rank.

        Raises:
            DeviceError: there is no such device, or fewer GPUs than processes on this machine.
        """
        device = choose_device(asked)
        if device.type == "cuda" and self.world_size > 1:
            device = choose_device(f"cuda:{self.local_rank}")
            torch.cuda.set_device(device)
        return device

    def all_reduce_sum(self, *values: float) -> list[float]:
        """The sums of numbers over all ranks, exact to double precision."""
        if self.world_size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        return sums.tolist()

    def all_reduce_tensor(self, tensor: torch.Tensor) -> None:
        """Overwrite a tensor on every rank with the sum over all."""
        if self.world_size > 1:
            distributed.all_reduce(tensor)

    def all_reduce_any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set on any rank."""
        if self.world_size == 1:
            return list(flags)
        largest = torch.tensor(flags, dtype=torch.int32)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return [bool(flag) for flag in largest.tolist()]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.all_reduce_any(False)  # over gloo, so that no GPU is involved

    @contextlib.contextmanager
    def local_main_first(self) -> Iterator[None]:
        """Local rank 0 of every machine runs the block alone, then the others: what it downloads or decodes is there
        for them."""
        if self.local_rank > 0:
            self.barrier()
        yield
        if self.local_rank == 0:
            self.barrier()


SINGLE_PROCESS = Process()


@contextlib.contextmanager
def init_distributed(asked: str | torch.device | None = None) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started, for the length of a block; a single process without torchrun.

    Args:
        asked: the device that will be trained on, as in ``choose_device``.

    Raises:
        DistributedError: torchrun was started in a way that cannot survive a restart.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield SINGLE_PROCESS
        return
    local_rank, local_world_size = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    # torchrun's own store outlives a restart, and what the dead processes wrote there would be taken for the new ones'
    # addresses: they would wait for each other for ever. Each machine counts its restarts for itself.
    store_outlives_restart = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    several_machines = local_world_size < int(os.environ["WORLD_SIZE"])
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    if store_outlives_restart and several_machines and restarts:
        raise DistributedError(
            "Restarts on several machines need a store of their own: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 "
            "before torchrun on each machine, or --max-restarts=0."
        )
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    if store_outlives_restart:
        _check_torchrun_lives()
    store, rank, world_size = next(distributed.rendezvous("env://"))
    if store_outlives_restart:
        store = distributed.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    # Numbers and flags travel over gloo, beside the GPUs' queue, so that nobody waits for it.
    backend = "cpu:gloo,cuda:nccl" if choose_device(asked).type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    try:
        yield Process(rank, world_size, local_rank, local_world_size)
    finally:
        distributed.destroy_process_group()


def _check_torchrun_lives():
    """torchrun has opened its store before it starts anything. Where nobody answers, it was killed before this process
    began to look after it, and the other processes would be waited for in vain."""
    try:
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        socket.create_connection(address, timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise DistributedError(f"torchrun is gone ({error}); start it again.") from error


def _end_with_parent(parent):
    """Ask this process to save and stop once torchrun is gone, which looked after it."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_SAVE)
    os._exit(1)


class StopRequest:
    """Remembers that this process was asked to stop, so that it can finish its step and save first.

    For the length of a ``with`` block SIGTERM, SIGINT (Ctrl-C, the stop button) and SIGHUP (a connection that drops)
    set the request, and that of a request around this one; a second SIGINT is the usual KeyboardInterrupt. A signal
    that is ignored, as under nohup, stays ignored.

    Args:
        seconds: after which the request counts as set without a signal.
    """

    def __init__(self, seconds: float | None = None):
        self._asked = False
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def requested(self) -> bool:
        """Was this process asked to stop, or is its time over?"""
        return self._asked or (self._end is not None and time.monotonic() >= self._end)

    @property
    def seconds_left(self) -> float | None:
        """Until the time is over; None without an end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def _note(self, signal_number, _):
        if self._asked and signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True

    def __enter__(self):
        # Python delivers signals to the main thread, and lets only that one ask for them.
        is_main_thread = threading.current_thread() is threading.main_thread()
        signals = [name for name in STOP_SIGNALS if is_main_thread and signal.getsignal(name) != signal.SIG_IGN]
        self._before = {name: signal.signal(name, self._note) for name in signals}
        return self

    def __exit__(self, *_):
        for name, handler in self._before.items():
            signal.signal(name, handler)
            around = getattr(handler, "__self__", None)
            if self._asked and isinstance(around, StopRequest):
                around._asked = True
