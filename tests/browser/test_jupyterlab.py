"""Lessons in a real JupyterLab in a real browser: every cell runs, the controls move, the picture follows.

Needs chromium (Debian's package, or any at CHROMIUM). Keeps what was seen in screenshots/.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
TOKEN = "for-this-test-only"
LESSONS = ("01_stage_ratio", "04_inverted_bottleneck", "08_fewer_activations", "12_imagenet_recipe")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: install it, or name one in CHROMIUM"),
]

CELLS = """() => {
  const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
  return cells.map((cell, index) => {
    if (cell.type !== 'code') return null;
    const outputs = [];
    for (let i = 0; i < cell.outputs.length; i++) outputs.push(cell.outputs.get(i).toJSON());
    return {index, source: cell.sharedModel.getSource(), count: cell.executionCount, state: cell.executionState ?? '',
            errors: outputs.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue),
            widget: outputs.some(o => o.data && 'application/vnd.jupyter.widget-view+json' in o.data)};
  }).filter(cell => cell);
}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server_data(home):
    """The data folder of the kernels."""
    return home / "data"


@pytest.fixture(scope="module")
def server(home, server_data):
    """The course's own `lab` command, with every folder of Jupyter's in a temporary place."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    settings = {"CONVNEXT_LESSONS_FAST": "1", "CONVNEXT_LESSONS_DATA": str(server_data), "HOME": str(home)}
    command = [sys.executable, "-m", "convnext_lessons", "lab", f"--folder={home / 'lessons'}", "--no-browser"]
    command += [f"--port={port}", f"--IdentityProvider.token={TOKEN}", "--expose-app-in-browser"]
    environment = {**os.environ, **folders, **settings, "IPYTHONDIR": str(home / "ipython")}
    environment.pop("CONVNEXT_LESSONS_STATIC", None)
    log = open(home / "log", "wb")  # noqa: SIM115 - the server writes to it until it is stopped
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api/status?token={TOKEN}", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.5)
        else:
            pytest.fail((home / "log").read_text())
        yield address
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request):
    return request.param


@pytest.fixture(scope="module")
def page(server, browser, lesson):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{server}/lab/tree/{lesson}.ipynb?token={TOKEN}&reset", timeout=60_000)
    page.wait_for_function(
        "() => window.jupyterapp?.shell?.currentWidget?.content?.model?.cells?.length > 5", timeout=60_000
    )
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext?.session?.kernel", timeout=60_000
    )
    yield page
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


@pytest.fixture(scope="module")
def executed(page, lesson):
    """The lesson after "run all cells"."""
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        cells = page.evaluate(CELLS)
        if any(cell["errors"] for cell in cells) or all(cell["count"] for cell in cells):
            break
        time.sleep(0.5)
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{lesson}_end.png")
    return cells


def place_of(cells, call):
    """Where the first cell stands whose widgets come from a call; a test of what a lesson has not is skipped."""
    places = [cell["index"] for cell in cells if cell["widget"] and f"{call}(" in cell["source"]]
    if not places:
        pytest.skip(f"no {call} in this lesson")
    return places[0]


def show_cell(page, index):
    page.evaluate(
        """async (index) => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = index;
          await notebook.scrollToItem(index, 'start');
        }""",
        index,
    )


def test_the_server_keeps_its_token(server):
    request = urllib.request.Request(f"{server}/api/contents")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403


def test_the_learners_copy_begins_without_results(page):
    cells = page.evaluate(CELLS)
    assert len(cells) > 10 and all(cell["count"] is None for cell in cells)


def test_every_cell_runs_in_the_browser(executed):
    assert [cell["errors"] for cell in executed if cell["errors"]] == []
    assert [cell["count"] for cell in executed] == list(range(1, len(executed) + 1)), json.dumps(executed)


def test_nothing_asks_about_news(page, executed):
    assert "news" not in " ".join(page.locator(".Toastify").all_inner_texts()).lower()


def test_every_answer_fits_its_button(page, executed):
    show_cell(page, place_of(executed, "Predictions"))
    page.locator(".widget-toggle-button", has_text="a little down").first.wait_for(timeout=20_000)
    cut = page.eval_on_selector_all(
        ".widget-toggle-button",
        "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText)",
    )
    assert cut == []


def test_predictions_are_kept(page, executed, server_data):
    show_cell(page, place_of(executed, "Predictions"))
    button = page.locator(".widget-toggle-button", has_text="up a lot").first
    button.wait_for(timeout=20_000)
    button.click()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (server_data / "predictions.json").exists():
        time.sleep(0.2)
    assert "up a lot" in (server_data / "predictions.json").read_text()


def test_the_explorer_moves_and_its_picture_follows(page, executed, lesson):
    show_cell(page, place_of(executed, "Explorer"))
    view = page.locator(".widget-vbox", has=page.locator(".widget-html svg, .widget-html img"))
    picture = view.locator(".widget-html svg, .widget-html img").first
    picture.wait_for(timeout=20_000)
    before = picture.evaluate("element => element.outerHTML")
    page.screenshot(path=SCREENSHOTS / f"{lesson}_explorer_before.png")
    if view.locator(".noUi-handle").count():
        view.locator(".noUi-handle").first.focus()
        page.keyboard.press("ArrowRight")
    else:
        view.locator(".widget-toggle-button:not(.mod-active)").first.click()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and picture.evaluate("element => element.outerHTML") == before:
        time.sleep(0.2)
    page.screenshot(path=SCREENSHOTS / f"{lesson}_explorer_after.png")
    assert picture.evaluate("element => element.outerHTML") != before


def test_pointing_at_a_layer_tells_its_details(page, executed):
    pictures = ("draw_network(before, after", "draw_block(before, after")
    place = next((cell["index"] for cell in executed if any(call in cell["source"] for call in pictures)), None)
    if place is None:
        pytest.skip("no block diagram in this lesson")
    show_cell(page, place)
    layer = page.locator("svg g polygon").nth(3)
    layer.wait_for(timeout=20_000)
    layer.hover()
    assert page.locator("svg g:hover .tip").first.is_visible()
