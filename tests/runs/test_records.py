import errno
import json
import multiprocessing
import os

import pytest
import torch

from convnext_lessons.data import stand_in
from convnext_lessons.model import LAST_STEP, RESNET50, STEPS, UnknownStep, architecture_after
from convnext_lessons.model.roadmap import LABELS
from convnext_lessons.runs import (
    Experiment,
    Recipe,
    RecordError,
    RunStore,
    group_name,
    make_experiment,
    read_measurements,
    records,
    reference_runs,
    validated_points,
)
from convnext_lessons.runs.records import SCHEMA, record_of, versions, write_measurements
from convnext_lessons.system import StorageError
from convnext_lessons.system.settings import reference_folder

RECIPE = Recipe("test", image_size=32, width_factor=1 / 8, epochs=4, batch_size=32, learning_rate=4e-3)


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "folder" / "runs.jsonl")


def run(number, **more):
    return {"schema": SCHEMA, "number": number, **more}


def numbers(store):
    return [found["number"] for found in store.runs()]


# Experiments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", LABELS)
def test_an_experiment_knows_its_step(label):
    whole = {step.changes[-1].label: str(step.number) for step in STEPS}
    assert make_experiment(label, RECIPE).step == whole.get(label, label)


@pytest.mark.parametrize("changes", [{"depths": (2, 3, 8, 3)}, {"stem": "patchify"}, {"width": 96}])
def test_an_experiment_beside_the_road_has_no_step(changes):
    assert Experiment(RESNET50.change(**changes), RECIPE).step is None


def test_an_experiment_of_an_unknown_step_is_refused(refuses):
    with refuses(UnknownStep, str(LAST_STEP + 1)):
        make_experiment(LAST_STEP + 1, RECIPE)


@pytest.mark.parametrize("step", [0, "3a", LAST_STEP])
def test_settings_survive_json(step):
    experiment = make_experiment(step, RECIPE.change(betas=(0.9, 0.95), mixup=0.8), seed=7)
    again = Experiment.from_settings(json.loads(json.dumps(experiment.settings())))
    assert again == experiment
    assert hash(again) == hash(experiment)


def test_settings_hold_everything_that_was_chosen():
    before = make_experiment(0, RECIPE).settings()
    assert make_experiment(1, RECIPE).settings() != before
    assert make_experiment(0, RECIPE.change(crop_scale=0.9)).settings() != before
    assert make_experiment(0, RECIPE, seed=1).settings() != before


def test_settings_are_plain_json():
    settings = make_experiment(LAST_STEP, RECIPE).settings()
    assert settings == json.loads(json.dumps(settings))


def test_old_settings_take_defaults_for_what_came_later():
    settings = make_experiment(0, RECIPE).settings()
    del settings["architecture"]["patch_size"]
    del settings["recipe"]["cutmix"]
    assert Experiment.from_settings(settings) == make_experiment(0, RECIPE)


# Records --------------------------------------------------------------------------------------------------------------


def record(curve=(), **result):
    images = stand_in(16, 20, 10)
    experiment = make_experiment("3a", RECIPE, seed=5)
    return record_of(experiment, images, torch.device("cpu"), "float32", list(curve), "complete", **result)


@pytest.mark.parametrize(
    "field", ["step", "recipe", "seed", "images", "device", "versions", "settings", "accuracy", "curve"]
)
def test_a_record_has_the_public_fields(field):
    assert field in record()


def test_a_record_says_what_ran():
    found = record(seconds=3.5)
    assert (found["step"], found["recipe"], found["seed"], found["seconds"]) == ("3a", "test", 5, 3.5)
    assert (found["images"]["train"], found["images"]["val"]) == (20, 10)
    assert "NOT Imagenette" in found["images"]["note"]
    assert (found["device"]["type"], found["device"]["threads"]) == ("cpu", torch.get_num_threads())
    assert found["versions"]["torch"] == torch.__version__
    assert Experiment.from_settings(found["settings"]) == make_experiment("3a", RECIPE, seed=5)


def test_a_record_survives_json():
    assert json.loads(json.dumps(record())) == record()


def test_a_records_accuracy_is_the_last_that_was_measured():
    points = [{"pictures": 1, "accuracy": 0.2}, {"pictures": 2, "accuracy": 0.4}, {"pictures": 3}]
    assert record(points)["accuracy"] == 0.4
    assert record([{"pictures": 3}])["accuracy"] is None


def test_a_records_validated_points_are_those_with_an_accuracy():
    points = [{"pictures": 1, "accuracy": 0.2}, {"pictures": 2}, {"pictures": 3, "accuracy": 0.4}]
    assert validated_points(record(points)) == [points[0], points[2]]
    assert validated_points(record()) == []


def test_a_run_belongs_to_its_variant_or_else_to_its_step():
    assert group_name(record()) == "step 3a"
    assert group_name({**record(), "variant": ""}) == "step 3a"
    assert group_name({**record(), "variant": "width 80"}) == "width 80"


@pytest.mark.parametrize(("value", "fast"), [("1", True), ("0", False)])
def test_a_record_says_whether_it_was_cut_down(value, fast, monkeypatch):
    monkeypatch.setenv("CONVNEXT_LESSONS_FAST", value)
    assert record()["fast"] is fast


# The store of runs ----------------------------------------------------------------------------------------------------


def test_an_absent_store_is_empty(store):
    assert store.runs() == []


def test_runs_come_back_oldest_first(store):
    for number in range(3):
        store.append(run(number, text="é\n\u2028", value=0.1))
    assert numbers(store) == [0, 1, 2]
    assert store.runs()[0] == run(0, text="é\n\u2028", value=0.1)


def test_a_run_is_a_line(store):
    store.append(run(0, text="a\nb"))
    store.append(run(1))
    assert len(store.path.read_bytes().splitlines()) == 2


def test_the_learners_runs_lie_in_the_data_folder(own_place):
    RunStore().append(run(0))
    # The lock stays beside it.
    assert {path.name for path in own_place.glob("[!.]*")} == {"ledger.jsonl"}


def torn(store):
    for number in range(3):
        store.append(run(number, curve=[1, 2, 3]))
    content = store.path.read_bytes()
    store.path.write_bytes(content[:-9])


def test_a_torn_line_is_left_out_with_a_warning(store):
    torn(store)
    with pytest.warns(UserWarning, match=r"Line 3 of .* cut off"):
        assert numbers(store) == [0, 1]


@pytest.mark.filterwarnings("ignore:Line 3 of")
def test_the_run_after_a_torn_line_is_kept(store):
    torn(store)
    store.append(run(3))
    store.append(run(4))
    assert numbers(store) == [0, 1, 3, 4]


@pytest.mark.filterwarnings("ignore:Line 3 of")
def test_a_line_torn_inside_a_letter_is_left_out(store):
    torn(store)
    store.path.write_bytes(store.path.read_bytes() + "é".encode()[:1])
    store.append(run(3))
    assert numbers(store) == [0, 1, 3]


@pytest.mark.parametrize("line", [{"number": 1}, {"schema": None}, {"schema": "one"}])
def test_a_line_without_a_version_is_damaged(store, line):
    """Every version of the course writes one, so that only damage can have taken it."""
    store.append(run(0))
    store.append(line)
    store.append(run(2))
    with pytest.warns(UserWarning, match=r"Line 2 of .* is damaged"):
        assert numbers(store) == [0, 2]


@pytest.mark.parametrize("schema", [0, SCHEMA + 1])
def test_a_store_of_another_version_is_refused(store, schema, refuses):
    store.append(run(0))
    store.append({"schema": schema})
    with refuses(RecordError, "Line 2", repr(schema), str(SCHEMA)):
        store.runs()


def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_store_as_it_was(store, monkeypatch, refuses):
    store.append(run(0))
    before = store.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with refuses(StorageError, "full"):
            store.append(run(1))
    assert store.path.read_bytes() == before
    store.append(run(2))
    assert numbers(store) == [0, 2]


def test_a_disk_that_fills_up_within_a_run_is_noticed(store, refuses):
    """The operating system then writes a part and says how much, and only the next write fails."""
    resource = pytest.importorskip("resource")
    store.append(run(0))
    before = store.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with refuses(StorageError, store.path.name):
            store.append(run(1, curve=" " * 2_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("record", [None, [1], run(0, accuracy=float("nan")), run(0, curve={1, 2})])
def test_what_is_no_record_is_refused_and_nothing_written(record, store, refuses):
    with refuses(RecordError, "no record of a run", "plain values"):
        store.append(record)
    assert not store.path.exists()


def test_a_store_below_a_file_is_refused(tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, "file"):
        RunStore(tmp_path / "file" / "runs.jsonl").append(run(0))


def append_many(path, first, together):
    store = RunStore(path)
    together.wait(60)
    for number in range(first, first + 50):
        store.append(run(number, curve=[number] * 5000))


def test_two_processes_lose_nothing(store):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    processes = [context.Process(target=append_many, args=(store.path, first, together)) for first in (0, 50)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = store.runs()
    assert sorted(run["number"] for run in found) == list(range(100))
    assert all(run["curve"] == [run["number"]] * 5000 for run in found)


# Reference runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "reference_folder", lambda: tmp_path)
    store = RunStore(tmp_path / "some.jsonl")
    for step in ("4", "3a"):
        for seed in (0, 1):
            store.append(run(0, step=step, seed=seed))


@pytest.mark.parametrize(
    ("wanted", "count"),
    [({}, 4), ({"step": "4"}, 2), ({"step": 4}, 2), ({"step": "3a", "seed": 1}, 1), ({"step": 5}, 0)],
)
def test_reference_runs_are_found_by_their_fields(stored, wanted, count):
    found = reference_runs("some", **wanted)
    assert len(found) == count
    assert all(str(found_run[key]) == str(value) for found_run in found for key, value in wanted.items())


def test_reference_runs_of_an_unknown_step_are_refused(stored, refuses):
    with refuses(UnknownStep, str(LAST_STEP + 1)):
        reference_runs("some", step=LAST_STEP + 1)


@pytest.mark.parametrize("path", sorted(reference_folder().glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_stored_runs_are_whole(path):
    for found in reference_runs(path.stem):
        experiment = Experiment.from_settings(found["settings"])
        assert experiment.step == found["step"]
        if found["step"]:  # a trial may be of a network beside the road
            assert experiment.architecture == architecture_after(found["step"])
        assert found["status"] == "complete"
        assert not found["fast"]
        assert found["images"]["source"] == "imagenette"
        assert 0 <= found["accuracy"] <= 1
        assert found["curve"][-1]["accuracy"] == found["accuracy"]


def test_labels_of_one_step_find_the_same_stored_runs():
    assert reference_runs("pocket", step="3b") == reference_runs("pocket", step=3) != []


# Measurements ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def reference(tmp_path, monkeypatch):
    """An empty reference folder."""
    folder = tmp_path / "reference"
    monkeypatch.setattr(records, "reference_folder", lambda: folder)
    return folder


def test_measurements_come_back_with_their_device_and_versions(reference):
    write_measurements("speed", {"name": "a device", "threads": 2}, {"rates": {"é": [1.5, None]}})
    assert read_measurements("speed") == {
        "schema": SCHEMA,
        "device": {"name": "a device", "threads": 2},
        "versions": versions(),
        "rates": {"é": [1.5, None]},
    }
    assert [path.name for path in reference.iterdir()] == ["speed.json"]


def test_measurements_are_replaced_as_a_whole(reference):
    write_measurements("speed", {}, {"rate": 1})
    write_measurements("speed", {}, {"seconds": 2})
    assert "rate" not in read_measurements("speed")
    assert read_measurements("speed")["seconds"] == 2


def test_measurements_may_go_to_another_folder(reference, tmp_path):
    write_measurements("speed", {}, {"rate": 1}, tmp_path / "elsewhere")
    assert json.loads((tmp_path / "elsewhere" / "speed.json").read_text())["rate"] == 1
    assert not reference.exists()


def test_measurements_that_cannot_be_written_are_refused(tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, "file"):
        write_measurements("speed", {}, {}, tmp_path / "file" / "folder")


def test_unknown_measurements_are_refused(refuses):
    with refuses(RecordError, "'weights'", "data/README.md"):
        read_measurements("weights")


@pytest.mark.parametrize("content", [b"", b'{"schema": 1', b"\xff\xfe"])
def test_damaged_measurements_are_refused(reference, content, refuses):
    reference.mkdir()
    (reference / "speed.json").write_bytes(content)
    with refuses(RecordError, "'speed'"):
        read_measurements("speed")


@pytest.mark.parametrize("path", sorted(reference_folder().glob("*.json")), ids=lambda path: path.stem)
def test_stored_measurements_say_what_made_them(path):
    found = read_measurements(path.stem)
    assert found["schema"] == SCHEMA
    assert found["device"]["name"]
    assert found["versions"].keys() >= versions().keys()


@pytest.mark.parametrize("line", ["7", "[]", "null", '"x"', "true", "[" * 100_000, "1" * 5000, "\xff"])
def test_a_line_that_holds_no_run_costs_that_line_alone(tmp_path, line):
    store = RunStore(tmp_path / "ledger.jsonl")
    store.append({"schema": SCHEMA, "number": 1})
    with open(store.path, "ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    store.append({"schema": SCHEMA, "number": 2})
    with pytest.warns(UserWarning, match="Line 2 of .* left out"):
        assert [run["number"] for run in store.runs()] == [1, 2]


def test_a_file_of_runs_that_may_not_be_read_is_one_sentence(tmp_path, refuses):
    (tmp_path / "ledger.jsonl").mkdir()
    with refuses(RecordError, "ledger.jsonl", "cannot be read"):
        RunStore(tmp_path / "ledger.jsonl").runs()


def test_a_run_is_kept_once_and_again_when_it_is_complete(tmp_path):
    store = RunStore(tmp_path / "ledger.jsonl")
    for status in ("interrupted", "interrupted", "complete", "complete"):
        store.append({"schema": SCHEMA, "run_id": "a", "status": status})
    store.append({"schema": SCHEMA, "run_id": "b", "status": "complete"})
    assert [(run["run_id"], run["status"]) for run in store.runs()] == [
        ("a", "interrupted"),
        ("a", "complete"),
        ("b", "complete"),
    ]
