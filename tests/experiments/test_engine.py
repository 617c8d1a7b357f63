import statistics
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from convnext_lessons import cli
from convnext_lessons.data import open_images, stand_in
from convnext_lessons.experiments import engine
from convnext_lessons.experiments.engine import IN_THE_LOADER, IN_THE_STEP, measure_checkpoint, measure_techniques
from convnext_lessons.model import LAST_STEP
from convnext_lessons.runs import PAPER, make_experiment, read_measurements, records
from convnext_lessons.training.budget import make_trainer_without_images

SMALL = PAPER.fast()


@pytest.fixture(scope="module")
def images():
    return stand_in(32, train_count=64, val_count=40)


def test_every_technique_of_the_recipe_is_measured(images):
    experiment = make_experiment(LAST_STEP, SMALL.change(epochs=300))
    found = measure_techniques(experiment, images, "cpu", rounds=1, seconds=0.05)
    assert found.keys() == IN_THE_LOADER.keys() | IN_THE_STEP.keys()
    assert all(len(ratios) == 1 and ratios[0] > 0 for ratios in found.values())


def test_a_ratio_is_the_time_with_a_technique_over_that_without(images, monkeypatch):
    def loader_rate(images, recipe, seconds, device):
        assert device == torch.device("cpu")  # noise is made there
        return 50 if recipe == SMALL else 200

    def step_rate(experiment, device, seconds):
        return 10 if experiment.recipe == SMALL else 12

    monkeypatch.setattr(engine, "measure_loader_rate", loader_rate)
    monkeypatch.setattr(engine, "measure_step_rate", step_rate)
    found = measure_techniques(make_experiment(LAST_STEP, SMALL), images, "cpu", rounds=3)
    assert found.keys() == IN_THE_LOADER.keys() | IN_THE_STEP.keys()
    for name, ratios in found.items():
        assert ratios == pytest.approx([4.0 if name in IN_THE_LOADER else 1.2] * 3)


@pytest.mark.parametrize("changes", [*IN_THE_LOADER.values(), *IN_THE_STEP.values()])
def test_a_recipe_without_a_technique_is_another_recipe(changes):
    assert PAPER.change(**changes) != PAPER


def test_a_checkpoint_is_as_large_as_what_it_holds():
    experiment = make_experiment(LAST_STEP, SMALL)
    seconds, size = measure_checkpoint(experiment, "cpu", rounds=1)
    network = make_trainer_without_images(experiment, torch.device("cpu")).network
    parameters = sum(parameter.numel() for parameter in network.parameters())
    # The weights, their average, and AdamW's two moments, four bytes each, and names beside them.
    assert seconds > 0 and 16 * parameters < size < 20 * parameters + 500_000


def test_photographs_have_imagenets_size(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "dataset_folder", lambda dataset: tmp_path / dataset.name)
    folder = tmp_path / "imagenette" / "train" / "n01440764"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (20, 30), (80 * number, 0, 0)).save(folder / f"{number}.JPEG")
    large = tmp_path / "large"
    engine.write_photographs(large, count=6)
    assert [len(list((large / split).rglob("*.jpg"))) for split in ("train", "val")] == [5, 1]
    for path in large.rglob("*.jpg"):
        with Image.open(path) as opened:
            assert opened.size == engine.PHOTOGRAPH


def test_processes_are_measured_from_the_logs_of_runs(monkeypatch):
    rates = {("1", "1"): [100, 110], ("1", "2"): [150, 160], ("2", "1"): [170, 200]}
    left = {key: list(values) for key, values in rates.items()}
    lines = []

    def run(command, check, capture_output, env):
        assert check and capture_output and command[:3] == [sys.executable, "-m", "torch.distributed.run"]
        options = cli._parser().parse_args(command[command.index("convnext_lessons") + 1 :])
        assert (options.run, options.recipe, options.images, options.device) == (
            cli.train,
            "rehearsal",
            "imagenette",
            "cpu",
        )
        (processes,) = [word.split("=")[1] for word in command if word.startswith("--nproc-per-node=")]
        rate = left[processes, env["OMP_NUM_THREADS"]].pop(0)
        (Path(options.out) / "log.jsonl").write_text(f'{{"pictures": {10 * rate}, "seconds": 10}}\n')

    monkeypatch.setattr(engine.subprocess, "run", run)
    found = engine._measure_processes(lines.append)
    assert found == {
        f"{processes} × {threads} threads": statistics.median(values) for (processes, threads), values in rates.items()
    }
    assert len(lines) == 1


def test_what_was_measured_is_kept(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(records, "reference_folder", lambda: tmp_path)
    monkeypatch.setattr(engine, "write_photographs", lambda folder: None)
    monkeypatch.setattr(engine, "open_images", lambda recipe, source: open_images(SMALL))  # the stand-in
    monkeypatch.setattr(engine, "measure_loader_rate", lambda images, recipe, seconds: 290.0)
    monkeypatch.setattr(engine, "measure_parts", lambda images, experiment, device: {"decode": [0.6]})
    monkeypatch.setattr(engine, "measure_techniques", lambda experiment, images, device: {"mixup": [1.5]})
    monkeypatch.setattr(engine, "measure_checkpoint", lambda experiment, device: (0.5, 123))
    monkeypatch.setattr(engine, "_measure_processes", lambda progress: {"1 × 1 threads": 100.0})
    engine.make_engine(lines.append)
    kept = read_measurements("engine")
    assert kept["device"].keys() == {"name", "threads"}
    assert kept["loader"] == {"recipe": "paper", "file_size": list(engine.PHOTOGRAPH), "images_per_second": 290.0}
    parts = {"recipe": "paper", "file_size": list(engine.PHOTOGRAPH), "milliseconds": {"decode": [0.6]}}
    assert kept["parts"] == parts
    assert kept["techniques"] == {"mixup": [1.5]}
    assert kept["checkpoint"] == {"seconds": 0.5, "bytes": 123}
    assert kept["processes"] == {"1 × 1 threads": 100.0}
    assert "NOT Imagenette" in kept["images"]
    assert len(lines) == 4


def test_the_stored_measurements_are_of_todays_techniques():
    stored = read_measurements("engine")
    assert stored["techniques"].keys() == IN_THE_LOADER.keys() | IN_THE_STEP.keys()
    assert {"images", "loader", "checkpoint", "processes"} <= stored.keys()
