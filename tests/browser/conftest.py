"""What the tests in a browser share: one chromium, whose network ends at this machine, and one JupyterLab; where two
processes share the tests, each has its own.

Needs chromium (Debian's package, or any at CHROMIUM). What was seen is kept in screenshots/.
"""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from convnext_lessons.classroom.notebooks import find_lesson, read_notebook
from convnext_lessons.publish import site as website
from convnext_lessons.publish.deck import reading_group, write_deck
from convnext_lessons.publish.explorers import freeze_lessons
from convnext_lessons.publish.printing import find_browser

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
CUT = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


CELLS = """() => {
  const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
  return cells.map((cell, index) => {
    if (cell.type !== 'code') return null;
    const outputs = [];
    for (let i = 0; i < cell.outputs.length; i++) outputs.push(cell.outputs.get(i).toJSON());
    return {index, source: cell.sharedModel.getSource(), count: cell.executionCount,
            errors: outputs.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue),
            widget: outputs.some(o => o.data && 'application/vnd.jupyter.widget-view+json' in o.data)};
  }).filter(cell => cell);
}"""

RUN = """() => {
  window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.allRan = true; });
}"""

SHOW = """async (index) => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = index;
  await notebook.scrollToItem(index, 'start');
}"""


class OpenLesson:
    """A lesson in JupyterLab, on a page of its own and with a kernel of its own."""

    def __init__(self, page):
        self.page = page

    def cells(self):
        """What there is to know of each code cell."""
        return self.page.evaluate(CELLS)

    def run(self):
        """Run all cells, to the end or to the first error; returns them."""
        self.page.evaluate(RUN)
        self.page.wait_for_function("() => window.allRan", timeout=480_000, polling=500)
        return self.cells()

    def show(self, index):
        """Scroll to a cell; returns what of it stands on the page."""
        self.page.evaluate(SHOW, index)
        return self.page.locator(f'.jp-Notebook-cell[data-windowed-list-index="{index}"]')

    def close(self):
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.close()


@dataclass(frozen=True)
class Server:
    """A running JupyterLab.

    Attributes:
        url: without a slash at its end.
        token: that it wants.
        data: the data folder of its kernels.
    """

    url: str
    token: str
    data: Path

    def open_lesson(self, browser, name):
        """A learner's copy of a lesson, its kernel ready."""
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{self.url}/lab/tree/{name}.ipynb?token={self.token}&reset", timeout=60_000)
        for ready in ("content?.model?.cells?.length > 5", "sessionContext?.session?.kernel"):
            page.wait_for_function(f"() => window.jupyterapp?.shell?.currentWidget?.{ready}", timeout=60_000)
        return OpenLesson(page)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where two processes share the tests: a lesson's go to one of them, and all that need the website to one."""
    from xdist.scheduler import LoadScopeScheduling

    class InGroups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            if lesson := re.search(r"test_jupyterlab\.py.*\[(.+)\]", nodeid):
                return lesson[1]
            return "website" if re.search(r"test_(site|accessibility)\.py", nodeid) else super()._split_scope(nodeid)

    return InGroups(config, log)


@pytest.fixture(scope="session")
def browser():
    if not (chromium := find_browser()):
        pytest.skip("no chromium on this machine: install it, or name one in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*QUIET, CUT])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots():
    folder = Path(__file__).parents[2] / "screenshots"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The course's own `lab` command, with every folder of Jupyter's in a temporary place."""
    home = tmp_path_factory.mktemp("home")
    server = Server(f"http://127.0.0.1:{_free_port()}", "for-this-test-only", home / "data")
    folders = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    settings = {"CONVNEXT_LESSONS_FAST": "1", "CONVNEXT_LESSONS_DATA": str(server.data), "HOME": str(home)}
    command = [sys.executable, "-m", "convnext_lessons", "lab", f"--folder={home / 'lessons'}", "--no-browser"]
    command += [f"--port={server.url.rpartition(':')[2]}", f"--IdentityProvider.token={server.token}"]
    environment = {**os.environ, **folders, **settings, "IPYTHONDIR": str(home / "ipython")}
    environment.pop("CONVNEXT_LESSONS_STATIC", None)
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(
            [*command, "--expose-app-in-browser"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(server, process, home / "log")
            yield server
        finally:
            process.terminate()
            process.wait(20)


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait_for(server, process, log):
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{server.url}/api/status?token={server.token}", timeout=5)
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
    pytest.fail(log.read_text())


@pytest.fixture(scope="session")
def deck(tmp_path_factory):
    """The file of the reading group's slides."""
    return write_deck(read_notebook(reading_group()), tmp_path_factory.mktemp("slides") / "reading_group.html")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The address of a website in which the explorer of one lesson moves, which is quickly made."""
    folder = tmp_path_factory.mktemp("website")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(website, "freeze_lessons", _freeze_one)
        return website.make_site(folder / "site", kept=folder / "explorers").as_uri()


def _freeze_one(lessons, kept):
    return {path.stem: {} for path in lessons} | freeze_lessons([find_lesson(11)], kept)


@pytest.fixture(scope="session")
def barriers():
    """``barriers(page, within, without, rules)``: what axe-core finds serious or critical, a line for each.

    ``within`` and ``without`` are lists of CSS selectors; ``rules`` are those of axe-core's that are asked, all unless
    given.
    """
    from axe_playwright_python.sync_playwright import Axe

    def barriers(page, within=("html",), without=(), rules=()):
        context = {"include": [[one] for one in within], "exclude": [[one] for one in without]}
        options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        found = Axe().run(page, context, options).response["violations"]
        return [
            f"{fault['id']}: {node['target'][-1]} {node['html'][:200]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    return barriers
