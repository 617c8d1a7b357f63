import contextlib
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from convnext_lessons.data import ImagesError, Validation, open_images, stand_in, training_stream
from convnext_lessons.data.loader import LoaderError, default_workers
from convnext_lessons.runs.recipes import PAPER, POCKET
from convnext_lessons.system.distributed import Process

CPU = torch.device("cpu")
SMALL = {"image_size": 32, "epochs": 2, "batch_size": 8, "local_batch_size": None, "warmup_epochs": 1}
RECIPE = PAPER.change(name="small", width_factor=1 / 16, **SMALL)
PLAIN = RECIPE.change(augmentation="crops", crop_scale=1.0, erasing=0.0)


def numbers(pictures):
    """Which pictures they are, by their brightness."""
    return [round((255 * (value * 0.229 + 0.485) / 3).item()) for value in pictures[:, 0].mean((1, 2))]


def stream(images, recipe=RECIPE, first=0, rank=0, world_size=1, workers=0):
    return list(training_stream(images, recipe, 0, first, CPU, Process(rank, world_size), workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_depends_neither_on_the_workers_nor_on_where_it_began(grey, workers):
    images = open_images(RECIPE, str(grey))
    whole, rest = stream(images), stream(images, first=4, workers=workers)
    assert len(whole) == 6
    for (one, label), (other, same) in zip(whole[4:], rest, strict=True):
        assert torch.equal(one, other) and torch.equal(label, same)


def test_ranks_share_a_batch(grey):
    images = open_images(PLAIN, str(grey))
    whole = [numbers(pictures) for pictures, _ in stream(images, PLAIN)]
    assert sorted(number for batch in whole[:3] for number in batch) == list(range(24)) and whole[:3] != whole[3:]
    for rank in range(3):
        share = [numbers(pictures) for pictures, _ in stream(images, PLAIN, rank=rank, world_size=3)]
        assert share == [batch[rank::3] for batch in whole]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_local_batches_are_the_same_on_any_number_of_ranks(grey, world_size):
    recipe = PLAIN.change(local_batch_size=3)
    images = open_images(recipe, str(grey))
    whole = [numbers(pictures) for pictures, _ in stream(images, PLAIN)]
    expected = [batch[start : start + 3] for batch in whole for start in (0, 3, 6)]
    streams = [stream(images, recipe, rank=rank, world_size=world_size) for rank in range(world_size)]
    found = [[numbers(pictures) for pictures, _ in share] for share in streams]
    order = [len(range(rank, 3, world_size)) for rank in range(world_size)]
    for step in range(6):
        here = [
            found[number % world_size][step * order[number % world_size] + number // world_size] for number in range(3)
        ]
        assert here == expected[3 * step : 3 * step + 3]


def test_repetitions_of_an_image_are_transformed_anew_and_never_meet(grey):
    recipe = RECIPE.change(repeats=4, augmentation="trivial_augment", local_batch_size=2)
    batches = stream(open_images(recipe, str(grey)), recipe)
    assert len(batches) == 6 * 4
    for start in range(0, len(batches), 4):  # two pictures, four times each, once in every local batch
        labels = [labels.tolist() for _, labels in batches[start : start + 4]]
        assert labels == [labels[0]] * 4
    first = [tuple(pictures[0].flatten().tolist()) for pictures, _ in batches[:4]]
    assert len(set(first)) > 1


def test_loading_leaves_torchs_generator_alone(grey):
    images = open_images(RECIPE, str(grey))
    before = torch.get_rng_state()
    stream(images)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(grey, workers, refuses):
    (grey / "train" / "a" / "04.png").write_bytes(b"nothing")
    images = open_images(RECIPE, str(grey))
    with refuses(ImagesError, "04.png", "replace or delete"):
        stream(images, workers=workers)


@pytest.mark.parametrize("world_size", [1, 3])
def test_validation_has_every_image_once(grey, world_size):
    images = open_images(RECIPE, str(grey))
    seen = []
    for rank in range(world_size):
        validation = Validation(images, RECIPE, CPU, Process(rank, world_size))
        for _ in range(2):  # as often as one likes
            mine = [n for pictures, _ in validation for n in numbers(pictures)]
        seen += mine
    assert sorted(seen) == list(range(24, 34))


@pytest.mark.parametrize(
    ("cores", "local_world_size", "workers"), [(8, 1, 7), (8, 4, 1), (2, 4, 0), (256, 1, 16), (1, 1, 0)]
)
def test_every_core_has_something_to_do(cores, local_world_size, workers, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores), raising=False)
    assert default_workers(Process(0, local_world_size, 0, local_world_size)) == workers


def test_where_the_system_does_not_say_which_cores_are_ours_all_are_counted(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    for cores, workers in ((8, 7), (None, 0)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert default_workers() == workers


def test_images_in_memory_come_as_a_stream_too():
    images = stand_in(32, 24, 10)
    recipe = POCKET.change(image_size=32, epochs=2, batch_size=8)
    batches = stream(images, recipe)
    assert [len(labels) for _, labels in batches] == [8] * 6
    for (one, label), (other, same) in zip(batches[4:], stream(images, recipe, first=4), strict=True):
        assert torch.equal(one, other) and torch.equal(label, same)
    seen = torch.cat([labels for _, labels in Validation(images, recipe, CPU)])
    assert torch.equal(seen, images.val_labels)


def test_a_loader_process_that_is_killed_is_one_sentence(grey, refuses):
    images = open_images(RECIPE, str(grey))
    batches = training_stream(images, RECIPE.change(epochs=1000), 0, 0, CPU, workers=1)
    next(batches)
    for child in multiprocessing.active_children():
        child.kill()
    with refuses(LoaderError, "memory", "--workers"):
        for _ in batches:
            pass


READER = """
import sys, time
import torch
from convnext_lessons.data import open_images, training_stream
from convnext_lessons.runs.recipes import PAPER

if __name__ == "__main__":
    recipe = PAPER.change(image_size=32, epochs=1000, batch_size=8, warmup_epochs=1)
    batches = training_stream(open_images(recipe, sys.argv[1]), recipe, 0, 0, torch.device("cpu"), workers=2)
    next(batches)
    print("reading", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_loader_processes_end_with_the_process_that_trains(grey, tmp_path):
    (tmp_path / "reader.py").write_text(READER)
    reader = subprocess.Popen([sys.executable, tmp_path / "reader.py", grey], stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "reading\n"
    mine = descendants(reader.pid)
    assert len(mine) >= 2
    reader.kill()
    reader.wait()
    end = time.monotonic() + 30
    while alive(mine) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(mine)


def descendants(pid):
    """Process numbers of the children of a process, and of theirs."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            parents[int(status.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids):
    return [pid for pid in pids if b"python" in command(pid)]


def command(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
