import contextlib
import errno
import os
import random
import shutil
from dataclasses import replace

import pytest
import torch

from convnext_lessons.data import stand_in
from convnext_lessons.model import LAST_STEP
from convnext_lessons.runs import PAPER, RunStore, make_experiment
from convnext_lessons.system import StorageError
from convnext_lessons.system.storage import Locked
from convnext_lessons.training import CheckpointError, TrainingError, TrainOptions, load_run, read_log, train
from convnext_lessons.training.checkpoints import CHECKPOINT_VERSION, CheckpointFolder, read_checkpoint, with_checksum

CPU = torch.device("cpu")
SAVING = TrainOptions(save_steps=1)


@pytest.fixture(scope="module")
def images():
    return stand_in(32, train_count=64, val_count=40)


@pytest.fixture
def run(images, tmp_path):
    """``run(…)`` trains the paper's recipe in fast mode into ``tmp_path / "run"``."""

    def run(step=LAST_STEP, recipe=PAPER, options=SAVING, **settings):
        experiment = make_experiment(step, recipe)
        return train(experiment, images, device="cpu", folder=tmp_path / "run", options=options, **settings)

    return run


def reseal(saved, path):
    """Write a changed checkpoint as if it had been written so."""
    del saved["checksum"]
    torch.save(with_checksum(saved), path)


def stop_at(pictures):
    def report(point):
        if point["pictures"] == pictures:
            raise RuntimeError

    return report


def test_a_checkpoint_says_which_run_it_is_of(run, tmp_path):
    finished = run()
    saved = read_checkpoint(tmp_path / "run")
    assert saved["signature"]["recipe"]["name"] == "paper"
    assert (saved["steps"], saved["epochs_done"], saved["classes"]) == (16, 2, 10)
    assert saved["best"]["accuracy"] == max(p["accuracy"] for p in finished.record["curve"] if "accuracy" in p)
    assert {"network", "average", "optimizer", "scaler", "curve"} <= saved.keys()


@pytest.mark.parametrize("version", [CHECKPOINT_VERSION - 1, CHECKPOINT_VERSION + 1, None])
def test_a_checkpoint_of_another_version_is_refused(run, tmp_path, version, refuses):
    run()
    last = tmp_path / "run" / "last.pt"
    saved = torch.load(last, weights_only=True)
    saved["signature"]["version"] = version
    reseal(saved, last)
    before = last.read_bytes()
    with refuses(CheckpointError, "last.pt", "version"):
        run()
    with refuses(CheckpointError, "last.pt", "version"):
        load_run(tmp_path / "run", "cpu")
    assert last.read_bytes() == before


def test_a_checkpoint_whose_recipe_lacks_a_field_is_refused(run, tmp_path, refuses):
    run()
    last = tmp_path / "run" / "last.pt"
    saved = torch.load(last, weights_only=True)
    del saved["signature"]["recipe"]["first_size"]
    reseal(saved, last)
    with refuses(CheckpointError, "last.pt", "other recipe"):
        run()


def test_the_one_before_takes_the_place_of_a_damaged_checkpoint(run, tmp_path):
    whole = run()
    for path in (tmp_path / "run").glob("*.*"):
        path.unlink()
    with pytest.raises(RuntimeError):
        run(report=stop_at(40))
    last = tmp_path / "run" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"last\.pt is damaged; the run goes on from previous\.pt"):
        again = run()
    first, second = whole.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_checkpoint_before_goes_with_the_end_of_the_run(run, tmp_path):
    with pytest.raises(RuntimeError):
        run(report=stop_at(40))
    assert (tmp_path / "run" / "previous.pt").exists()
    run()
    assert not (tmp_path / "run" / "previous.pt").exists()


def test_without_a_good_checkpoint_nothing_is_begun(run, tmp_path, refuses):
    with pytest.raises(RuntimeError):
        run(report=stop_at(40))
    for name in ("last.pt", "previous.pt"):
        (tmp_path / "run" / name).write_bytes(b"torn")
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    with refuses(CheckpointError, "last.pt", "move it away"):
        run()
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize("other", [{"step": 10}, {"recipe": PAPER.change(learning_rate=1e-3)}])
def test_another_run_leaves_a_checkpoint_alone(run, tmp_path, other, refuses):
    run()
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with refuses(CheckpointError, "belongs to another run"):
        run(**other)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_weights_that_are_no_numbers_are_never_saved(run, tmp_path, monkeypatch, refuses):
    steps, step = [], torch.optim.AdamW.step

    def poison(self, *args, **kwargs):
        steps.append(step(self, *args, **kwargs))
        if len(steps) == 5:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(float("nan"))

    monkeypatch.setattr(torch.optim.AdamW, "step", poison)
    with refuses(TrainingError, "no longer a number", "learning_rate"):
        run()
    saved = read_checkpoint(tmp_path / "run")
    assert saved["steps"] == 4
    assert all(tensor.isfinite().all() for tensor in saved["network"].values())


def test_a_full_disk_leaves_the_last_good_state(run, tmp_path, monkeypatch, refuses):
    saves, save = [], torch.save

    def full(content, path):
        saves.append(path)
        save(content, path if len(saves) < 4 else "/dev/full")

    monkeypatch.setattr(torch, "save", full)
    with refuses(StorageError, "full"):
        run()
    monkeypatch.undo()
    monkeypatch.setenv("CONVNEXT_LESSONS_FAST", "1")
    assert read_checkpoint(tmp_path / "run")["steps"] == 3
    assert not list((tmp_path / "run").glob("*.part"))


def test_time_makes_checkpoints_too(run, tmp_path):
    with pytest.raises(RuntimeError):
        run(options=TrainOptions(save_minutes=0.0), report=stop_at(40))
    assert read_checkpoint(tmp_path / "run")["steps"] == 4


def test_checkpoints_are_no_waiting_for_pictures(full_mode, tmp_path):
    recipe = PAPER.fast().change(epochs=1)  # 32 steps, a point of the curve for every third
    run = train(
        make_experiment(LAST_STEP, recipe),
        stand_in(32, train_count=256, val_count=10),
        device="cpu",
        folder=tmp_path / "run",
        options=TrainOptions(save_steps=1, workers=0),
    )
    assert all(0 < point["waiting"] < 1 for point in run.record["curve"] if "waiting" in point)


def test_a_run_without_a_reason_saves_at_the_ends_of_epochs_only(run, tmp_path):
    with pytest.raises(RuntimeError):
        run(options=TrainOptions(), report=stop_at(40))
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize("step", [0, LAST_STEP])
def test_a_run_is_loaded_with_the_weights_that_were_judged(run, tmp_path, step):
    finished = run(step)
    experiment, network = load_run(tmp_path / "run", "cpu")
    assert experiment.step == str(step)
    assert not network.training
    first, second = finished.network.state_dict(), network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_network_with_batchnorm_keeps_no_average(run, tmp_path):
    run(0)
    assert "average" not in read_checkpoint(tmp_path / "run")


def test_a_log_is_read_while_it_is_written(run, tmp_path):
    finished = run()
    path = tmp_path / "run" / "log.jsonl"
    assert read_log(tmp_path / "run") == finished.record["curve"]
    path.write_text(path.read_text() + '{"pictures": 1')
    assert read_log(tmp_path / "run") == finished.record["curve"]


def test_where_no_run_has_begun_there_is_no_log(tmp_path, refuses):
    with refuses(CheckpointError, "log.jsonl"):
        read_log(tmp_path)
    with refuses(CheckpointError, "last.pt"):
        read_checkpoint(tmp_path)


def test_a_curve_goes_to_tensorboard(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    finished = run()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    told = {event.step: event.value for event in events.Scalars("loss")}
    expected = {point["pictures"]: point["loss"] for point in finished.record["curve"]}
    assert told == pytest.approx(expected)
    assert {"accuracy", "accuracy_unaveraged"} <= set(events.Tags()["scalars"])


# Checkpoints that know themselves, and folders with one writer --------------------------------------------------------


@pytest.fixture
def interrupted(run, tmp_path):
    """A run that was stopped with two checkpoints, ``last.pt`` and ``previous.pt``, and what it would have become."""
    whole = run()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RuntimeError):
        run(report=stop_at(40))
    return whole.network.state_dict()


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("part", range(8))
def test_a_flipped_bit_is_noticed_or_changes_nothing(run, tmp_path, part):
    run()
    last, generator = tmp_path / "run" / "last.pt", random.Random(part)
    whole, saved = last.read_bytes(), read_checkpoint(tmp_path / "run")
    for _ in range(12):
        flip(last, generator.randrange(8 * len(whole)))
        with contextlib.suppress(CheckpointError):
            assert with_checksum(read_checkpoint(tmp_path / "run"))["checksum"] == with_checksum(saved)["checksum"]
        last.write_bytes(whole)


def without_the_optimizer(saved):
    del saved["optimizer"]


def with_another_shape(saved):
    name = next(iter(saved["network"]))
    saved["network"][name] = saved["network"][name][:1]


def with_another_weight(saved):
    next(iter(saved["network"].values()))[0] += 1


@pytest.mark.parametrize("damage", [without_the_optimizer, with_another_shape, with_another_weight])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(run, interrupted, tmp_path, damage):
    last = tmp_path / "run" / "last.pt"
    saved = torch.load(last, weights_only=True)
    damage(saved)
    torch.save(saved, last)
    with pytest.warns(UserWarning, match="goes on from previous"):
        again = run().network.state_dict()
    assert all(torch.equal(interrupted[name], again[name]) for name in interrupted)


def test_a_checkpoint_between_two_names_is_found(run, interrupted, tmp_path):
    (tmp_path / "run" / "last.pt").rename(tmp_path / "run" / "new.pt")
    again = run().network.state_dict()
    assert all(torch.equal(interrupted[name], again[name]) for name in interrupted)


def test_a_checkpoint_that_may_not_be_read_is_kept(run, interrupted, tmp_path, monkeypatch, refuses):
    def forbidden(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("convnext_lessons.training.checkpoints.open", forbidden, raising=False)
    with refuses(CheckpointError, "Permission denied", "keep it"):
        run()


def test_a_run_is_not_resumed_on_other_images(run, images, tmp_path, refuses):
    run()
    others = {
        "classes": replace(images, classes=images.classes[::-1]),
        "counts": replace(images, train=images.train[:56], train_labels=images.train_labels[:56]),
    }
    for what, other in others.items():
        with refuses(CheckpointError, "another run", what):
            train(make_experiment(LAST_STEP, PAPER), other, "cpu", folder=tmp_path / "run", options=SAVING)


def test_two_runs_do_not_share_a_folder(run, tmp_path, refuses):
    def second(point):
        with refuses(Locked, f"process {os.getpid()}", str(tmp_path / "run"), "another folder"):
            run()
        raise RuntimeError("seen")

    with pytest.raises(RuntimeError, match="seen"):
        run(report=second)
    assert run().record["status"] == "complete"


def test_somebody_elses_log_is_kept_aside(run, tmp_path):
    (tmp_path / "run").mkdir()
    for content in ("somebody's\n", "somebody else's\n"):
        (tmp_path / "run" / "log.jsonl").write_text(content)
        with pytest.raises(RuntimeError):
            run(options=TrainOptions(), report=stop_at(40))
    assert (tmp_path / "run" / "log.old.jsonl").read_text() == "somebody's\n"
    assert (tmp_path / "run" / "log.old.2.jsonl").read_text() == "somebody else's\n"


def test_a_save_that_was_cut_off_at_the_end_of_a_run_is_ended(run, tmp_path):
    run()
    (tmp_path / "run" / "last.pt").rename(tmp_path / "run" / "new.pt")
    run()
    assert read_checkpoint(tmp_path / "run")["epochs_done"] == 2
    assert not (tmp_path / "run" / "new.pt").exists()


@pytest.mark.parametrize("broken", ["SummaryWriter.add_scalar", "SummaryWriter.flush", "SummaryWriter.close"])
def test_curves_that_find_no_room_are_told_in_words(run, tmp_path, monkeypatch, broken, refuses):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(f"torch.utils.tensorboard.{broken}", full)
        with refuses(StorageError, "full"):
            run()
    assert run().record["status"] == "complete"


def test_a_folder_that_cannot_be_begun_is_free_again(run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("convnext_lessons.training.checkpoints.write_json", full)
        with pytest.raises(StorageError, match="full") as kept:
            run()
    assert kept.tb  # the error still holds what was going on, as in a notebook
    assert run().record["status"] == "complete"


@pytest.mark.parametrize("name", ["new.pt", "log.jsonl", "writer.json"])
def test_what_a_killed_writer_left_is_swept(run, tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f".{name}.1234.part").write_bytes(b"half")
    run()
    assert not list((tmp_path / "run").glob(".*.part"))


def test_a_folder_without_a_name_is_refused(images, refuses):
    with refuses(CheckpointError, "no name"):
        train(make_experiment(0, PAPER), images, "cpu", folder="")


@pytest.mark.parametrize("line", ["7", "[]", "null", "\xff", "[" * 100_000, '{"pictures": 1}'])
def test_a_damaged_line_of_a_log_costs_that_line_alone(run, tmp_path, line):
    finished = run()
    with open(tmp_path / "run" / "log.jsonl", "ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    assert read_log(tmp_path / "run") == finished.record["curve"]


def test_a_finished_run_is_recorded_once_whatever_moment_it_is_cut_off_at(run, tmp_path, monkeypatch):
    store = RunStore(tmp_path / "ledger.jsonl")
    with monkeypatch.context() as cut:
        cut.setattr(RunStore, "append", lambda self, record: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            run(store=store)
    assert store.runs() == []
    for _ in range(2):
        run(store=store)
        assert [record["status"] for record in store.runs()] == ["complete"]


def test_a_run_without_a_folder_keeps_nothing():
    checkpoints = CheckpointFolder(None, {})
    assert checkpoints.begin(CPU) is None
    checkpoints.write({"pictures": 1})
    checkpoints.save({})
    checkpoints.end()


def test_only_one_process_writes(tmp_path):
    checkpoints = CheckpointFolder(tmp_path / "run", {}, writes=False)
    assert checkpoints.begin(CPU) is None
    checkpoints.write({"pictures": 1})
    checkpoints.save({})
    checkpoints.end()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["new.pt", "previous.pt"])
def test_what_a_kill_left_without_its_name_is_read_all_the_same(run, tmp_path, name):
    run()
    expected = read_checkpoint(tmp_path / "run")["steps"]
    (tmp_path / "run" / "last.pt").rename(tmp_path / "run" / name)
    assert read_checkpoint(tmp_path / "run")["steps"] == expected
    (tmp_path / "run" / "last.pt").write_bytes(b"damaged")
    assert read_checkpoint(tmp_path / "run")["steps"] == expected
