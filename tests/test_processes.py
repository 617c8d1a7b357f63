import os
import signal
import threading

import pytest
import torch

from convnext_lessons.machine import DeviceError
from convnext_lessons.processes import Processes, StopRequest, joined


def test_without_torchrun_a_process_is_alone():
    with joined() as processes:
        assert processes == Processes(rank=0, count=1, local_rank=0, local_count=1)
        assert processes.first
        assert tuple(processes.sum(1.5, 2)) == (1.5, 2)
        assert tuple(processes.any(True, False)) == (True, False)
        with processes.in_turn():
            processes.share([torch.zeros(1)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_more_processes_than_gpus_are_refused(refuses):
    with refuses(DeviceError, "cuda"):
        Processes(1, 2, 1, 2).device("cuda")


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_wish_to_leave_is_remembered_and_then_forgotten(name):
    before = signal.getsignal(name)
    with StopRequest() as request:
        assert not request.made
        os.kill(os.getpid(), name)
        assert request.made
    assert signal.getsignal(name) is before


def test_who_cannot_wait_asks_twice():
    with pytest.raises(KeyboardInterrupt), StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_thread_beside_the_main_one_leaves_the_signals_alone():
    def ask():
        with StopRequest() as request:
            made.append(request.made)

    made = []
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert made == [False]
