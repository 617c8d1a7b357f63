from convnext_lessons.figures.budgets import draw_budgets

BUDGETS = {"4": (0.5, 0.6), "16": (0.7, 0.72)}


def runs(name, step="0", shift=0.0):
    return [
        {
            "step": step,
            "seed": seed,
            "accuracy": accuracy + shift,
            "settings": {"recipe": {"name": name, "epochs": int(epochs)}},
            # The last point repeats nothing of the training.
            "curve": [{"loss": 2.0}, {"loss": 1.0 + accuracy}, {"loss": None, "accuracy": accuracy}],
        }
        for epochs, accuracies in BUDGETS.items()
        for seed, accuracy in enumerate(accuracies)
    ]


def test_every_recipe_has_a_column_and_every_step_a_line():
    plot = draw_budgets(runs("lean") + runs("lean", "11", 0.1) + runs("regularised", "11"))
    top_left, top_right, bottom_left, _ = plot.figure.axes
    assert (top_left.get_title(), top_right.get_title()) == ("lean", "regularised")
    assert [text.get_text() for text in top_left.get_legend().get_texts()] == ["step 0", "step 11"]
    assert top_left.get_ylim() == top_right.get_ylim() and top_left.get_ylim()[1] > 80
    assert bottom_left.get_xlabel() == "epochs"
    assert "lean, step 0, 4 epochs: 55.0 ± 7.1 % over 2 runs, training loss 1.55" in plot.alt
    assert "regularised, step 11, 16 epochs: 71.0 ± 1.4 % over 2 runs, training loss 1.71" in plot.alt


def test_a_step_without_the_longest_budget_ends_before():
    short = [run for run in runs("lean", "4") if run["settings"]["recipe"]["epochs"] == 4]
    plot = draw_budgets(runs("lean") + short)
    assert "step 4, 4 epochs" in plot.alt and "step 4, 16 epochs" not in plot.alt


def test_without_runs_it_says_so():
    plot = draw_budgets([])
    assert plot.alt.endswith("No stored runs yet.") and plot.png()
