import pytest

from convnext_lessons.figures import LiveCurve, draw_curves
from convnext_lessons.runs import POCKET, make_experiment


def run(step, seed, accuracies, seconds=10.0):
    curve = []
    for epoch, accuracy in enumerate(accuracies, start=1):
        curve.append({"pictures": 100 * epoch - 50, "seconds": seconds * (epoch - 0.5), "loss": 2.0})
        curve.append({"pictures": 100 * epoch, "seconds": seconds * epoch, "loss": 1.0, "accuracy": accuracy})
    return {
        "step": step,
        "seed": seed,
        "images": {"source": "stand-in", "note": "stand-in: rendered", "train": 64, "val": 40},
        "accuracy": accuracies[-1],
        "curve": curve,
        "status": "complete",
        "device": {"precision": "float32"},
        "fast": True,
        "settings": make_experiment(step, POCKET, seed).settings(),
    }


def test_curves_band_and_own_run(is_drawn):
    stored = [run("3", 0, [0.3, 0.5]), run("3", 1, [0.4, 0.6]), run("4", 0, [0.2, 0.4])]
    plot = draw_curves(stored, [run("4", 9, [0.3, 0.45])])
    assert is_drawn(plot)
    assert "step 3: 55.0 ± 7.1 % over 2 stored runs" in plot.alt
    assert "step 4: 40.0 % over 1 stored runs" in plot.alt
    assert "your run of step 4: 45.0 %" in plot.alt


def test_an_own_run_is_told_where_it_fell():
    stored = [run("4", 0, [0.3, 0.5]), run("4", 1, [0.4, 0.54])]
    plot = draw_curves(stored, [run("4", 9, [0.3, 0.45])])
    expected = "your run of step 4: 45.0 %, inside the 8.0 to 96.0 % expected of one more such run"
    assert expected in plot.alt
    assert expected in plot.figure.axes[0].get_title(loc="left")


def test_curves_by_seconds_are_another_plot():
    stored = [run("3", 0, [0.3, 0.5]), run("3", 1, [0.4, 0.6], seconds=20.0)]
    assert draw_curves(stored, by="seconds").png() != draw_curves(stored).png()


def test_curves_of_nothing_say_so():
    assert "nothing measured yet" in draw_curves([]).alt


def test_curves_of_other_images_are_not_to_be_compared():
    other = run("4", 9, [0.3, 0.45])
    other["images"] = {"source": "imagenette", "note": "Imagenette v2", "train": 9469, "val": 3925}
    title = draw_curves([run("4", 0, [0.2, 0.4])], [other]).figure.axes[0].get_title(loc="left")
    assert title.startswith("NOT THE SAME PICTURES")


def test_the_live_curve_of_a_run_that_was_stopped_at_once():
    live = LiveCurve("step 4")
    live.points = [{"pictures": 8, "seconds": 0.1, "loss": None, "accuracy": 0.1}]
    assert live.plot().alt == "step 4 8 pictures in 0 s, accuracy 10.0%"


@pytest.mark.parametrize("points", [1, 5])
def test_the_live_curve_ends_as_a_plain_plot(points, monkeypatch, is_drawn):
    shown = []

    class Handle:
        def update(self, plot):
            shown.append(plot)

    monkeypatch.setattr("IPython.display.display", lambda plot, display_id: shown.append(plot) or Handle())
    live = LiveCurve("step 4", every=0.0)
    for point in run("4", 0, [0.1] * points)["curve"]:
        live(point)
    assert len(shown) == 2 * points
    assert is_drawn(shown[-1])
    assert "accuracy 10.0%" in shown[-1].alt


def test_a_live_curve_draws_averaged_and_last_weights():
    curve = LiveCurve("a run")
    for pictures, accuracy in ((10, 0.3), (20, 0.4)):
        point = {"pictures": pictures, "seconds": 1.0, "loss": 2.0, "accuracy": accuracy}
        curve.points.append({**point, "accuracy_unaveraged": accuracy - 0.1})
    averaged, last = curve.plot().figure.axes[1].lines
    assert [round(value) for value in averaged.get_ydata()] == [30, 40]
    assert [round(value) for value in last.get_ydata()] == [20, 30]
    assert [line.get_label() for line in (averaged, last)] == ["averaged", "unaveraged"]
