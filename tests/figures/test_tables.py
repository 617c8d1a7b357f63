import re

import pytest

from convnext_lessons.figures import Table, show_gains
from convnext_lessons.figures.palette import CHANGED_WORDS
from convnext_lessons.figures.tables import TableError
from convnext_lessons.model import PAPER_STEPS, STEPS, TITLES, paper_after
from convnext_lessons.runs import SignificanceError, compare_steps
from convnext_lessons.runs.significance import Difference, StepGains
from convnext_lessons.system import reference_folder

HEAD = ("name", "value")
ROWS = (("a", "1"), ("a longer one", "<b> & 2"), ("c", ""))


def rows_of(html):
    return re.findall(r"<tr>(.*?)</tr>", html)


@pytest.mark.parametrize("row", [("a",), ("a", "b", "c"), (), ("a", 1), ("a", None)])
def test_a_row_that_does_not_fit_is_refused(row, refuses):
    with refuses(TableError, repr(row), "2 texts"):
        Table(HEAD, [*ROWS, row])


def test_text_has_its_columns_under_each_other():
    assert repr(Table(HEAD, ROWS)).splitlines() == [
        "name          value",
        "a             1",
        "a longer one  <b> & 2",
        "c",
    ]


def test_the_note_stands_below():
    assert repr(Table(HEAD, ROWS, note="So & so.")).splitlines()[-1] == "So & so."
    assert Table(HEAD, ROWS, note="So & so.")._repr_html_().endswith("</table><small>So &amp; so.</small>")
    assert "<small>" not in Table(HEAD, ROWS)._repr_html_()


def test_html_has_a_cell_for_each_and_escapes_all_of_them():
    head, *rows = rows_of(Table(("<name>", "value"), ROWS)._repr_html_())
    assert head == "<th>&lt;name&gt;</th><th>value</th>"
    assert rows == [
        "<td>a</td><td>1</td>",
        "<td>a longer one</td><td>&lt;b&gt; &amp; 2</td>",
        "<td>c</td><td></td>",
    ]


def test_markdown_has_a_rule_under_its_head_and_leaves_the_note_out():
    assert Table(HEAD, ROWS, note="So & so.").markdown().splitlines() == [
        "| name | value |",
        "| --- | --- |",
        "| a | 1 |",
        "| a longer one | <b> & 2 |",
        "| c |  |",
    ]


def test_marked_rows_begin_bold_in_markdown():
    assert Table(HEAD, ROWS, marked=[0, 2]).markdown().splitlines()[2:] == [
        "| **a** | 1 |",
        "| a longer one | <b> & 2 |",
        "| **c** |  |",
    ]


def test_marked_rows_have_a_star_in_text():
    assert repr(Table(HEAD, ROWS, note="So.", marked=[0, 2])).splitlines() == [
        "  name          value",
        "* a             1",
        "  a longer one  <b> & 2",
        "* c",
        "So.",
    ]


def test_marked_rows_are_bold_in_html():
    head, first, second, third = rows_of(Table(HEAD, ROWS, marked=[1])._repr_html_())
    assert second.count("font-weight:bold") == 2
    assert CHANGED_WORDS not in second
    assert "style" not in head + first + third


def test_code_keeps_its_spaces():
    table = Table(HEAD, (("  indented", "x"), ("y", "z")), code=True)
    assert table._repr_html_().count("white-space:pre") == 4
    assert "  indented" in table._repr_html_()
    assert "  indented  x" in repr(table)


def test_marked_code_is_coloured_too():
    plain, marked = rows_of(Table(HEAD, ROWS[:2], marked=[1], code=True)._repr_html_())[1:]
    assert "white-space:pre" in plain and CHANGED_WORDS not in plain
    assert marked.count(f"white-space:pre;font-family:monospace;color:{CHANGED_WORDS};font-weight:bold") == 2


def test_a_table_without_rows_has_its_head():
    table = Table(HEAD, (), note="no difference")
    assert repr(table).splitlines() == ["name  value", "no difference"]
    assert table.markdown() == "| name | value |\n| --- | --- |"


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError):
        repr(Table(HEAD, (("a",),)))


# What the steps add ---------------------------------------------------------------------------------------------------


def test_gains_in_three_forms(monkeypatch):
    groups = {"step 0": [50.0, 52.0], "step 1": [52.0, 54.0], "step 2": [0.0, 1.0]}
    differences = (Difference("step 1", "step 0", 2.0, 0.5, 3.5, 0.01), Difference("", "", 0, -1, 1, 0.9))
    monkeypatch.setattr(
        "convnext_lessons.figures.tables.compare_steps", lambda until: StepGains(groups, differences, until)
    )
    table = show_gains(until=1)
    assert "| 0 ResNet-50 | 78.82 ± 0.07 |  | 51.0 ± 1.4 |  |  |  |" in table.markdown()
    assert "| **1 Stage ratio** | 79.36 ± 0.07 | +0.54 | 53.0 ± 1.4 | +2.0 | +0.5 to +3.5 | yes |" in table.markdown()
    assert "Holm's method for 2 comparisons" in repr(table) and "Patchify" not in repr(table)
    assert "2 seeds" in table.note
    first, last = rows_of(table._repr_html_())[1:]
    assert "bold" not in first
    assert '<td style="font-weight:bold">1 Stage ratio</td>' in last


@pytest.mark.parametrize("until", [0, *PAPER_STEPS])
def test_gains_end_with_the_readers_step(until):
    table = show_gains(until)
    assert [row[0] for row in table.rows] == [f"{number} {TITLES[number]}" for number in range(until + 1)]
    assert list(table.marked) == [until]
    assert repr(table).splitlines()[until + 1].startswith(f"* {until} {TITLES[until]}")


def test_fewer_rows_change_no_number():
    assert list(show_gains().rows[:5]) == list(show_gains(until=4).rows)
    assert show_gains().note == show_gains(until=4).note


def test_the_papers_columns_are_the_papers():
    for step, row in enumerate(show_gains().rows):
        paper = paper_after(step)
        assert row[1] == f"{paper.accuracy:.2f} ± {paper.spread:.2f}"
        assert row[2] == (f"{paper.accuracy - paper_after(step - 1).accuracy:+.2f}" if step else "")


def test_our_columns_are_the_stored_runs():
    found = compare_steps()
    for row, difference in zip(show_gains().rows[1:], found.differences, strict=True):
        assert row[4:] == [
            f"{difference.points:+.1f}",
            difference.interval,
            "yes" if difference.resolved else "no",
        ]


@pytest.mark.parametrize("until", [PAPER_STEPS[-1] + 1, -1, "3a"])
def test_gains_beyond_the_paper_are_refused(until, refuses):
    with refuses(SignificanceError, repr(until), f"0 to {PAPER_STEPS[-1]}", "compare_runs"):
        show_gains(until)


def test_gains_go_over_the_papers_steps_alone():
    assert len(show_gains().rows) == 1 + len([step for step in STEPS if step.paper])


def test_the_page_of_numbers_prints_what_the_steps_add():
    assert show_gains().markdown() in (reference_folder().parent / "README.md").read_text()
