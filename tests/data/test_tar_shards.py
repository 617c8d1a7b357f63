import io
import itertools
import json
import shutil
import tarfile
from types import SimpleNamespace

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
    local_batch_size=None,
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


def stream(images, first=0, rank=0, world_size=1, workers=0, recipe=RECIPE):
    return list(training_stream(images, recipe, 0, first, CPU, Process(rank, world_size), workers))


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
    recipe = RECIPE.change(local_batch_size=3)
    whole, rest = (stream(images, begin, 0, 2, workers, recipe) for begin in (0, first))
    assert [len(labels) for _, labels in whole[:2]] == [3, 2]
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
    (tmp_path / "shards.json").write_text(json.dumps(content))
    with refuses(ImagesError, "The tar file"):
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


def test_tar_files_come_over_a_network(images, described, server, full_mode, refuses):
    remote = open_images(RECIPE, server.address(described))
    for (one, label), (other, same) in zip(stream(remote), stream(images), strict=True):
        assert torch.equal(one, other) and torch.equal(label, same)
    server.fault = "cut"
    with refuses(ImagesError, "tar file", "ended early"):
        stream(remote)
    server.shutdown()
    server.server_close()
    with refuses(ImagesError, "tar file"):
        stream(remote)
    with refuses(ImagesError, "shards.json"):
        open_images(RECIPE, server.address(described))


# What a stranger's description may and may not do ---------------------------------------------------------------------


@pytest.fixture
def describe(described, tmp_path):
    """``describe(train=…, …)`` writes the description of the small set with other content, beside its tar files."""

    def describe(split="train", **changes):
        content = json.loads(described.read_text())
        top = {name: changes.pop(name) for name in ("note", "classes") if name in changes}
        content |= top
        content[split] |= changes
        folder = tmp_path / "set"
        if not folder.exists():
            shutil.copytree(described.parent, folder)
        (folder / "shards.json").write_text(json.dumps(content))
        return folder / "shards.json"

    return describe


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("where", ["disk", "network"])
@pytest.mark.parametrize("name", ["pipe:touch {}; cat x.tar", "gs://bucket/x.tar", "scp:host:x.tar", "file://{}"])
def test_nothing_but_http_is_ever_opened(describe, server, tmp_path, split, where, name, full_mode, refuses):
    pwned = tmp_path / "pwned"
    path = describe(split, shards=[name.format(pwned)], counts=[])
    address = str(path) if where == "disk" else server.address(path)
    if where == "disk" and "://" not in name:  # a file of that odd name, which is not there
        images = open_images(RECIPE, address)
        with refuses(ImagesError, "tar file"):
            stream(images)
            list(Validation(images, RECIPE, CPU))
    else:
        with refuses(ImagesError, "http"):
            open_images(RECIPE, address)
            list(Validation(open_images(RECIPE, address), RECIPE, CPU))
    assert not pwned.exists()


@pytest.mark.parametrize("name", ["../other.tar", "/etc/hostname"])
def test_a_description_on_the_disk_names_files_below_its_folder_only(describe, name, refuses):
    with refuses(ImagesError, "below its own folder", name):
        open_shards(str(describe(shards=[name], counts=[])))


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1:1/x.json"])
def test_a_redirection_stays_with_http(described, server, target, refuses):
    server.fault = f"to {target}"
    with refuses(ImagesError, "edirect", target):
        open_shards(server.address(described))


def test_redirections_end(described, server, refuses):
    server.fault = f"to {server.address(described)}"
    with refuses(ImagesError, "shards.json"):
        open_shards(server.address(described))
    assert len(server.requests) <= 8


@pytest.mark.parametrize("address", ["http://[bad/x.json", "gopher://x/x.json", "data:,{}.json"])
def test_addresses_that_are_none_are_refused(address, refuses):
    with refuses(ImagesError, address):
        open_shards(address)


@pytest.mark.parametrize("count", ["many", None, 3.5, -1, True, 10**20])
def test_impossible_counts_are_refused(describe, count, refuses):
    with refuses(ImagesError, "the count of train"):
        open_shards(str(describe(count=count)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": "ab"}, "classes"),
        ({"classes": []}, "classes"),
        ({"classes": [1, 2]}, "classes"),
        ({"note": 7}, "note"),
        ({"shards": "train-000000.tar"}, "shards of train"),
        ({"shards": [], "counts": []}, "shards of train"),
        ({"shards": ["a\nb.tar"], "counts": []}, "cannot be printed"),
        ({"counts": [1, 2]}, "counts of train"),
    ],
)
def test_impossible_values_are_refused(describe, changes, words, refuses):
    with refuses(ImagesError, words):
        open_shards(str(describe(**changes)))


def test_words_of_a_description_can_be_printed(describe):
    images = open_shards(str(describe(note="\x1b[31mred\n", classes=["\x07a", "b\n", "c", "d"])))
    assert images.note == "�[31mred" and images.classes == ("�a", "b", "c", "d")


def test_a_tar_file_that_trickles_is_given_up(described, server, monkeypatch, full_mode, refuses):
    remote, clock = open_images(RECIPE, server.address(described)), itertools.count(0, 90)
    monkeypatch.setattr("convnext_lessons.data.remote.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with refuses(ImagesError, "too slow"):
        stream(remote)


def test_a_description_without_end_is_not_read(describe, monkeypatch, refuses):
    monkeypatch.setattr("convnext_lessons.data.tar_shards.LARGEST_DESCRIPTION", 100)
    with refuses(ImagesError, "larger than"):
        open_shards(str(describe()))


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def png(value=7):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (value,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], "0 samples"),
        ([("picture", b"x"), ("label", b"0")], "0 samples"),
        ([("a.png", png())], "no label"),
        ([("a.cls", b"0")], "no picture"),
        *(
            ([("a.png", png()), ("a.cls", label)], "label")
            for label in (b"99", b"-1", b"cat", b"1.0", b"", b"9" * 5000)
        ),
        ([("a\nb.png", png()), ("a\nb.cls", b"99")], "label"),
        ([("a.png", b"no picture"), ("a.cls", b"0")], "not a readable image"),
    ],
)
def test_tar_files_of_something_else_are_told(describe, members, words, full_mode, refuses):
    path = describe(shards=["odd.tar"], counts=[])
    write_tar(path.parent / "odd.tar", members)
    with refuses(ImagesError, words):
        stream(open_images(RECIPE, str(path)))


def test_a_tar_file_with_fewer_samples_than_promised_is_told(describe, full_mode, refuses):
    path = describe(shards=["short.tar"], counts=[48])
    write_tar(
        path.parent / "short.tar",
        [(f"{n}.{kind}", data) for n in "ab" for kind, data in (("png", png()), ("cls", b"0"))],
    )
    with refuses(ImagesError, "holds 2 samples where 48 were promised"):
        stream(open_images(RECIPE, str(path)))


def test_a_member_that_claims_to_be_huge_is_not_read(describe, monkeypatch, full_mode, refuses):
    monkeypatch.setattr("convnext_lessons.data.tar_shards.LARGEST_FILE", 10)
    with refuses(ImagesError, "claims", "bytes"):
        stream(open_images(RECIPE, str(describe())))
