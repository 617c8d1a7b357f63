"""The figures of the slides: large words, sentences worked out from what is stored."""

import re
from dataclasses import replace

import pytest

from convnext_lessons.model import LAST_STEP, TITLES
from convnext_lessons.publish import slide_numbers
from convnext_lessons.publish.slide_canvas import HEIGHT, WIDTH, SlideFigure, gain, signed
from convnext_lessons.publish.slide_explorer import SlideExplorer
from convnext_lessons.publish.slide_networks import (
    draw_all_blocks,
    draw_blocks,
    draw_downsampling,
    draw_first_two_steps,
    draw_micro_steps,
    draw_three_networks,
)
from convnext_lessons.publish.slide_numbers import (
    draw_big_road,
    draw_costs_of_step,
    draw_counts_and_time,
    draw_down_and_up,
    draw_our_runs,
    draw_points,
    draw_recipe,
    draw_worth,
    sentence_about_our_runs,
)
from convnext_lessons.publish.votes import Tally, Vote, VoteError
from convnext_lessons.runs import times
from convnext_lessons.runs.significance import compare_steps

FIGURES = {
    "all blocks": draw_all_blocks,
    "three networks": draw_three_networks,
    "first two steps": draw_first_two_steps,
    "step 3": lambda: draw_blocks((2, "3a", 3), {2: "before", "3a": "depthwise", 3: "wider"}),
    "micro steps": draw_micro_steps,
    "downsampling": draw_downsampling,
    "points": draw_points,
    "recipe": draw_recipe,
    "covered": lambda: draw_big_road(covered=True),
    "road": draw_big_road,
    "costs of step 4": lambda: draw_costs_of_step(4),
    "down and up": draw_down_and_up,
    "our runs": draw_our_runs,
    "counts and time": draw_counts_and_time,
    "worth": draw_worth,
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_stays_inside_its_room_with_large_words_and_a_sentence(name):
    picture = FIGURES[name]()
    assert picture.width == WIDTH and picture.height <= HEIGHT
    assert len(picture.alt) > 30 and picture.alt.endswith(".")
    for kind, *rest in picture.items:
        if kind == "text":
            x, y, _, size, *_ = rest
            assert size >= 16 and 0 <= x <= WIDTH and 0 < y <= picture.height
        elif kind in ("polygon", "line"):
            assert all(-12 <= x <= WIDTH + 12 and -12 <= y <= picture.height for x, y in rest[0])


def words_of(picture):
    return [item[3] for item in picture.items if item[0] == "text"]


def test_the_covered_road_tells_no_answer():
    covered, road = draw_big_road(covered=True), draw_big_road()
    told = [gain(step, step - 1) for step in range(1, LAST_STEP + 1)]
    assert set(told) <= set(words_of(road)) and not set(told) & set(words_of(covered))
    assert words_of(covered).count("?") == LAST_STEP
    assert "−0.72" in words_of(road) and not re.search(r"[+−]\d", covered.alt)


def test_layers_that_changed_are_marked_and_no_others():
    def marked(picture):
        return [item[3] for item in picture.items if item[0] == "text" and item[7] and "×" in item[3]]

    notes = {2: "a", "3a": "b", 3: "c", 4: "d"}
    assert marked(draw_blocks((2, "3a"), notes)) == ["3×3 depthwise, 64"]
    assert marked(draw_blocks((3, 4), notes)) == ["1×1, 96 → 384", "3×3 depthwise, 384", "1×1, 384 → 96"]
    bold = [item[3] for item in draw_micro_steps().items if item[0] == "text" and item[7]]
    assert "LayerNorm" in bold and "GELU" in bold and "1×1, 96 → 384" not in bold


def test_what_is_said_of_our_runs_follows_from_them(monkeypatch):
    gains = compare_steps()
    resolved = sum(one.resolved for one in gains.differences)
    assert sentence_about_our_runs().startswith(f"{resolved} of {LAST_STEP} steps resolved: ")
    same = int(re.search(r": (\d+) with the paper's sign, (\d+) against", sentence_about_our_runs())[1])
    flipped = tuple(replace(one, points=-one.points) for one in gains.differences)
    monkeypatch.setattr(slide_numbers, "compare_steps", lambda: replace(gains, differences=flipped))
    assert f"{resolved - same} with the paper's sign, {same} against it" in sentence_about_our_runs()
    noise = tuple(replace(one, p=0.9) for one in gains.differences)
    monkeypatch.setattr(slide_numbers, "compare_steps", lambda: replace(gains, differences=noise))
    assert sentence_about_our_runs() == f"None of {LAST_STEP} steps is resolved"
    assert sentence_about_our_runs() in words_of(draw_our_runs())


def test_times_are_the_stored_ratios(monkeypatch):
    stored = {"device": {"name": "Some <CPU>", "threads": 3}, "pictures": {"batch": 8}, "steps": {}}
    stored["steps"] = {str(step): [1.5, 2.0, 9.0] for step in range(1, LAST_STEP + 1)}
    stored["steps"]["3"] = [1.0, 1.0, 1.0]
    for reader in (slide_numbers, times):
        monkeypatch.setattr(reader, "read_measurements", lambda name: stored)
    picture = draw_costs_of_step(4)
    assert {"step 3: × 1.00", "step 4: × 2.00", "+100 %"} <= set(words_of(picture))
    assert "Some &lt;CPU&gt;, 3 threads" in picture.svg()


def test_a_cost_that_stays_has_no_sign():
    assert "±0 %" in words_of(draw_costs_of_step(9))  # a norm has no multiply-adds


def test_an_explorer_on_a_slide_holds_every_picture_and_begins_with_one():
    explorer = SlideExplorer("<step>", [3, 4, 5], draw_costs_of_step, start=4)
    html = explorer._repr_html_()
    assert repr(explorer) == draw_costs_of_step(4).alt
    assert "<span>&lt;step&gt;</span>" in html and draw_costs_of_step(4).svg() in html
    assert 'max="2" value="1"' in html and 'aria-valuetext="4"' in html


def test_names_of_the_steps_are_the_roads():
    words = " ".join(words_of(draw_big_road()))
    assert all(word in words for title in TITLES for word in title.split())


def test_a_minus_is_a_minus():
    assert (signed(-0.724), signed(0.5), signed(-12.3, 0)) == ("−0.72", "+0.50", "−12")


def test_a_photograph_is_part_of_the_page():
    picture = SlideFigure("a photograph")
    picture.photograph(1, 2, 30, b"jpeg")
    assert '<image x="1" y="2" width="30" height="30" href="data:image/jpeg;base64,anBlZw=="/>' in picture.svg()
    assert picture._repr_mimebundle_() == {"image/svg+xml": picture.svg(), "text/plain": "a photograph"}


def test_a_vote_has_three_answers_in_escaped_words(refuses):
    vote = Vote("a name", ("<b>", "two", "three"))
    assert vote._repr_html_().count("<button") == 3
    assert "&lt;b&gt;" in vote._repr_html_() and "<b>" not in vote._repr_html_()
    assert repr(vote) == "1: <b>; 2: two; 3: three"
    assert 'data-vote="a &lt;name"' in Tally("a <name")._repr_html_()
    with refuses(VoteError, "2 answers"):
        Vote("short", ("one", "two"))
