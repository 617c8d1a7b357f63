import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from convnext_lessons.system import (
    CourseError,
    StorageError,
    atomic,
    atomic_folder,
    read_json,
    save_tensors,
    storage,
    write_json,
)
from convnext_lessons.system.storage import Locked, ensure_folder, locked, locked_or_refused, sweep_parts


def test_a_folder_is_created_with_its_parents_or_taken_as_it_is(tmp_path):
    assert ensure_folder(ensure_folder(tmp_path / "a" / "b")).is_dir()


def test_folder_below_a_file_is_refused(tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, "file", "another folder"):
        ensure_folder(tmp_path / "file" / "folder")


def test_atomic_moves_the_content_into_place(tmp_path):
    with atomic(tmp_path / "deep" / "name") as part:
        part.write_text("new")
        assert not (tmp_path / "deep" / "name").exists()
    assert (tmp_path / "deep" / "name").read_text() == "new"
    assert os.listdir(tmp_path / "deep") == ["name"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_atomic_keeps_the_old_content_after_a_failure(tmp_path, failure):
    (tmp_path / "name").write_text("old")
    with pytest.raises(failure), atomic(tmp_path / "name") as part:
        part.write_text("half")
        raise failure
    assert os.listdir(tmp_path) == ["name"]
    assert (tmp_path / "name").read_text() == "old"


def test_atomic_on_a_full_disk_is_one_sentence(tmp_path, refuses):
    with refuses(StorageError, "full"), atomic(tmp_path / "name"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_atomic_below_a_file_is_one_sentence(tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, "file"), atomic(tmp_path / "file" / "name"):
        pass


def test_atomic_folder_appears_whole(tmp_path):
    with atomic_folder(tmp_path / "folder") as part:
        (part / "inside").write_text("content")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder" / "inside").read_text() == "content"
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_atomic_folder_leaves_nothing_after_a_failure(tmp_path, failure):
    with pytest.raises(failure), atomic_folder(tmp_path / "folder") as part:
        (part / "inside").write_text("half")
        raise failure
    assert os.listdir(tmp_path) == []


def test_atomic_folder_on_a_full_disk_is_one_sentence(tmp_path, monkeypatch, refuses):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    with refuses(StorageError, "full"), atomic_folder(tmp_path / "folder"):
        pass


@pytest.mark.parametrize("content", [{"macs": [1, 2.5, None], "name": "Größe"}, [], "text", None])
def test_json_is_read_as_it_was_written(tmp_path, content):
    write_json(tmp_path / "deep" / "name.json", content)
    assert read_json(tmp_path / "deep" / "name.json") == content
    assert os.listdir(tmp_path / "deep") == ["name.json"]


def test_json_ends_in_a_line_break(tmp_path):
    write_json(tmp_path / "name.json", {"a": 1})
    assert (tmp_path / "name.json").read_text() == '{\n "a": 1\n}\n'


def test_json_that_cannot_be_written_keeps_the_old_content(tmp_path):
    write_json(tmp_path / "name.json", ["old"])
    with pytest.raises(TypeError):
        write_json(tmp_path / "name.json", ["new", object()])
    assert read_json(tmp_path / "name.json") == ["old"]
    assert os.listdir(tmp_path) == ["name.json"]


def test_json_on_a_full_disk_keeps_the_old_content(tmp_path, monkeypatch, refuses):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_json(tmp_path / "name.json", ["old"])
    monkeypatch.setattr(os, "replace", full)
    with refuses(StorageError, "full"):
        write_json(tmp_path / "name.json", ["new"])
    assert read_json(tmp_path / "name.json") == ["old"]
    assert os.listdir(tmp_path) == ["name.json"]


def test_json_that_is_missing_or_broken_is_told_apart(tmp_path):
    with pytest.raises(OSError):
        read_json(tmp_path / "missing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError):
        read_json(tmp_path / "broken.json")


def test_tensors_are_read_as_they_were_saved(tmp_path):
    save_tensors({"weights": torch.arange(3)}, tmp_path / "deep" / "name.pt")
    assert torch.equal(torch.load(tmp_path / "deep" / "name.pt")["weights"], torch.arange(3))
    assert os.listdir(tmp_path / "deep") == ["name.pt"]


def test_the_variable_is_named_only_where_it_helps(own_place, tmp_path, refuses):
    own_place.parent.mkdir(exist_ok=True)
    own_place.touch()  # a file in the data folder's place
    with refuses(StorageError, "CONVNEXT_LESSONS_DATA"):
        ensure_folder(own_place / "cache")


def test_an_error_about_another_file_is_not_one_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "name"):
        (tmp_path.parent / "nowhere").read_bytes()


def test_files_and_folders_get_the_usual_rights(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic(tmp_path / "name"), atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "name").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_the_folder_is_brought_to_the_disk_after_a_rename(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(storage, "sync_folder", synced.append)
    write_json(tmp_path / "name.json", [])
    assert synced == [tmp_path]


def test_parts_of_killed_writers_are_swept_and_nothing_else(tmp_path):
    (tmp_path / ".name.1234.part").touch()
    (tmp_path / ".name.5678.part").mkdir()
    for other in (".other.1234.part", "name", "name.part"):
        (tmp_path / other).touch()
    sweep_parts(tmp_path / "name")
    assert sorted(os.listdir(tmp_path)) == [".other.1234.part", "name", "name.part"]


def test_one_at_a_time_works_on_a_locked_path(tmp_path, refuses):
    waited = []
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / "name"):
            with refuses(Locked, "busy"), locked_or_refused(tmp_path / "name", "It is busy."):
                pass
            done = pool.submit(hold, tmp_path / "name", waited.append)
            while not waited:
                time.sleep(0.01)
            assert not done.done()
        assert done.result() == "held"
    with locked_or_refused(tmp_path / "name", "It is busy."):
        pass


def hold(path, on_wait):
    with locked(path, lambda: on_wait(path)):
        return "held"


def test_a_disk_without_locks_is_told_and_used(tmp_path, monkeypatch):
    def none(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    with pytest.warns(UserWarning, match="has no locks"), locked(tmp_path / "name"):
        pass


def test_a_storage_error_is_one_of_the_courses():
    assert issubclass(StorageError, CourseError)
