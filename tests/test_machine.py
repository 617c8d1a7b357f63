import errno
import os
import tempfile

import pytest
import torch

from convnext_lessons import machine
from convnext_lessons.machine import CourseError, DeviceError, StorageError


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
@pytest.mark.parametrize("mode", ["fast", "static"])
def test_modes_follow_the_environment(mode, value, expected, monkeypatch):
    name = f"CONVNEXT_LESSONS_{mode.upper()}"
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)
    assert getattr(machine, f"{mode}_mode")() is expected


def test_device_is_the_one_asked_for():
    assert machine.device("cpu") == torch.device("cpu")


def test_device_prefers_a_gpu():
    assert machine.device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_unknown_device_is_refused(refuses):
    with refuses(DeviceError, "abacus", "cpu"):
        machine.device("abacus")


def test_gpu_beyond_those_there_are_is_refused(refuses):
    with refuses(DeviceError, "cuda:99", str(torch.cuda.device_count())):
        machine.device("cuda:99")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_absent_gpu_is_refused(refuses):
    with refuses(DeviceError, "'cuda'", "0 GPUs"):
        machine.device("cuda")


@pytest.mark.parametrize("name", ["meta", "xpu"])
def test_a_device_that_cannot_train_here_is_refused(name, refuses):
    if name == "xpu" and torch.xpu.is_available():
        pytest.skip("there is an XPU here")
    with refuses(DeviceError, name):
        machine.device(name)


def test_device_has_a_name():
    assert machine.device_name(torch.device("cpu")).strip()


def test_data_folder_is_the_one_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVNEXT_LESSONS_DATA", str(tmp_path / "here"))
    assert machine.data_folder() == tmp_path.resolve() / "here"


def test_data_folder_of_a_checkout_does_not_depend_on_the_working_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("CONVNEXT_LESSONS_DATA")
    monkeypatch.setattr(machine, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.chdir(tmp_path)
    assert machine.data_folder() == tmp_path / "checkout" / "data"


def test_data_folder_of_an_installed_package_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("CONVNEXT_LESSONS_DATA")
    monkeypatch.setattr(machine, "CHECKOUT", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine.data_folder().parent == tmp_path


def test_reference_runs_travel_inside_an_installed_package(monkeypatch):
    monkeypatch.setattr(machine, "CHECKOUT", None)
    assert machine.reference_folder().parent == machine.PACKAGE


def test_made_makes_parents_and_takes_what_is_there(tmp_path):
    assert machine.made(machine.made(tmp_path / "a" / "b")).is_dir()


def test_folder_below_a_file_is_refused(tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, "file", "CONVNEXT_LESSONS_DATA"):
        machine.made(tmp_path / "file" / "folder")


def test_atomic_moves_the_content_into_place(tmp_path):
    with machine.atomic(tmp_path / "deep" / "name") as part:
        part.write_text("new")
        assert not (tmp_path / "deep" / "name").exists()
    assert (tmp_path / "deep" / "name").read_text() == "new"
    assert os.listdir(tmp_path / "deep") == ["name"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_atomic_keeps_the_old_content_after_a_failure(tmp_path, failure):
    (tmp_path / "name").write_text("old")
    with pytest.raises(failure), machine.atomic(tmp_path / "name") as part:
        part.write_text("half")
        raise failure
    assert os.listdir(tmp_path) == ["name"]
    assert (tmp_path / "name").read_text() == "old"


def test_atomic_on_a_full_disk_is_one_sentence(tmp_path, refuses):
    with refuses(StorageError, "full"), machine.atomic(tmp_path / "name"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_atomic_below_a_file_is_one_sentence(tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, "file"), machine.atomic(tmp_path / "file" / "name"):
        pass


def test_atomic_folder_appears_whole(tmp_path):
    with machine.atomic_folder(tmp_path / "folder") as part:
        (part / "inside").write_text("content")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder" / "inside").read_text() == "content"
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_atomic_folder_leaves_nothing_after_a_failure(tmp_path, failure):
    with pytest.raises(failure), machine.atomic_folder(tmp_path / "folder") as part:
        (part / "inside").write_text("half")
        raise failure
    assert os.listdir(tmp_path) == []


def test_atomic_folder_on_a_full_disk_is_one_sentence(tmp_path, monkeypatch, refuses):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with refuses(StorageError, "full"), machine.atomic_folder(tmp_path / "folder"):
        pass


@pytest.mark.parametrize("error", [DeviceError, StorageError])
def test_errors_share_a_base(error):
    assert issubclass(error, CourseError)
