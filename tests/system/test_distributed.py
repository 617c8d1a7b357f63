import os
import signal
import socket
import threading

import pytest
import torch

from convnext_lessons.system import distributed
from convnext_lessons.system.devices import DeviceError
from convnext_lessons.system.distributed import SINGLE_PROCESS, DistributedError, Process, StopRequest, init_distributed


def test_without_torchrun_there_is_a_single_process():
    with init_distributed() as process:
        assert process == SINGLE_PROCESS == Process(rank=0, world_size=1, local_rank=0, local_world_size=1)
        assert process.is_main
        assert tuple(process.all_reduce_sum(1.5, 2)) == (1.5, 2)
        assert tuple(process.all_reduce_any(True, False)) == (True, False)
        with process.local_main_first():
            process.all_reduce_tensor(torch.zeros(1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_more_processes_than_gpus_are_refused(refuses):
    with refuses(DeviceError, "cuda"):
        Process(1, 2, 1, 2).device("cuda")


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_sets_the_request_until_the_block_ends(name):
    def note(*_):
        pass

    before = signal.signal(name, note)  # the tests themselves may run under nohup
    try:
        with StopRequest() as request:
            assert not request.requested
            os.kill(os.getpid(), name)
            assert request.requested
        assert signal.getsignal(name) is note
    finally:
        signal.signal(name, before)


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopRequest() as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not request.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_whose_torchrun_is_gone_is_asked_to_stop(monkeypatch):
    class Ended(Exception):
        pass

    def end(code):
        raise Ended

    monkeypatch.setattr(distributed, "SECONDS_TO_SAVE", 0)
    monkeypatch.setattr("os._exit", end)
    with StopRequest() as request, pytest.raises(Ended):
        distributed._end_with_parent(parent=-1)
    assert request.requested


def test_a_process_that_finds_no_torchrun_does_not_wait_for_it(monkeypatch, refuses):
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    settings = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    settings |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "_end_with_parent", lambda parent: None)
    with refuses(DistributedError, "torchrun is gone"), init_distributed("cpu"):
        pass


def test_the_second_ctrl_c_interrupts():
    with pytest.raises(KeyboardInterrupt), StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_thread_beside_the_main_one_leaves_the_signals_alone():
    def ask():
        with StopRequest() as request:
            requested.append(request.requested)

    requested = []
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert requested == [False]


def test_a_request_inside_another_sets_that_one_too():
    with StopRequest() as outer:
        with StopRequest() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        assert inner.requested and outer.requested


def test_a_request_with_an_end_is_set_when_the_time_is_over():
    assert StopRequest(seconds=0).requested
    assert StopRequest(seconds=0).seconds_left == 0
    assert not StopRequest(seconds=1000).requested
    assert StopRequest().seconds_left is None


def test_only_rank_0_is_the_main_process():
    assert [Process(rank, 3, rank, 3).is_main for rank in range(3)] == [True, False, False]
