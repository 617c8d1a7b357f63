from convnext_lessons.figures import (
    draw_early_losses,
    draw_kernel_accuracies,
    draw_losses,
    draw_memory_and_accuracy,
    draw_two_by_two,
)
from convnext_lessons.model import architecture_after, count, paper_after
from convnext_lessons.model.roadmap import Paper


def thin(**fields):
    return architecture_after(8).thinner(1 / 16).change(**fields)


def test_designs_are_told_with_their_memory_and_runs(is_drawn):
    designs = {"one": thin(), "none": thin(activate_after=()), "new": thin(kernel_size=3)}
    plot = draw_memory_and_accuracy(designs, {"one": [60.0, 62.0], "none": [40.0]}, marked=["one"])
    assert is_drawn(plot)
    for words in ("one 9 MB, 61.0 ± 1.4 % over 2 runs", "40.0 % over 1 runs", "no runs yet"):
        assert words in plot.alt
    left, right = plot.figure.axes
    expected = [count(design).activation_bytes / 1e6 for design in designs.values()]
    assert [bar.get_width() for bar in left.patches] == expected
    assert [list(line.get_xdata()) for line in right.lines] == [[60.0, 62.0], [40.0], []]
    colors = [bar.get_facecolor() for bar in left.patches]
    assert colors[0] != colors[1] == colors[2]


def early_run(losses, accuracy):
    curve = [{"pictures": 100 * number, "loss": loss} for number, loss in enumerate(losses, start=1)]
    return {"curve": curve, "accuracy": accuracy}


def test_early_losses_have_a_panel_a_group_and_the_same_runs_beside(is_drawn):
    groups = {"a": [early_run([2.2, 2.0, 1.0], 0.5), early_run([2.1, 1.9, 1.0], 0.54)], "b": [early_run([2.3], 0.1)]}
    plot = draw_early_losses(groups, beside=[early_run([2.0, 1.8], 0.6)], until=200, mark=150)
    assert is_drawn(plot)
    assert plot.alt.endswith("200 pictures: a, in the end 50 to 54 %; b, in the end 10 to 10 %.")
    first, second = plot.figure.axes
    assert [list(line.get_ydata()) for line in first.lines[:-1]] == [[2.0, 1.8], [2.2, 2.0], [2.1, 1.9]]
    assert [list(line.get_ydata()) for line in second.lines[:-1]] == [[2.0, 1.8], [2.3]]
    assert list(first.lines[-1].get_xdata()) == [150, 150]


def test_early_losses_without_runs():
    stopped = early_run([None], None)
    assert "a, no runs yet" in draw_early_losses({"a": [stopped]}, [], until=200, mark=100).alt


def test_the_papers_kernels_are_points_with_their_cost(is_drawn):
    plot = draw_kernel_accuracies({3: paper_after(5), 7: paper_after(6)})
    assert is_drawn(plot)
    assert "3×3 79.92 ± 0.08 % at 4.07 G; 7×7 80.57 ± 0.14 % at 4.15 G" in plot.alt
    (axes,) = plot.figure.axes
    assert list(axes.lines[0].get_xdata()) == [3, 7]
    assert list(axes.lines[0].get_ydata()) == [79.92, 80.57]
    assert [text.get_text() for text in axes.texts] == ["4.07 G", "4.15 G"]


def test_a_kernel_of_one_run_has_no_spread(is_drawn):
    plot = draw_kernel_accuracies({5: Paper(80.0, None, 4.1)})
    assert is_drawn(plot)
    assert "5×5 80.00 ± 0.00 %" in plot.alt


def test_losses_leave_out_the_points_that_repeat_one():
    curve = [
        {"pictures": 50, "loss": 2.0},
        {"pictures": 100, "loss": 1.5},
        {"pictures": 100, "loss": 1.5, "accuracy": 0.4},
    ]
    plot = draw_losses({"A": {"curve": curve}})
    (line,) = plot.figure.axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([50, 100], [2.0, 1.5])
    assert plot.alt == "Training loss over pictures seen: A ends at 1.50."


def test_losses_of_four_runs_can_be_told_apart_without_colours(is_drawn):
    curve = [{"pictures": 50, "loss": 2.0}, {"pictures": 100, "loss": 1.5}]
    plot = draw_losses({name: {"curve": curve} for name in "ABCDE"})
    assert is_drawn(plot)
    lines = plot.figure.axes[0].lines
    assert len({line.get_linestyle() for line in lines[:4]}) == len({line.get_color() for line in lines[:4]}) == 4
    assert [text.get_text() for text in plot.figure.axes[0].get_legend().get_texts()] == list("ABCDE")


def test_losses_of_nothing_say_so(is_drawn):
    assert draw_losses({}).alt == "Training loss over pictures seen: no runs."
    plot = draw_losses({"A": {"curve": [{"pictures": 8, "loss": None, "accuracy": 0.1}]}})
    assert is_drawn(plot)
    assert "A has none" in plot.alt


LINES = {"few": ("a", "b"), "many": ("c", "d")}


def test_two_by_two_has_a_line_for_each_value_and_a_dot_for_each_run(is_drawn):
    groups = {"a": [50.0, 52.0], "b": [40.0, 44.0], "c": [60.0], "d": [61.0, 63.0]}
    plot = draw_two_by_two(groups, LINES, columns=("left", "right"))
    assert is_drawn(plot)
    for words in ("few, left: 51.0 ± 1.4 % over 2 runs", "few, right: 42.0", "many, left: 60.0 %", "many, right: 62.0"):
        assert words in plot.alt
    (axes,) = plot.figure.axes
    few, *_ = axes.lines
    assert (list(few.get_xdata()), list(few.get_ydata())) == ([0, 1], [51.0, 42.0])
    dots = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]
    assert dots == list(groups.values())


def test_two_by_two_leaves_the_place_of_missing_runs_empty(is_drawn):
    plot = draw_two_by_two({"a": [50.0], "b": []}, LINES, columns=("left", "right"))
    assert is_drawn(plot)
    assert plot.alt == "Accuracy of stored runs: few, left: 50.0 % over 1 runs."
    assert "nothing measured yet" in draw_two_by_two({}, LINES, columns=("left", "right")).alt
