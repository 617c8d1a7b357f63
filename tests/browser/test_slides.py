"""Slides, handout and their PDFs in a real browser, with the network cut.

Needs chromium, see ``conftest``. Keeps what was seen in screenshots/.
"""

import re
import shutil

import pytest

from convnext_lessons.publish.handout import write_handout
from convnext_lessons.publish.lesson_deck import write_lesson_deck
from convnext_lessons.publish.printing import print_page

pytestmark = pytest.mark.browser

# What of the shown slide stands outside of it, and the words on it that are too small, in pixels of the slide.
LOOK = """least => {
  const slide = Reveal.getCurrentSlide();
  const shown = element => element.checkVisibility() && !element.closest('aside, .tip, details');
  const all = [...slide.querySelectorAll('*')].filter(shown);
  const outside = all.filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && (box.left < -1 || box.top < -1 || box.right > 1281 || box.bottom > 721);
  });
  const scale = element => {
    const svg = element.closest('svg');
    return svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
  };
  const words = all.filter(element => [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
  const small = words.filter(element => parseFloat(getComputedStyle(element).fontSize) * scale(element) < least);
  const under = [...slide.querySelectorAll('p, h1, h2')].filter(shown).some(text => {
    const figure = slide.querySelector('figure svg, figure ol, figure img');
    return figure && text.getBoundingClientRect().bottom > figure.getBoundingClientRect().top + 1;
  });
  const say = elements => elements.map(element => element.outerHTML.slice(0, 120));
  return {outside: say(outside), small: say(small), under};
}"""


@pytest.fixture
def open_page(browser):
    """A page of a file with the network cut, and the list of all that it asked for or complained of."""
    contexts = []

    def open_page(path, **settings):
        context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True, **settings)
        contexts.append(context)
        page, heard = context.new_page(), []
        page.on("request", lambda request: request.url.startswith("data:") or heard.append(request.url))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
        page.goto(path.as_uri())
        return page, heard

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def go_through(screenshots):
    """Look at every slide of a page; returns how many there are."""

    def go_through(page, name, least=16):
        page.wait_for_function("() => window.Reveal && Reveal.isReady()")
        number = page.evaluate("Reveal.getTotalSlides()")
        for index in range(number):
            page.evaluate("index => Reveal.slide(index)", index)
            page.screenshot(path=screenshots / f"{name}_{index + 1:02}.png")
            seen = page.evaluate(LOOK, least)
            assert seen == {"outside": [], "small": [], "under": False}, f"slide {index + 1}"
        return number

    return go_through


def pages_of(pdf):
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_slides_fit_have_large_words_and_ask_for_nothing(theme, deck, open_page, go_through):
    page, heard = open_page(deck, color_scheme=theme)
    assert go_through(page, f"reading_group_{theme}") > 15
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    assert heard == [deck.as_uri()]


def test_keys_turn_vote_and_change_the_light(deck, open_page):
    page, _ = open_page(deck, color_scheme="light")
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert page.locator(".present .present h2").inner_text() == "Vote 1"
    for key in ("1", "2", "2", "3"):
        page.keyboard.press(key)
    page.locator(".present .present .vote button").nth(2).click()
    assert page.locator(".present .present .vote output").all_inner_texts() == ["1", "2", "2"]
    page.keyboard.press("ArrowRight")
    assert page.locator(".present .present .tally").inner_text() == "The room: 1: 1 · 2: 2 · 3: 2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    assert page.locator(".present .present .vote output").all_inner_texts() == ["", "", ""]
    page.keyboard.press("d")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(20, 24, 29)"


def test_an_explorer_moves_and_leaves_the_keys_to_the_slides(deck, open_page):
    page, _ = open_page(deck)
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    slider = page.get_by_role("slider", name="step", include_hidden=True)
    page.evaluate("""() => {
      const slides = [...document.querySelectorAll('.slides > section')];
      Reveal.slide(slides.findIndex(slide => slide.querySelector('.explorer')));
    }""")
    here, picture = page.evaluate("Reveal.getIndices().h"), page.locator(".explorer-view svg")
    slider.wait_for()
    assert slider.get_attribute("aria-valuetext") == "4"
    before, box = picture.get_attribute("aria-label"), slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 10, box["y"] + box["height"] / 2)
    assert slider.get_attribute("aria-valuetext") == "11" and picture.get_attribute("aria-label") != before
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getIndices().h") == here + 1


def test_the_speaker_has_notes_the_next_slide_and_a_pace(deck, open_page, screenshots):
    page, _ = open_page(deck)
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    with page.expect_popup() as window:
        page.keyboard.press("s")
    speaker = window.value
    speaker.set_viewport_size({"width": 1280, "height": 720})
    speaker.wait_for_function("() => document.querySelector('.speaker-controls-notes .value')?.innerText.length > 50")
    assert "0:00" in speaker.locator(".speaker-controls-notes .value").inner_text()
    assert speaker.locator(".pacing").is_visible()
    speaker.screenshot(path=screenshots / "reading_group_speaker.png")
    speaker.keyboard.press("ArrowRight")
    page.wait_for_function("() => Reveal.getIndices().h === 1")


def test_the_code_is_folded_and_opens(deck, open_page):
    page, _ = open_page(deck)
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    code = page.locator(".present .present details.code")
    assert not code.locator("pre").is_visible()
    code.locator("summary").click()
    assert "draw_all_blocks()" in code.locator("pre").inner_text()


def test_the_pdf_has_a_page_for_every_slide_and_no_notes(deck, tmp_path, open_page, screenshots):
    page, _ = open_page(deck)
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    slides = page.evaluate("Reveal.getTotalSlides()")
    pdf = print_page(deck, tmp_path / "reading_group.pdf")
    assert pages_of(pdf) == slides
    shutil.copy(pdf, screenshots)
    page.emulate_media(media="print")
    assert not page.locator("aside.notes, details.code, .hint, .explorer-controls").filter(visible=True).count()


@pytest.mark.parametrize("number", [0, 4, 8, 12])
def test_slides_of_a_lesson_fit(number, tmp_path, open_page, go_through):
    path = write_lesson_deck(number, tmp_path)
    page, heard = open_page(path)
    slides = go_through(page, path.stem, least=8)  # a lesson's diagrams are made to be read on a page
    assert heard == [path.as_uri()]
    assert pages_of(print_page(path, path.with_suffix(".pdf"))) == slides


def test_the_handout_is_one_sheet(tmp_path, open_page):
    path = write_handout(tmp_path / "handout.html")
    page, heard = open_page(path)
    assert heard == [path.as_uri()]
    filled, room = page.locator("main").evaluate("sheet => [sheet.scrollHeight, sheet.clientHeight]")
    assert filled <= room + 1
    assert pages_of(print_page(path, tmp_path / "handout.pdf")) == 1
