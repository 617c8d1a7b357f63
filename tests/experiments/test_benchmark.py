import json

import pytest
import timm
import torch
from PIL import Image

from convnext_lessons.experiments import benchmark
from convnext_lessons.experiments.benchmark import (
    benchmark_tables,
    make_benchmark,
    measure_networks,
    measure_recipe_loader,
    measure_steps,
    peers,
)
from convnext_lessons.model import LAST_STEP
from convnext_lessons.runs import PAPER, read_measurements
from convnext_lessons.system import reference_folder


def silent(words):
    pass


def test_peers_are_the_same_networks():
    counts = {
        step: {name: sum(p.numel() for p in make().parameters()) for name, make in others.items()}
        for step, others in peers().items()
    }
    assert counts["0"].keys() == {"torchvision", "timm"} and set(counts["0"].values()) == {25_557_032}
    assert counts["11"].keys() == {"torchvision", "timm", "timm, conv_mlp"}
    assert set(counts["11"].values()) == {28_589_128}


def test_every_end_is_held_against_every_peer():
    ratios = measure_networks(rounds=1, side=32, batch=2, progress=silent)
    assert len(ratios) == 2 * 2 + 2 * 3
    assert all(ratio > 0 for values in ratios.values() for ratio in values)


def test_every_step_is_held_against_the_first():
    ratios = measure_steps(rounds=2, side=32, batch=2, progress=silent)
    assert set(ratios) >= {"3a", "6a", *(str(step) for step in range(1, LAST_STEP + 1))}
    assert not {"0", "3b", "11b"} & set(ratios)
    assert all(len(values) == 2 and min(values) > 0 for values in ratios.values())


def small_photographs(folder):
    for split, count in (("train", 9), ("val", 1)):
        (folder / split / "a").mkdir(parents=True)
        for number in range(count):
            Image.effect_noise((64, 48), 90).convert("RGB").save(folder / split / "a" / f"{number}.jpg")


def test_the_papers_loader_is_held_against_torchvisions_and_timms(monkeypatch, full_mode):
    monkeypatch.setattr(benchmark, "write_photographs", small_photographs)
    monkeypatch.setattr(benchmark, "LOADED", 4)
    lines = []
    ratios = measure_recipe_loader(rounds=2, pictures=8, progress=lines.append)
    assert [name.split(", ")[1] for name in ratios] == ["torchvision's reference", "timm"]
    assert all(len(values) == 2 and min(values) > 0 for values in ratios.values()) and len(lines) == 2


@pytest.mark.parametrize(
    ("make", "dtype"), [(benchmark._reference_loader, torch.float32), (benchmark._timm_loader, torch.uint8)]
)
def test_peers_bring_what_the_paper_needs(make, dtype, tmp_path, monkeypatch):
    small_photographs(tmp_path)
    monkeypatch.setattr(benchmark, "LOADED", 4)
    (pictures, labels), _ = make(tmp_path / "train", PAPER)
    assert (pictures.shape, pictures.dtype, labels.tolist()) == ((4, 3, 224, 224), dtype, [0] * 4)


def test_timms_posterize_still_fails_under_this_pillow():
    operation = timm.data.auto_augment.AugmentOp("PosterizeIncreasing", prob=1.0, magnitude=10)
    with pytest.raises(ValueError, match="bits"):
        operation(Image.new("RGB", (8, 8)))


def test_what_was_measured_as_tables():
    content = {
        "ratios": {"loader": [5.0, 7.0, 6.0]},
        "steps": {"3": [1.5, 1.6, 1.4]},
        "seconds": {"first picture": 8.123, "seen": 0.00003},
    }
    beside, steps, waits = (table.markdown() for table in benchmark_tables(content))
    assert "| loader | 6.00 | 5.00 to 7.00 |" in beside
    # Multiply-adds, parameters and activation memory beside ResNet-50's, other costs if there are, then the time.
    assert "| 3 | 1.29 | 1.32 | 1.41 | " in steps and "| 1.50 | 1.40 to 1.60 |" in steps
    assert "| first picture | 8.12 |\n| seen | under 0.001 |" in waits


def test_what_was_measured_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("convnext_lessons.runs.records.reference_folder", lambda: tmp_path)
    monkeypatch.setattr(benchmark, "measure_networks", lambda progress: {"step 0, inference, timm": [1.0]})
    monkeypatch.setattr(benchmark, "measure_loader", lambda progress: {"loader": [5.0]})
    monkeypatch.setattr(benchmark, "measure_recipe_loader", lambda progress: {"timm": [1.2]})
    monkeypatch.setattr(benchmark, "measure_steps", lambda progress: {"1": [1.1]})
    monkeypatch.setattr(benchmark, "measure_waits", lambda progress: {"first picture": 8.0})
    make_benchmark(silent)
    kept = read_measurements("bench")
    assert kept == json.loads((tmp_path / "bench.json").read_text())
    assert kept["ratios"] == {"step 0, inference, timm": [1.0], "loader": [5.0], "timm": [1.2]}
    assert (kept["steps"], kept["seconds"]) == ({"1": [1.1]}, {"first picture": 8.0})
    assert {"schema", "device", "versions", "peers", "pictures"} <= kept.keys()
    assert len(benchmark_tables(kept)) == 3


@pytest.mark.skipif(not (reference_folder() / "bench.json").exists(), reason="nothing is measured yet")
def test_the_page_prints_what_was_measured():
    page = (reference_folder().parent / "README.md").read_text()
    for table in benchmark_tables(read_measurements("bench")):
        assert table.markdown() in page
