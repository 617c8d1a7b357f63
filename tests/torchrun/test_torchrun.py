"""Runs of several processes under torchrun, on the CPU: hurt, resumed, and held against whole runs."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convnext_lessons.data import stand_in, validation_batches
from convnext_lessons.system.distributed import DistributedError, init_distributed
from convnext_lessons.training import evaluate, load_run

HURT = Path(__file__).parent / "hurt.py"
TRAIN = ("train", "--device", "cpu", "--save-steps", "3", "--workers", "0")
CPU = torch.device("cpu")

pytestmark = pytest.mark.torchrun


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def hear_signals():
    """Before a run: the signals that stop it are not ignored, as they are for what a shell starts in the background."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)


def wait_for(process, seconds=120):
    """The output of a process; one that takes too long is asked to end, so that torchrun ends what it started."""
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()
        raise


@pytest.fixture
def launch():
    """``launch(count, folder, …)`` trains in fast mode with so many processes; it gives the exit status and output."""

    def run(count, folder, recipe="paper", hurt=(), restarts=0, good=True, more=(), seconds=120):
        command = [sys.executable]
        if count:
            command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
            command += [f"--max-restarts={restarts}"]
        if hurt:
            command += [str(HURT), *map(str, hurt), str(folder) + ".hurt"]
        else:
            command += ["-m", "convnext_lessons"]
        command += [*TRAIN, "--recipe", recipe, "--out", str(folder), *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, preexec_fn=hear_signals, **pipes)
        output, errors = wait_for(process, seconds)
        assert (process.returncode == 0) == good, output + errors
        return process.returncode, output

    return run


def learnt(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    times = ("seconds", "images_per_second", "waiting")
    return [{key: value for key, value in line.items() if key not in times} for line in lines]


def state_of(folder):
    return torch.load(folder / "last.pt", weights_only=True)


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def assert_same_run(folder, whole):
    assert learnt(folder) == learnt(whole)
    one, other = state_of(folder), state_of(whole)
    for part in ("network", "average", "optimizer", "steps", "epochs_done"):
        assert equal(one[part], other[part]), part


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_killed_run_is_restarted_by_torchrun_and_ends_as_if_nothing_had_been(launch, tmp_path, count):
    launch(count, tmp_path / "whole")
    # In the 6th step, in the first epoch, and the last process; the checkpoint is that of the 3rd step.
    launch(count, tmp_path / "killed", hurt=("SIGKILL", count - 1, 6), restarts=1)
    assert (tmp_path / "killed.hurt").exists()
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize(("count", "name"), [(0, "SIGTERM"), (0, "SIGINT"), (2, "SIGTERM")])
def test_a_run_that_is_asked_to_stop_saves_and_goes_on_later(launch, tmp_path, count, name):
    launch(count, tmp_path / "whole")
    status, output = launch(count, tmp_path / "stopped", hurt=(name, max(0, count - 1), 5), good=False)
    assert "after 40 pictures, and saved" in output
    assert state_of(tmp_path / "stopped")["steps"] == 5
    if not count:
        assert status == 143
    launch(count, tmp_path / "stopped")
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def living(mark):
    """The processes of this machine that were started with a word in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            is_dead = (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            if not is_dead and mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system does not show its processes")
@pytest.mark.parametrize("step", [1, 6])
def test_trainers_end_with_a_torchrun_that_is_killed(launch, tmp_path, monkeypatch, step):
    mark = f"the processes of {tmp_path}"
    monkeypatch.setenv("MARK", mark)
    launch(2, tmp_path / "run", hurt=("SIGKILL", "torchrun", step), good=False)
    end = time.monotonic() + 10
    while (left := living(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    assert step <= state_of(tmp_path / "run")["steps"] < 16  # they were not just done


def test_a_run_goes_on_with_another_number_of_processes(launch, tmp_path):
    launch(2, tmp_path / "run", hurt=("SIGTERM", 0, 5), good=False)
    launch(3, tmp_path / "run")
    assert [point["pictures"] for point in learnt(tmp_path / "run")][-1] == 2 * 64
    # No picture was counted twice or left out: alone, the same weights have the same accuracy.
    _, network = load_run(tmp_path / "run", "cpu")
    images = stand_in(32, train_count=64, val_count=40)
    assert evaluate(network, validation_batches(images), CPU).accuracy == learnt(tmp_path / "run")[-1]["accuracy"]


def draw_images(folder, count):
    """A folder of noise: two classes, so many pictures of 64 px for training, eight for validation."""
    generator = np.random.default_rng(count)
    for split, number in (("train", count), ("val", 8)):
        for index in range(number):
            place = folder / split / "ab"[index % 2]
            place.mkdir(parents=True, exist_ok=True)
            noise = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place / f"{index}.png")
    return folder


SMALL = ("image_size=64", "batch_size=24", "local_batch_size=8", "width_factor=0.0625", "epochs=2", "warmup_epochs=1")


@pytest.mark.parametrize(("step", "micro_batch"), [("8", ()), ("11", ("--micro-batch", "3"))])
def test_any_number_of_processes_learns_the_same(launch, tmp_path, monkeypatch, step, micro_batch):
    # With mixing and stochastic depth, and BatchNorm in step 8. By SGD, since AdamW makes a whole step of a gradient
    # that is nothing but rounding.
    monkeypatch.setenv("CONVNEXT_LESSONS_FAST", "0")
    images = draw_images(tmp_path / "images", 48)
    for count in (0, 2, 3):
        more = ("--step", step, "--images", str(images), *(micro_batch if count == 3 else ()))
        launch(count, tmp_path / str(count), more=(*more, "--set", *SMALL, "algorithm=sgd", "learning_rate=0.01"))
    alone = state_of(tmp_path / "0")["network"]
    for count in (2, 3):
        together = state_of(tmp_path / str(count))["network"]
        for name, weight in alone.items():
            torch.testing.assert_close(together[name], weight, rtol=1e-3, atol=1e-5)


def test_processes_that_see_other_pictures_are_refused(tmp_path):
    for rank in range(2):
        draw_images(tmp_path / f"images{rank}", 48 + rank)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "from convnext_lessons.cli import main\n"
        f"folder = {str(tmp_path)!r} + '/images' + os.environ['RANK']\n"
        "sys.exit(main([*sys.argv[1:], '--images', folder]))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script), *TRAIN]
    command += ["--recipe", "paper", "--out", str(tmp_path / "run"), "--set", *SMALL]
    environment = {**os.environ, "CONVNEXT_LESSONS_FAST": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "The processes find different pictures" in done.stderr


def test_two_machines_survive_the_loss_of_a_process(tmp_path, launch):
    launch(2, tmp_path / "whole")
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=1"]
    command += [
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{free_port()}",
        "--rdzv-id=run",
        "--local-addr=127.0.0.1",
    ]
    command += [str(HURT), "SIGKILL", "1", "6", str(tmp_path / "hurt"), *TRAIN]
    command += ["--recipe", "paper", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    machines = [subprocess.Popen(command, env=environment) for _ in range(2)]
    for machine in machines:
        wait_for(machine)
    assert [machine.returncode for machine in machines] == [0, 0]
    assert (tmp_path / "hurt").exists()
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_restarts_on_several_machines_need_a_store_of_their_own(monkeypatch, refuses):
    settings = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    settings |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_MAX_RESTARTS": "3"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with refuses(DistributedError, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1", "--max-restarts=0"), init_distributed("cpu"):
        pass


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler on the CPU")
def test_a_compiled_network_trains(launch, tmp_path):
    launch(2, tmp_path / "run", more=("--compile", "--micro-batch", "2"), seconds=600)
    assert state_of(tmp_path / "run")["steps"] == 16
