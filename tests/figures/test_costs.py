import importlib.util

import pytest

from convnext_lessons.classroom import predictions
from convnext_lessons.experiments.benchmark import benchmark_tables
from convnext_lessons.figures import (
    costs,
    draw_changes,
    draw_costs,
    draw_design,
    draw_flops_and_time,
    draw_summary,
    draw_sweep,
)
from convnext_lessons.model import COSTS, LAST_STEP, TimeRatio, architecture_after, count
from convnext_lessons.model.cost import Cost, CostKind, Layer


def thin(step):
    return architecture_after(step).thinner(1 / 16)


def words(diagram):
    return [item[3] for item in diagram.items if item[0] == "text"]


def titles(plot):
    return [panel.get_title() for panel in plot.figure.axes]


def test_costs_tell_old_and_new_and_how_much(is_drawn):
    plot = draw_costs(thin(3), thin(4), ("step 3", "step 4"), image_size=64)
    assert is_drawn(plot)
    assert plot.alt.startswith("Cost of step 3 and step 4 by stage: ")
    old, new = (count(thin(step), 64) for step in (3, 4))
    for kind in COSTS:
        before, after = kind.of(old), kind.of(new)
        change = f"{kind.title} {before / kind.unit:.4g} → {after / kind.unit:.4g} {kind.unit_name}"
        assert f"{change} ({costs._change(after / before - 1)})" in plot.alt
    assert "activation memory" in plot.alt and "time of a training step × " in plot.alt


def test_a_change_is_never_plus_or_minus_nothing():
    assert [costs._change(share) for share in (0.104, -0.118, 0.004, -0.0004, 0)] == [
        "+10%",
        "−12%",
        "+0.4%",
        "−0.04%",
        "equal",
    ]


def test_the_time_has_its_interval(monkeypatch, is_drawn):
    monkeypatch.setattr(costs, "time_ratio", lambda *pair: TimeRatio(1.2, 1.1, 1.4, "a machine"))
    plot = draw_costs(thin(3), thin(4), image_size=64)
    panel = plot.figure.axes[len(COSTS)]
    assert panel.get_title() == "time of a training step\n× 1.20 (1.10 to 1.40)"
    assert panel.get_xlabel() == "a machine"
    assert [bar.get_height() for bar in panel.patches] == [1, 1.2]
    (segment,) = panel.collections[0].get_segments()
    assert segment[:, 1] == pytest.approx([1.1, 1.4])


def test_costs_are_drawn_stage_by_stage():
    plot = draw_costs(thin(3), thin(4), image_size=64)
    for panel, kind in zip(plot.figure.axes, COSTS, strict=False):
        for step, bars in zip((3, 4), panel.containers, strict=True):
            stages = count(thin(step), 64).by_stage(kind.key).values()
            assert [bar.get_height() for bar in bars] == pytest.approx([value / kind.unit for value in stages])


def test_changes_are_told_with_their_signs(is_drawn):
    plot = draw_changes("sum", 1e6, "millions", {"a": 3e6, "b": -5e6})
    assert is_drawn(plot)
    assert plot.alt == "sum, millions: a +3, b -5."
    left, right = (bar.get_width() for bar in reversed(plot.figure.axes[0].patches))
    assert (left, right) == (-5, 3)


def test_a_sweep_has_a_row_for_each_field(is_drawn):
    choices = {"expansion": (2, 4), "width": (8, 16)}
    plot = draw_sweep(thin(4).change(width=8), choices, {"step 3": thin(3)})
    assert is_drawn(plot)
    assert len(plot.figure.axes) == len(choices) * len(COSTS)
    assert titles(plot) == [f"{kind.title}, {kind.unit_name}" for kind in COSTS] * len(choices)


# Another cost ---------------------------------------------------------------------------------------------------------


KIND = CostKind("weight_bytes", "memory for weights", 1e6, "MB", "B")


@pytest.fixture
def another_cost(monkeypatch):
    """A fourth kind of cost, added as the course says: a property of a layer, its sum in a network, a line in COSTS."""
    monkeypatch.setattr(Layer, KIND.key, property(lambda layer: 4 * layer.params), raising=False)
    monkeypatch.setattr(Cost, KIND.key, property(lambda cost: cost._sum(KIND.key)), raising=False)
    for module in (
        "model.cost",
        "figures.costs",
        "figures.diagrams",
        "figures.road",
        "classroom.predictions",
        "experiments.benchmark",
    ):
        monkeypatch.setattr(f"convnext_lessons.{module}.COSTS", (*COSTS, KIND))
    return KIND


def weights(step):
    return 4 * count(architecture_after(step)).params


def test_another_cost_has_a_panel_beside_the_time(another_cost, is_drawn):
    plot = draw_costs(thin(3), thin(4), image_size=64)
    assert is_drawn(plot)
    old, new = (4 * count(thin(step), 64).params / 1e6 for step in (3, 4))
    assert f"memory for weights {old:.4g} → {new:.4g} MB" in plot.alt
    assert [title.split("\n")[0] for title in titles(plot)] == [
        *(kind.title for kind in COSTS),
        "memory for weights",
        "time of a training step",
        *[""] * (len(COSTS) % 2),  # an empty place in the last row
    ]
    assert plot.figure.axes[len(COSTS) + 1].get_xlabel()
    assert not any(panel.axison for panel in plot.figure.axes[len(COSTS) + 2 :])


def test_another_cost_has_a_column_in_a_sweep(another_cost, is_drawn):
    choices = {"expansion": (2, 4), "width": (8, 16)}
    plot = draw_sweep(thin(4).change(width=8), choices, {"step 3": thin(3)})
    assert is_drawn(plot)
    assert titles(plot)[len(COSTS) :: len(COSTS) + 1] == ["memory for weights, MB"] * 2
    line = plot.figure.axes[len(COSTS)].lines[0]
    expected = [4 * count(thin(4).change(width=8, expansion=value)).params / 1e6 for value in (2, 4)]
    assert list(line.get_ydata()) == pytest.approx(expected)


def test_another_cost_has_a_bar_under_a_design(another_cost):
    beside = {"step 3": architecture_after(3), "step 4": architecture_after(4)}
    diagram = draw_design(architecture_after(4), beside, widest=384)
    assert f"memory for weights: {weights(4) / 1e6:.3g} MB" in words(diagram)
    assert f"step 3: {weights(3) / 1e6:.3g} MB" in words(diagram)
    assert "memory for weights" in diagram.alt
    assert max(item[2] for item in diagram.items if item[0] == "text") < diagram.height


def test_another_cost_has_a_column_in_the_summary(another_cost, is_drawn):
    plot = draw_summary()
    assert is_drawn(plot)
    assert len(plot.figure.axes) == 3 + len(COSTS) + 1
    assert titles(plot)[-2] == "memory for weights\nMB"
    widths = [bar.get_width() for bar in plot.figure.axes[-2].patches]
    assert widths == pytest.approx([weights(step) / 1e6 for step in range(LAST_STEP + 1)])


def test_speed_is_drawn_over_another_cost(another_cost, is_drawn):
    plot = draw_flops_and_time()
    assert is_drawn(plot)
    assert plot.figure.axes[-1].get_xlabel() == "memory for weights, MB"
    assert f"{weights(11) / 1e6:.4g} MB" in plot.alt


def test_another_cost_is_a_question_about_every_step(another_cost, monkeypatch):
    # The questions are made as the module is read, so a second copy of it is read here.
    spec = importlib.util.spec_from_file_location("predictions_read_again", predictions.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    kinds, others = predictions.QUESTIONS[: len(COSTS)], predictions.QUESTIONS[len(COSTS) :]
    assert list(again.QUESTIONS) == [*kinds, KIND.title, *others]
    monkeypatch.setattr(again, "time_ratio", lambda before, after: TimeRatio(1.0, 0.98, 1.02, "here"))
    again.predict(4, KIND.title, "down a lot")
    graded = again.score(4)
    (row,) = [row for row in graded.rows if row.question == KIND.title]
    assert (row.answer, row.change) == ("down a lot", f"{weights(4) / weights(3) - 1:+.1%}")
    assert (graded.points, graded.predicted) == (1.0, 1)


def test_another_cost_has_a_column_in_the_benchmark(another_cost):
    _, steps, _ = benchmark_tables({"ratios": {}, "steps": {"3": [1.5, 1.6, 1.4]}, "seconds": {}})
    assert list(steps.head) == [
        "step",
        *(f"× {kind.title}" for kind in (*COSTS, KIND)),
        "× time, median",
        "range",
    ]
    assert steps.rows[0][1 + len(COSTS)] == f"{weights(3) / weights(0):.2f}"
