import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from convnext_lessons.data import ImagesOnDisk, stand_in, validation_batches
from convnext_lessons.model import LAST_STEP, RESNET50
from convnext_lessons.runs import Experiment, Recipe, RunStore, make_experiment
from convnext_lessons.system import DeviceError, StorageError
from convnext_lessons.system.distributed import Process, Stopped
from convnext_lessons.training import (
    CheckpointError,
    Run,
    Trainer,
    TrainingError,
    TrainOptions,
    estimate_seconds,
    evaluate,
    make_network,
    train,
    trainer,
)
from convnext_lessons.training.evaluation import precision_for
from convnext_lessons.training.trainer import Stopwatch

CPU = torch.device("cpu")
PLAIN = Recipe("plain", image_size=32, width_factor=1 / 16, epochs=2, batch_size=8, learning_rate=4e-3)
# Everything that draws random numbers inside an epoch.
RANDOM = PLAIN.change(name="random", mixup=0.8, cutmix=1.0, label_smoothing=0.1, stochastic_depth=0.3)


@pytest.fixture(scope="module")
def images():
    return stand_in(32, train_count=64, val_count=40)


@pytest.fixture
def run_of(images):
    """``run_of(step, recipe, seed, …)`` trains on the CPU in fast mode: two epochs of eight tiny batches."""

    def run(step=2, recipe=PLAIN, seed=0, images=images, **settings):
        experiment = step if isinstance(step, Experiment) else make_experiment(step, recipe, seed)
        return train(experiment, images, device="cpu", **settings)

    return run


def learnt(run):
    """The curve without its times."""
    times = ("seconds", "images_per_second")
    return [{key: value for key, value in point.items() if key not in times} for point in run.record["curve"]]


def same_weights(one, other):
    first, second = one.network.state_dict(), other.network.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stop_at(pictures, failure=KeyboardInterrupt):
    def report(point):
        if point["pictures"] >= pictures:
            raise failure

    return report


# What a run is --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "recipe"), [(0, PLAIN), (LAST_STEP, RANDOM)], ids=["first", "last"])
def test_the_same_seed_gives_the_same_run(run_of, step, recipe):
    one, other = run_of(step, recipe, seed=3), run_of(step, recipe, seed=3)
    assert learnt(one) == learnt(other)
    assert same_weights(one, other)


def test_another_seed_gives_another_run(run_of):
    one, other = run_of(seed=3), run_of(seed=4)
    assert learnt(one) != learnt(other)
    assert not same_weights(one, other)


def test_a_run_does_not_depend_on_what_was_drawn_before(run_of):
    torch.manual_seed(1)
    one = run_of(recipe=RANDOM)
    torch.manual_seed(2)
    assert same_weights(one, run_of(recipe=RANDOM))


def test_training_moves_every_weight(run_of, images):
    run = run_of(LAST_STEP)
    fresh = make_network(make_experiment(LAST_STEP, PLAIN.fast()), len(images.classes), CPU)
    moved = dict(run.network.named_parameters())
    assert all(not torch.equal(parameter, moved[name]) for name, parameter in fresh.named_parameters())


def test_the_loss_falls_on_pictures_seen_often(full_mode):
    few = stand_in(32, train_count=16, val_count=10)
    small = RESNET50.change(depths=(1, 1), stem="patchify", width=128)
    recipe = PLAIN.change(epochs=40, crop_scale=1.0, warmup_epochs=1, initialization="fan_in")
    run = train(Experiment(small, recipe), few, device="cpu")
    losses = [point["loss"] for point in run.record["curve"]]
    assert losses[-1] < losses[0] / 2


def test_the_curve_counts_pictures_and_ends_every_epoch_with_an_accuracy(run_of):
    curve = run_of().record["curve"]
    pictures = [point["pictures"] for point in curve]
    assert pictures == sorted(pictures)
    assert {8 * batch for batch in range(1, 17)} == set(pictures)
    assert [point["pictures"] for point in curve if "accuracy" in point] == [64, 128]
    assert all(later["seconds"] >= sooner["seconds"] for sooner, later in itertools.pairwise(curve))


def test_every_point_of_the_curve_is_reported(run_of):
    points = []
    run = run_of(report=points.append)
    assert points == run.record["curve"]


def test_the_accuracy_is_that_of_the_network_it_returns(run_of, images):
    run = run_of()
    assert run.accuracy == run.record["accuracy"] == evaluate(run.network, validation_batches(images), CPU).accuracy
    assert not run.network.training


@pytest.mark.parametrize(
    "field", ["step", "recipe", "seed", "images", "device", "versions", "settings", "accuracy", "curve"]
)
def test_a_record_has_the_public_fields(run_of, field):
    assert field in run_of().record


def test_a_record_survives_json_and_repeats_the_run(run_of):
    run = run_of(LAST_STEP, RANDOM, seed=2)
    record = json.loads(json.dumps(run.record))
    assert record == run.record
    again = run_of(Experiment.from_settings(record["settings"]))
    assert learnt(again) == learnt(run)


def test_a_run_is_recorded_in_the_learners_store(run_of, own_place):
    run = run_of(5, seed=3)
    assert RunStore(own_place / "ledger.jsonl").runs() == [run.record]
    assert (run.record["step"], run.record["seed"], run.record["status"]) == ("5", 3, "complete")


def test_a_run_is_recorded_in_the_store_it_is_given(run_of, own_place, tmp_path):
    store = RunStore(tmp_path / "mine.jsonl")
    run = run_of(store=store)
    assert store.runs() == [run.record]
    assert not (own_place / "ledger.jsonl").exists()


def test_a_network_beside_the_road_can_be_trained(run_of):
    assert run_of(Experiment(RESNET50.change(stem="patchify"), PLAIN)).record["step"] is None


@pytest.mark.parametrize("label", ["0", "3a", "4", "6d", "8", "10", "11a", "11"])
def test_every_kind_of_step_trains(run_of, label):
    assert math.isfinite(run_of(label, RANDOM).record["curve"][-1]["loss"])


@pytest.mark.parametrize(
    "changes", [{"mixup": 0.8}, {"cutmix": 1.0}, {"layer_scale_init": 1e-6}, {"weight_decay": 0.5}]
)
def test_a_recipes_number_makes_another_run(run_of, changes):
    assert learnt(run_of(11, PLAIN.change(**changes))) != learnt(run_of(11))  # it has a layer scale


def test_every_step_has_the_rate_of_the_schedule(run_of, monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def noted(self, *args, **kwargs):
        rates.append({group["lr"] for group in self.param_groups})
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    run_of()
    # Eight steps an epoch, and the rate of each one's end, so that the first is above 0 and the last the lowest.
    assert rates == [{PLAIN.fast().learning_rate_at(number / 8)} for number in range(1, 17)]


def test_fast_mode_cuts_the_recipe_and_says_so(run_of):
    record = run_of(recipe=PLAIN.change(epochs=300, warmup_epochs=20)).record
    assert record["fast"] is True
    assert record["settings"]["recipe"]["epochs"] == 2


# Stopping and going on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "recipe"), [(0, PLAIN), (LAST_STEP, RANDOM)], ids=["first", "last"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_a_resumed_run_equals_an_uninterrupted_one(run_of, tmp_path, step, recipe, failure):
    whole = run_of(step, recipe)
    if failure is KeyboardInterrupt:
        assert run_of(step, recipe, folder=tmp_path, report=stop_at(90)).record["status"] == "interrupted"
    else:
        with pytest.raises(RuntimeError):
            run_of(step, recipe, folder=tmp_path, report=stop_at(90, failure))
    reported = []
    resumed = run_of(step, recipe, folder=tmp_path, report=reported.append)
    assert reported[0]["pictures"] == 64 + 8
    assert learnt(resumed) == learnt(whole)
    assert same_weights(resumed, whole)
    assert resumed.record["status"] == "complete"


def lines_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_log_is_the_curve(run_of, tmp_path):
    run = run_of(folder=tmp_path)
    assert lines_of(tmp_path) == run.record["curve"]


def test_the_log_of_a_resumed_run_says_nothing_twice(run_of, tmp_path):
    run_of(folder=tmp_path, report=stop_at(90))
    run = run_of(folder=tmp_path)
    assert lines_of(tmp_path) == run.record["curve"]


def test_a_run_that_stopped_in_its_first_epoch_begins_anew(run_of, tmp_path):
    run_of(folder=tmp_path, report=stop_at(20))
    run = run_of(folder=tmp_path)
    assert learnt(run) == learnt(run_of())
    assert lines_of(tmp_path) == run.record["curve"]


def test_a_finished_run_is_not_trained_again(run_of, tmp_path):
    first = run_of(folder=tmp_path)
    reported = []
    second = run_of(folder=tmp_path, report=reported.append)
    assert reported == []
    assert same_weights(first, second)
    assert second.record["curve"] == first.record["curve"]


def test_a_finished_run_is_recorded_once(run_of, tmp_path):
    store = RunStore(tmp_path / "runs.jsonl")
    for _ in range(2):
        run_of(folder=tmp_path / "run", store=store)
    assert len(store.runs()) == 1


@pytest.mark.parametrize("pictures", [8, 90])
def test_an_interruption_keeps_what_was_learnt(run_of, images, own_place, pictures):
    run = run_of(report=stop_at(pictures))
    assert run.record["status"] == "interrupted"
    assert run.record["curve"][-1]["pictures"] == math.ceil(pictures / 8) * 8
    assert run.accuracy == evaluate(run.network, validation_batches(images), CPU).accuracy
    assert not run.network.training
    assert RunStore(own_place / "ledger.jsonl").runs() == [run.record]


def test_an_interruption_before_the_first_point_is_kept_too(run_of, stopped_at_the_second_step):
    record = run_of(images=stand_in(32, 400, 40)).record
    assert (record["status"], record["curve"][-1]["pictures"]) == ("interrupted", 8)
    assert json.loads(json.dumps(record)) == record


def garbage(path):
    path.write_bytes(b"no archive at all")


def truncated(path):
    path.write_bytes(path.read_bytes()[:1000])


def emptied(path):
    path.write_bytes(b"")


def foreign(path):
    torch.save({"model": torch.zeros(3)}, path)


@pytest.mark.parametrize("damage", [garbage, truncated, emptied, foreign])
def test_a_damaged_checkpoint_is_refused(run_of, tmp_path, damage, refuses):
    run_of(folder=tmp_path)
    damage(tmp_path / "last.pt")
    with refuses(CheckpointError, str(tmp_path / "last.pt"), "move it away"):
        run_of(folder=tmp_path)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"recipe": PLAIN.change(learning_rate=1e-3)}, "recipe"),
        ({"step": 4}, "architecture"),
        ({"seed": 1}, "seed"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(run_of, tmp_path, other, word, refuses):
    run_of(folder=tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    with refuses(CheckpointError, str(tmp_path / "last.pt"), word):
        run_of(folder=tmp_path, **other)
    assert (tmp_path / "last.pt").read_bytes() == before


def test_a_run_leaves_its_log_its_checkpoint_and_its_weights_only(run_of, tmp_path):
    run_of(folder=tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob("[!.]*")) == [
        "last.pt",
        "log.jsonl",
        "tensorboard",
        "weights.safetensors",
    ]


def test_a_run_whose_time_is_over_saves_and_goes_on_later(run_of, tmp_path, refuses):
    whole = run_of()
    with refuses(Stopped, "after 8 pictures", "saved", "goes on from there"):
        run_of(folder=tmp_path, options=TrainOptions(seconds=0))
    resumed = run_of(folder=tmp_path)
    assert learnt(resumed) == learnt(whole)
    assert same_weights(resumed, whole)


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_is_told(run_of, refuses):
    with refuses(TrainingError, "no longer a number", "learning_rate", "1e+20"):
        run_of(LAST_STEP, PLAIN.change(learning_rate=1e20))


def test_pictures_of_another_size_are_refused(run_of, refuses):
    with refuses(TrainingError, "32", "48"):
        run_of(images=stand_in(48, 16, 10))


def test_fewer_pictures_than_a_batch_are_refused(run_of, refuses):
    with refuses(TrainingError, "5 training pictures", "batch_size"):
        run_of(images=stand_in(32, 5, 10))


def test_pictures_on_the_disk_are_refused_where_batches_are_augmented(run_of, refuses):
    on_disk = ImagesOnDisk("folder", "a folder", tuple("abc"), (), ())
    with refuses(TrainingError, "'plain'", "load_images"):
        run_of(images=on_disk)


def test_more_processes_than_pictures_in_a_batch_are_refused(run_of, refuses):
    with refuses(TrainingError, "9 processes", "batch of 8"):
        run_of(options=TrainOptions(process=Process(0, 9, 0, 9)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_an_absent_gpu_is_refused(images, refuses):
    with refuses(DeviceError, "cuda"):
        train(make_experiment(0, PLAIN), images, device="cuda")


def test_a_folder_that_cannot_be_written_is_refused(run_of, tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, str(tmp_path / "file")):
        run_of(folder=tmp_path / "file" / "run")


def test_a_store_that_cannot_be_written_is_told_before_the_training(run_of, tmp_path, monkeypatch, refuses):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONVNEXT_LESSONS_DATA", str(tmp_path / "file" / "data"))
    reported = []
    with refuses(StorageError, "CONVNEXT_LESSONS_DATA"):
        run_of(report=reported.append)
    assert reported == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_the_checkpoint_is_one_sentence(run_of, tmp_path, monkeypatch, refuses):
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, path: save(content, "/dev/full"))
    with refuses(StorageError, "full"):
        run_of(folder=tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").glob("[!.]*")} == {"log.jsonl", "tensorboard"}


# A run in words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "step 4, seed 2: 61.2%"),
        ({"step": None}, "beside the road, seed 2: 61.2%"),
        ({"accuracy": None}, "step 4, seed 2: accuracy not measured"),
        ({"status": "interrupted"}, "step 4, seed 2: 61.2%, interrupted after 1,024 pictures"),
        ({"status": "interrupted", "accuracy": None, "curve": []}, "not measured, interrupted after 0 pictures"),
    ],
)
def test_a_run_in_words(changes, words):
    record = {"step": "4", "seed": 2, "accuracy": 0.6123, "status": "complete", "curve": [{"pictures": 1024}]}
    assert str(Run({**record, **changes}, None)).endswith(words)


# The stopwatch --------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: ``clock.now`` is what it shows."""
    clock = SimpleNamespace(now=100.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(trainer, "time", clock)
    return clock


def test_a_stopwatch_counts_what_is_between_start_and_stop(clock):
    watch = Stopwatch()
    assert watch.seconds == 0
    clock.now += 5
    assert watch.seconds == 0  # not started yet
    watch.start()
    clock.now += 2
    assert watch.seconds == 2  # read while it runs
    clock.now += 1
    watch.stop()
    clock.now += 10
    assert watch.seconds == 3  # stopped
    watch.start()
    clock.now += 4
    watch.stop()
    assert watch.seconds == 7


def test_a_stopwatch_goes_on_from_what_was_counted_before(clock):
    watch = Stopwatch(60.0)
    assert watch.seconds == 60
    watch.start()
    clock.now += 1.5
    watch.stop()
    watch.stop()  # once more changes nothing
    assert watch.seconds == 61.5


def test_validation_does_not_count_as_training(run_of, monkeypatch, clock):
    step, validate = Trainer.step, Trainer.validate

    def slow_step(self, micro_batches, progress):
        clock.now += 1
        return step(self, micro_batches, progress)

    def slow_validate(self):
        clock.now += 1000
        return validate(self)

    monkeypatch.setattr(Trainer, "step", slow_step)
    monkeypatch.setattr(Trainer, "validate", slow_validate)
    run = run_of()
    assert [point["seconds"] for point in run.record["curve"]][-1] == run.record["seconds"] == 16
    # Eight pictures a step, a second each; a validation trains on none.
    rates = [point.get("images_per_second") for point in run.record["curve"]]
    assert set(rates) == {8.0, None} and rates.count(None) == 2


def test_a_rate_is_that_since_the_last_point(run_of, monkeypatch, clock):
    step, seconds = Trainer.step, iter([1, 3, *[2] * 6, *[1000] * 8])

    def slow_step(self, local_batches, progress):
        clock.now += next(seconds)
        return step(self, local_batches, progress)

    monkeypatch.setattr(Trainer, "step", slow_step)
    curve = run_of().record["curve"]
    assert [point["pictures"] for point in curve[:3]] == [8, 16, 24]
    assert [point["images_per_second"] for point in curve[:3]] == [8.0, 2.667, 4.0]
    assert {point.get("images_per_second") for point in curve[9:]} == {0.008, None}


def test_local_batches_are_taken_when_they_are_needed(images, run_of, monkeypatch):
    events, stream, accumulate = [], trainer.training_stream, Trainer._accumulate

    def noted(*arguments):
        for batch in stream(*arguments):
            events.append("taken")
            yield batch

    def used(self, *arguments):
        events.append("used")
        return accumulate(self, *arguments)

    monkeypatch.setattr(trainer, "training_stream", noted)
    monkeypatch.setattr(Trainer, "_accumulate", used)
    run_of(recipe=PLAIN.change(local_batch_size=2))
    assert events == ["taken", "used"] * (4 * 16)


# Around the loop ------------------------------------------------------------------------------------------------------


def test_precision_on_the_cpu():
    assert precision_for(CPU) == torch.float32


def test_a_run_in_bfloat16_is_told_and_learns_otherwise(run_of):
    low = run_of(options=TrainOptions(precision=torch.bfloat16))
    assert low.record["device"]["precision"] == "bfloat16"
    assert learnt(low) != learnt(run_of())
    assert all(parameter.dtype == torch.float32 for parameter in low.network.parameters())


@pytest.mark.parametrize(("before", "after"), [(None, torch.float16), (torch.float16, None)])
def test_a_run_goes_on_in_another_number_format(run_of, tmp_path, before, after):
    with pytest.raises(Stopped):
        run_of(folder=tmp_path, options=TrainOptions(precision=before, seconds=0))
    assert run_of(folder=tmp_path, options=TrainOptions(precision=after)).record["status"] == "complete"


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_the_length_of_the_gradient_is_the_gradients(run_of, images, monkeypatch, precision):
    lengths = []

    class Optimizer(torch.optim.SGD):
        def step(self, closure=None):
            gradients = [weight.grad.flatten() for group in self.param_groups for weight in group["params"]]
            lengths.append(torch.cat(gradients).norm().item())
            super().step(closure)

    monkeypatch.setattr(Recipe, "make_optimizer", lambda recipe, network: Optimizer(network.parameters(), lr=1e-3))
    curve = run_of(options=TrainOptions(precision=precision)).record["curve"]
    told = [point["gradient_norm"] for point in curve if point.get("gradient_norm")]
    nearest = [min(lengths, key=lambda length: abs(length - one)) for one in told]
    assert told and told == pytest.approx(nearest, rel=1e-3)


def test_a_run_whose_pictures_grow(full_mode, monkeypatch):
    sizes, step = [], Trainer.step

    def noted(self, local_batches, progress):
        local_batches = list(local_batches)
        sizes.append(local_batches[0][0].shape[-1])
        return step(self, local_batches, progress)

    monkeypatch.setattr(Trainer, "step", noted)
    growing = PLAIN.change(epochs=3, image_size=64, first_size=48)
    train(make_experiment(2, growing), stand_in(64, train_count=64, val_count=40), device="cpu")
    assert sizes == [48] * 8 + [56] * 8 + [64] * 8


def test_a_network_is_thinned_and_drawn_from_the_seed():
    one, other, third = (make_network(make_experiment(LAST_STEP, PLAIN, seed), 10, CPU) for seed in (1, 1, 2))
    assert one.arch.width == 96 / 16
    assert torch.equal(one.stem[0].weight, other.stem[0].weight)
    assert not torch.equal(one.stem[0].weight, third.stem[0].weight)


def test_an_estimate_is_some_seconds(images):
    assert estimate_seconds(make_experiment(LAST_STEP, RANDOM), images, device="cpu") > 0


@pytest.mark.parametrize("count", [8, 20])
def test_an_estimate_makes_do_with_few_pictures(count):
    assert estimate_seconds(make_experiment(2, PLAIN), stand_in(32, count, 10), device="cpu") > 0


def test_an_estimate_refuses_what_training_refuses(refuses):
    with refuses(TrainingError, "batch_size"):
        estimate_seconds(make_experiment(2, PLAIN), stand_in(32, 5, 10), device="cpu")
    with refuses(TrainingError, "48"):
        estimate_seconds(make_experiment(2, PLAIN), stand_in(48, 20, 10), device="cpu")


def test_an_estimate_leaves_no_trace(images, own_place):
    estimate_seconds(make_experiment(2, PLAIN), images, device="cpu")
    assert not own_place.exists()
