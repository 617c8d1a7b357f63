import json

import pytest

from convnext_lessons import read_benchmark as room
from convnext_lessons.experiments.benchmark import bench_table, network_ratios, pair, peers, step_ratios


def test_peers_are_the_same_networks():
    counts = {
        step: {name: sum(p.numel() for p in make().parameters()) for name, make in others.items()}
        for step, others in peers().items()
    }
    assert counts["0"].keys() == {"torchvision", "timm"} and set(counts["0"].values()) == {25_557_032}
    assert counts["11"].keys() == {"torchvision", "timm", "timm, conv_mlp"}
    assert set(counts["11"].values()) == {28_589_128}


def test_a_pair_takes_turns_and_leaves_out_the_first_round(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(room.time, "perf_counter", lambda: clock[0])

    def spend(name, seconds):
        def once():
            calls.append(name)
            clock[0] += seconds

        return once

    assert pair(spend("ours", 1), spend("theirs", 3), rounds=4) == [3.0] * 4
    assert calls == ["theirs", "ours", "ours", "theirs"] * 2 + ["theirs", "ours"]


def test_every_end_is_held_against_every_peer():
    ratios = network_ratios(rounds=1, side=32, batch=2, progress=lambda words: None)
    assert len(ratios) == 2 * 2 + 2 * 3
    assert all(ratio > 0 for values in ratios.values() for ratio in values)


def test_every_step_is_held_against_the_first():
    ratios = step_ratios(rounds=2, side=32, batch=2, progress=lambda words: None)
    assert list(ratios) == [str(step) for step in range(1, 12)]
    assert all(len(values) == 2 and min(values) > 0 for values in ratios.values())


def test_what_was_measured_as_a_table():
    content = {
        "ratios": {"loader": [5.0, 7.0, 6.0]},
        "steps": {"3": [1.5, 1.6, 1.4]},
        "seconds": {"first picture": 8.123, "seen": 0.00003},
    }
    assert "| loader | 6.00 | 5.00 to 7.00 |" in bench_table(content)
    assert "| 3 | 1.29 | 1.41 | 1.50 | 1.40 to 1.60 |" in bench_table(content)
    assert "| first picture | 8.12 |\n| seen | under 0.001 |" in bench_table(content)


def test_what_was_measured_is_kept(tmp_path, monkeypatch):
    (tmp_path / "bench.json").write_text(json.dumps({"schema": 1}))
    monkeypatch.setattr(room, "reference_folder", lambda: tmp_path)
    assert room.bench() == {"schema": 1}


@pytest.mark.skipif(not (room.reference_folder() / "bench.json").exists(), reason="nothing is measured yet")
def test_the_page_prints_what_was_measured():
    assert bench_table(room.bench()) in (room.reference_folder().parent / "README.md").read_text()
