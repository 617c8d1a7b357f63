from convnext_lessons.figures import draw_ranking


def test_the_best_network_is_on_top_with_a_dot_for_each_run(is_drawn):
    plot = draw_ranking({"worst": [40.0, 42.0], "best": [61.0, 59.0, 63.0], "middle": [50.0]}, marked=["middle"])
    assert is_drawn(plot)
    (axes,) = plot.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best", "middle", "worst"]
    dots, means = axes.lines[::2], axes.lines[1::2]
    assert [list(line.get_xdata()) for line in dots] == [[61.0, 59.0, 63.0], [50.0], [40.0, 42.0]]
    assert [line.get_xdata()[0] for line in means] == [61.0, 50.0, 41.0]
    assert [text.get_text() for text in axes.texts] == ["61.0", "50.0", "41.0"]
    assert dots[0].get_color() == dots[2].get_color() != dots[1].get_color()
    low, high = axes.get_ylim()
    assert low > high, "rows are counted from the top"
    assert plot.alt.startswith("From the best to the worst: best 61.0 ± 2.0 % over 3 runs; middle 50.0 % over 1 runs; ")


def test_a_network_without_runs_has_no_row(is_drawn):
    plot = draw_ranking({"none": [], "one": [50.0]})
    assert is_drawn(plot)
    assert [label.get_text() for label in plot.figure.axes[0].get_yticklabels()] == ["one"]
    assert draw_ranking({}).alt == "From the best to the worst: no runs yet."
