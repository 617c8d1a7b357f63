"""Every lesson in a real JupyterLab in a real browser: all cells run, the controls move, the picture follows.

Needs chromium, see ``conftest``. Keeps what was seen in screenshots/.
"""

import functools
import json
import time
import urllib.error
import urllib.request

import pytest

from convnext_lessons.classroom.notebooks import list_lessons

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=[path.stem for path in list_lessons()])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def lesson(server, browser, name):
    lesson = server.open_lesson(browser, name)
    yield lesson
    lesson.close()


@pytest.fixture(scope="module")
def executed(lesson, name, screenshots):
    """The lesson's cells after "run all cells"."""
    cells = lesson.run()
    lesson.page.screenshot(path=screenshots / f"{name}_end.png")
    return cells


def places_of(cells, call):
    """Where the cells stand whose widgets come from a call."""
    return [cell["index"] for cell in cells if cell["widget"] and f"{call}(" in cell["source"]]


def show_predictions(lesson, cells):
    places = places_of(cells, "Predictions")
    if not places:
        pytest.skip("no predictions in this lesson")
    cell = lesson.show(places[0])
    cell.locator(".widget-toggle-button", has_text="a little down").first.wait_for(timeout=20_000)
    return cell


def wait_until(condition):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not condition():
        time.sleep(0.1)
    return condition()


def test_the_copy_begins_without_results(lesson):
    cells = lesson.cells()
    assert len(cells) > 10 and all(cell["count"] is None for cell in cells)


def test_every_cell_runs(executed):
    assert [cell["errors"] for cell in executed if cell["errors"]] == []
    assert [cell["count"] for cell in executed] == list(range(1, len(executed) + 1)), json.dumps(executed)


def test_every_explorer_moves_and_its_picture_follows(lesson, executed, name, screenshots):
    places = places_of(executed, "Explorer")
    assert places
    for place in places:
        cell = lesson.show(place)
        shown = functools.partial(cell.locator(".widget-html:has(svg, img)").inner_html, timeout=20_000)
        before = shown()
        lesson.page.screenshot(path=screenshots / f"{name}_{place}_before.png")
        move_a_control(lesson.page, cell)
        moved = wait_until(functools.partial(differs, shown, before))
        lesson.page.screenshot(path=screenshots / f"{name}_{place}_after.png")
        assert moved, f"cell {place}"
        widths = cell.locator(".widget-html:has(svg, img)").evaluate("it => [it.scrollWidth, it.clientWidth]")
        assert widths[0] <= widths[1] + 1, f"the picture of cell {place} sticks out: {widths}"


def differs(shown, before):
    return shown() != before


def move_a_control(page, cell):
    """The first slider by the keyboard, to the left where it stands at its right end; or a button that is not down."""
    sliders = cell.locator(".noUi-handle")
    if not sliders.count():
        cell.locator(".widget-toggle-button:not(.mod-active)").first.click()
        return
    sliders.first.focus()
    at_end = sliders.first.evaluate("it => it.getAttribute('aria-valuenow') === it.getAttribute('aria-valuemax')")
    page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")


def test_every_answer_fits_its_button(lesson, executed):
    cut = (
        show_predictions(lesson, executed)
        .locator(".widget-toggle-button")
        .evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText)")
    )
    assert cut == []


def test_predictions_are_kept(lesson, executed, server, name):
    cell = show_predictions(lesson, executed)
    cell.locator(".widget-toggle-button", has_text="up a lot").first.click()
    kept, step = server.data / "predictions.json", str(int(name[:2]))
    assert wait_until(lambda: kept.exists() and step in json.loads(kept.read_text()))
    assert "up a lot" in json.loads(kept.read_text())[step].values()


def test_a_layer_under_the_pointer_or_in_focus_tells_its_details(lesson, executed):
    pictures = ("draw_network(before, after", "draw_block(before, after")
    place = next((cell["index"] for cell in executed if any(call in cell["source"] for call in pictures)), None)
    if place is None:
        pytest.skip("no block diagram in this lesson")
    layers = lesson.show(place).locator("svg:has(.tip)").first.locator("g:has(.tip)")
    layers.nth(1).locator("polygon").hover(timeout=20_000)  # the first may be a depthwise one, with stripes over it
    assert layers.nth(1).locator(".tip").is_visible()
    assert not layers.nth(2).locator(".tip").is_visible()
    layers.nth(2).focus()
    assert layers.nth(2).locator(".tip").is_visible()


def test_nothing_asks_about_news(lesson, executed):
    assert "news" not in " ".join(lesson.page.locator(".Toastify").all_inner_texts()).lower()


def test_the_server_keeps_its_token(server):
    request = urllib.request.Request(f"{server.url}/api/contents")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403
