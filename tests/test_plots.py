import io

import pytest
from PIL import Image

from convnext_lessons.figures.plots import LiveCurve, draw_changes, draw_costs, draw_curves, draw_flops_and_time, draw_road, draw_summary, draw_sweep, validated_points
from convnext_lessons.runs.recipes import POCKET
from convnext_lessons.runs.records import make_experiment
from convnext_lessons.model.roadmap import architecture_after


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


def thin(step):
    return architecture_after(step).thinner(1 / 16)


def is_picture(plot):
    opened = Image.open(io.BytesIO(plot.png()))
    return opened.format == "PNG" and len(opened.convert("RGB").getcolors(1 << 20)) > 3


def test_the_road_shows_where_the_reader_stands():
    assert draw_road(4).png() != draw_road(5).png()
    assert is_picture(draw_road())
    assert "step 11 81.97 %, 4.46 G" in draw_road().alt


def test_the_summary_shows_every_step():
    plot = draw_summary()
    assert is_picture(plot)
    for words in ("0 ResNet-50: paper 78.82 %", "8 Fewer activations: paper 81.27 %", "11 Separate downsampling"):
        assert words in plot.alt
    assert len(plot.figure.axes) == 6


def test_flops_and_time_shows_every_network():
    plot = draw_flops_and_time()
    assert is_picture(plot) and len(plot.figure.axes) == 2
    for words in ("step 0 4.09 G", "step 3 5.27 G", "step 11 4.46 G", "images/s"):
        assert words in plot.alt


def test_costs_tell_old_and_new_and_how_much():
    plot = draw_costs(thin(3), thin(4), image_size=64)
    assert is_picture(plot)
    assert "activation memory" in plot.alt and "measured time" in plot.alt


def test_curves_band_and_own_run():
    stored = [run("3", 0, [0.3, 0.5]), run("3", 1, [0.4, 0.6]), run("4", 0, [0.2, 0.4])]
    plot = draw_curves(stored, [run("4", 9, [0.3, 0.45])])
    assert is_picture(plot)
    assert "step 3: 55.0 ± 7.1 % over 2 stored runs" in plot.alt
    assert "step 4: 40.0 % over 1 stored runs" in plot.alt
    assert "your run of step 4: 45.0 %" in plot.alt


def test_an_own_run_is_told_where_it_fell():
    stored = [run("4", 0, [0.3, 0.5]), run("4", 1, [0.4, 0.54])]
    plot = draw_curves(stored, [run("4", 9, [0.3, 0.45])])
    expected = "your run of step 4: 45.0 %, inside the 8.0 to 96.0 % expected of one more such run"
    assert expected in plot.alt and expected in plot.figure.axes[0].get_title(loc="left")


def test_curves_by_seconds_are_another_picture():
    stored = [run("3", 0, [0.3, 0.5]), run("3", 1, [0.4, 0.6], seconds=20.0)]
    assert draw_curves(stored, by="seconds").png() != draw_curves(stored).png()


def test_curves_of_nothing_say_so():
    assert "nothing measured yet" in draw_curves([]).alt


def test_the_live_curve_of_a_run_that_was_stopped_at_once():
    live = LiveCurve("step 4")
    live.points = [{"pictures": 8, "seconds": 0.1, "loss": None, "accuracy": 0.1}]
    assert live.plot().alt == "step 4 8 pictures in 0 s, accuracy 10.0%"


def test_measured_are_the_points_with_an_accuracy():
    assert [point["accuracy"] for point in validated_points(run("3", 0, [0.3, 0.5]))] == [0.3, 0.5]


def test_changes_are_told_with_their_signs():
    plot = draw_changes("sum", 1e6, "millions", {"a": 3e6, "b": -5e6})
    assert is_picture(plot)
    assert plot.alt == "sum, millions: a +3, b -5."
    left, right = (bar.get_width() for bar in reversed(plot.figure.axes[0].patches))
    assert (left, right) == (-5, 3)


def test_the_road_can_end_before_its_answers():
    assert "step 4" not in draw_road(here=3, until=3).alt
    assert draw_road(here=3, until=3).png() != draw_road(here=3).png()


def test_curves_of_other_pictures_are_not_to_be_compared():
    other = run("4", 9, [0.3, 0.45])
    other["images"] = {"source": "imagenette", "note": "Imagenette v2", "train": 9469, "val": 3925}
    title = draw_curves([run("4", 0, [0.2, 0.4])], [other]).figure.axes[0].get_title(loc="left")
    assert title.startswith("NOT THE SAME PICTURES")


def test_a_sweep_has_a_row_for_each_field():
    choices = {"expansion": (2, 4), "width": (8, 16)}
    plot = draw_sweep(thin(4).change(width=8), choices, {"step 3": thin(3)})
    assert is_picture(plot) and len(plot.figure.axes) == 6


@pytest.mark.parametrize("points", [1, 5])
def test_the_live_curve_ends_as_a_plain_picture(points, monkeypatch):
    shown = []

    class Handle:
        def update(self, plot):
            shown.append(plot)

    monkeypatch.setattr("IPython.display.display", lambda plot, display_id: shown.append(plot) or Handle())
    live = LiveCurve("step 4", every=0.0)
    for point in run("4", 0, [0.1] * points)["curve"]:
        live(point)
    assert len(shown) == 2 * points
    assert is_picture(shown[-1]) and "accuracy 10.0%" in shown[-1].alt
