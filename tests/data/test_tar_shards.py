import functools
import http.server
import json
import shutil
import tarfile
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from convnext_lessons.data import ImagesError, Validation, open_images, training_stream
from convnext_lessons.data.tar_shards import open_shards, write_shards
from convnext_lessons.runs.recipes import PAPER
from convnext_lessons.system.distributed import Process

CPU = torch.device("cpu")
RECIPE = PAPER.change(
    name="small",
    image_size=32,
    epochs=3,
    batch_size=8,
    warmup_epochs=1,
    augmentation="crops",
    crop_scale=1.0,
    erasing=0.0,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of 4 classes whose pictures are as bright as their number."""
    root = tmp_path_factory.mktemp("pictures") / "grey"
    number = 0
    for split, each in (("train", 12), ("val", 5)):
        for name in "abcd":
            (root / split / name).mkdir(parents=True)
            for _ in range(each):
                Image.fromarray(np.full((40, 48, 3), 3 * number, np.uint8)).save(root / split / name / f"{number}.png")
                number += 1
    return root


@pytest.fixture(scope="module")
def described(folder, tmp_path_factory):
    return write_shards(folder, tmp_path_factory.mktemp("tar") / "grey", per_shard=6)


@pytest.fixture
def images(described, full_mode):
    return open_images(RECIPE, str(described))


def numbers(pictures):
    """Which pictures they are, by their brightness."""
    return [round((255 * (value * 0.229 + 0.485) / 3).item()) for value in pictures[:, 0].mean((1, 2))]


def stream(images, first=0, rank=0, world_size=1, micro_batch_size=None, workers=0):
    process = Process(rank, world_size)
    return list(training_stream(images, RECIPE, 0, first, CPU, process, micro_batch_size, workers))


def test_a_set_is_described(images, described):
    assert images.classes == ("a", "b", "c", "d")
    assert (len(images.train), len(images.val), images.note) == (48, 20, "grey")
    with tarfile.open(described.parent / "train-000000.tar") as tar:
        assert len(tar.getnames()) == 12  # six pictures and their labels


def test_an_epoch_of_one_process_has_every_image_once(images):
    batches = stream(images)
    assert [len(labels) for _, labels in batches] == [8] * 18
    for epoch in range(3):
        seen = [n for pictures, _ in batches[6 * epoch : 6 * epoch + 6] for n in numbers(pictures)]
        assert sorted(seen) == list(range(48))
    first, second = ([n for pictures, _ in batches[k : k + 6] for n in numbers(pictures)] for k in (0, 6))
    assert first != second


def test_images_keep_their_labels(images):
    for pictures, labels in stream(images):
        assert [number // 12 for number in numbers(pictures)] == labels.tolist()


@pytest.mark.parametrize(("first", "workers"), [(1, 0), (4, 0), (7, 0), (7, 2)])
def test_a_resumed_stream_goes_on_as_it_would_have(images, first, workers):
    whole, rest = (stream(images, begin, 0, 2, 3, workers) for begin in (0, first))
    assert [len(labels) for _, labels in whole[:2]] == [3, 1]
    for (one, label), (other, same) in zip(whole[2 * first :], rest, strict=True):
        assert torch.equal(one, other) and torch.equal(label, same)


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_has_every_image_once(images, workers):
    for world_size in (1, 3):
        seen = []
        for rank in range(world_size):
            for pictures, _ in Validation(images, RECIPE, CPU, Process(rank, world_size), workers):
                seen += numbers(pictures)
        assert sorted(seen) == list(range(48, 68))


def test_too_few_tar_files_for_the_processes_are_refused(folder, tmp_path, full_mode, refuses):
    images = open_images(RECIPE, str(write_shards(folder, tmp_path / "two", per_shard=24)))
    assert stream(images, rank=1, world_size=2)
    with refuses(ImagesError, "2 tar files", "3", "--workers"):
        stream(images, rank=2, world_size=3)


def test_a_cut_off_tar_file_is_told(images, described, tmp_path, refuses):
    content = json.loads(described.read_text())
    for name in content["train"]["shards"]:
        whole = (described.parent / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2 + 100])
    content["val"]["shards"] = []
    (tmp_path / "shards.json").write_text(json.dumps(content))
    with refuses(ImagesError, "tar file"):
        stream(open_images(RECIPE, str(tmp_path / "shards.json")))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"train": {"shards": ["a"]}}'])
def test_what_describes_no_set_is_refused(tmp_path, content, refuses):
    (tmp_path / "x.json").write_text(content)
    with refuses(ImagesError, "x.json", "convnext-lessons shards"):
        open_shards(str(tmp_path / "x.json"))


def test_a_missing_description_is_refused(tmp_path, refuses):
    with refuses(ImagesError, "y.json"):
        open_shards(str(tmp_path / "y.json"))


def test_tar_files_do_not_replace_a_folder(folder, tmp_path, refuses):
    with refuses(ImagesError, "already there"):
        write_shards(folder, tmp_path)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.skipif(not shutil.which("curl"), reason="webdataset downloads with curl")
def test_tar_files_come_over_a_network(described, full_mode, refuses):
    serve = functools.partial(Quiet, directory=described.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/shards.json"
        images = open_images(RECIPE, address)
        near = open_images(RECIPE, str(described))
        for (one, label), (other, same) in zip(stream(images), stream(near), strict=True):
            assert torch.equal(one, other) and torch.equal(label, same)
        server.shutdown()
    with refuses(ImagesError, "tar file"):
        stream(images)
    with refuses(ImagesError, "shards.json"):
        open_images(RECIPE, address)
