"""What axe-core finds in a real browser: nothing serious of ours, wherever a lesson is looked at.

Needs chromium, see ``conftest``. What others made is left out, each with its reason.
"""

import pytest
from nbconvert.exporters import HTMLExporter

from convnext_lessons.classroom.notebooks import find_lesson, read_notebook

pytestmark = pytest.mark.browser


@pytest.fixture
def open_file(browser):
    """Open a page with the network cut."""
    contexts = []

    def open_file(address, **settings):
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 720}, offline=True, **settings))
        page = contexts[-1].new_page()
        page.goto(address)
        return page

    yield open_file
    for context in contexts:
        context.close()


# JupyterLab's window around the notebook, its editors, prompts and toolbars are not in what is looked at.
IN_JUPYTERLAB = (".jp-OutputArea-output", ".jp-RenderedMarkdown")
# ipywidgets gives the handles of its sliders no name (their description is a label of nothing), and Python cannot.
OTHERS_IN_JUPYTERLAB = (".noUi-handle",)

# nbconvert's grey prompts and the colours of its highlighted code have too little contrast in every export.
OTHERS_IN_EXPORTS = (".jp-InputPrompt", ".jp-OutputPrompt", ".highlight")


def test_a_lesson_in_jupyterlab(server, browser, barriers):
    lesson = server.open_lesson(browser, find_lesson(4).stem)
    cells = lesson.run()
    pictures = lesson.page.locator(".jp-OutputArea-output :is(svg[role=img], img)").count()
    found = barriers(lesson.page, IN_JUPYTERLAB, OTHERS_IN_JUPYTERLAB)
    lesson.close()
    assert all(cell["count"] for cell in cells)
    assert pictures > 10
    assert found == []


def test_an_export(tmp_path, open_file, barriers):
    content, _ = HTMLExporter().from_notebook_node(read_notebook(find_lesson(4)))
    path = tmp_path / "export.html"
    path.write_text(content, encoding="utf-8")
    assert barriers(open_file(path.as_uri()), without=OTHERS_IN_EXPORTS) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "notebooks/11_separate_downsampling.html"])
def test_the_website(name, theme, site, open_file, barriers):
    page = open_file(f"{site}/{name}", color_scheme=theme)
    page.locator(".explorer-controls:not([hidden])").first.wait_for(timeout=20_000)
    assert barriers(page) == []


@pytest.mark.parametrize(("theme", "rules"), [("light", ()), ("dark", ("color-contrast",))])
def test_the_slides(theme, rules, deck, open_file, barriers):
    page = open_file(deck.as_uri(), color_scheme=theme)
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    for index in range(page.evaluate("Reveal.getTotalSlides()")):
        page.evaluate("index => Reveal.slide(index)", index)
        assert barriers(page, rules=rules) == [], f"slide {index + 1}"


def test_a_picture_that_lost_its_sentence_is_found(deck, open_file, barriers):
    page = open_file(deck.as_uri())
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    page.locator(".present .present svg[role=img]").evaluate("picture => picture.removeAttribute('aria-label')")
    (found,) = barriers(page)
    assert found.startswith("svg-img-alt: ")
