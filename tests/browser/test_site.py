"""The website in a real browser, from the disk, with the network cut: search, explorers, predictions, phone, dark.

Needs chromium, see ``conftest``. Keeps what was seen in screenshots/.
"""

import re
from pathlib import Path

import pytest

LESSON = "notebooks/11_separate_downsampling.html"

pytestmark = pytest.mark.browser


@pytest.fixture
def open_page(site, browser):
    """Open a page of the website; when the test ends, no other place has been asked for anything, and no script has
    failed."""
    contexts, faults = [], []

    def open_page(name, **settings):
        contexts.append(browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, **settings}))
        page = contexts[-1].new_page()
        page.on(
            "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or faults.append(request)
        )
        page.on("requestfailed", lambda request: faults.append(request.url))
        page.on("pageerror", lambda error: faults.append(error))
        page.goto(f"{site}/{name}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def keep_picture(screenshots):
    return lambda page, name: page.screenshot(path=screenshots / f"site_{name}.png")


def test_the_search_finds_a_word_of_a_lesson(open_page, keep_picture):
    page = open_page("search.html?q=downsampling")
    found = page.locator("#search-results a", has_text="11 · Separate downsampling")
    found.first.wait_for(timeout=20_000)
    keep_picture(page, "search")
    found.first.click()
    page.wait_for_url(re.compile("11_separate_downsampling"))


def test_an_explorer_moves_by_keyboard(open_page, keep_picture):
    page = open_page(LESSON)
    explorer = page.locator(".explorer")
    slider = explorer.get_by_label("kernel")
    slider.wait_for(timeout=20_000)
    picture = explorer.locator(".explorer-view img")
    before = picture.get_attribute("src")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert picture.get_attribute("src") != before
    assert slider.get_attribute("aria-valuetext") == "2"
    assert explorer.locator("output").text_content() == f"kernel 2, stride 2: {picture.get_attribute('alt')}"
    explorer.scroll_into_view_if_needed()
    keep_picture(page, "explorer")
    page.keyboard.press("ArrowLeft")
    assert picture.get_attribute("src") == before


def test_the_road_moves_on_the_first_page(open_page, keep_picture):
    page = open_page("index.html")
    slider = page.get_by_label("after step")
    slider.wait_for(timeout=20_000)
    keep_picture(page, "home")
    last = page.locator(".explorer-view svg").get_attribute("aria-label")
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator(".explorer-view svg").get_attribute("aria-label") != last
    assert slider.get_attribute("aria-valuetext") == "0 ResNet-50"


def test_predictions_are_graded_and_kept(open_page, keep_picture):
    page = open_page(LESSON)
    right = page.locator(".score tr").nth(1).locator("td").nth(1).text_content()
    fields = page.locator(".predictions fieldset")
    fields.nth(0).locator("label", has_text=right).click()
    page.reload()
    assert fields.nth(0).locator("input:checked").get_attribute("value") == right
    score = page.locator(".score")
    assert score.locator("tr").nth(1).locator("td").nth(3).text_content() == f"{right} (1)"
    assert score.locator("b").text_content() == "1 of 1 points for step 11."
    fields.nth(0).locator("input:checked").focus()
    page.keyboard.press("ArrowRight")  # the neighbour, or from the last answer to the first
    said = fields.nth(0).locator("input:checked").get_attribute("value")
    assert score.locator("tr").nth(1).locator("td").nth(3).text_content().startswith(said)
    assert page.locator(".tally").text_content().startswith("your predictions: step 11: ")
    score.scroll_into_view_if_needed()
    keep_picture(page, "score")


def test_a_drawings_details_are_told_by_keyboard(open_page):
    page = open_page(LESSON)
    drawing = page.locator("svg[role=img]:has(.tip)").first
    drawing.focus()
    assert drawing.locator(".tip:visible").count() == 0
    page.keyboard.press("ArrowRight")
    first = drawing.locator(".tip:visible").text_content()
    page.keyboard.press("ArrowRight")
    assert drawing.locator(".tip:visible").text_content() != first


def test_a_layer_with_stripes_tells_its_details_under_the_pointer(open_page):
    page = open_page("notebooks/08_fewer_activations.html")
    layer = page.locator("svg[role=img] g:has(> .tip)").first  # a depthwise convolution
    layer.locator("polygon").hover(timeout=10_000)  # fails where something lies over it
    assert layer.locator(".tip").is_visible()


def test_a_drawings_details_stand_in_words_below_it(open_page):
    page = open_page(LESSON)
    parts = page.locator("details.parts").first
    assert not parts.locator("li").first.is_visible()
    parts.locator("summary").focus()
    page.keyboard.press("Enter")
    assert parts.locator("li").first.is_visible()


@pytest.mark.parametrize("name", ["index.html", LESSON, "README.html", "data/README.html"])
def test_a_phone_needs_no_sideways_scrolling(open_page, name, keep_picture):
    page = open_page(name, viewport={"width": 390, "height": 844})
    keep_picture(page, f"phone_{Path(name).stem}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pictures_have_descriptions(open_page):
    page = open_page(LESSON)
    assert page.locator("article img").count() > 5
    assert page.locator("article img:not([alt]), article img[alt='']").count() == 0


def test_words_can_be_read_in_the_dark(open_page, keep_picture):
    page = open_page(LESSON, color_scheme="dark")
    label = page.locator(".predictions legend").first
    light = [int(part) for part in re.findall(r"\d+", label.evaluate("it => getComputedStyle(it).color"))[:3]]
    assert min(light) > 150
    label.scroll_into_view_if_needed()
    keep_picture(page, "dark")
