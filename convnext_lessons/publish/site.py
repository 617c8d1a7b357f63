"""The website: Sphinx over the committed lessons and pages, nothing of them executed but what explorers need.

It needs the packages of the extra ``site``. What it writes is a folder of files that opens from a disk as from a host,
and asks no other host for anything.
"""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

from convnext_lessons.classroom.colab import colab_address, repository_address
from convnext_lessons.classroom.notebooks import list_lessons, read_notebook
from convnext_lessons.publish.explorers import freeze_lessons
from convnext_lessons.publish.home import draw_road_explorer, home_page
from convnext_lessons.publish.links import find_faults
from convnext_lessons.publish.pages import page_of
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import CHECKOUT
from convnext_lessons.system.storage import locked, storage_errors, sweep_parts

STATIC = Path(__file__).parent / "static"

_LINKED = re.compile(r"\]\(([^)#:]+)[^)]*\)")


class SiteError(CourseError):
    """A website that cannot be made, or would be broken."""


def make_site(
    folder: str | Path | None = None,
    kept: str | Path | None = None,
    report: Callable[[str], object] = print,
) -> Path:
    """Make the website.

    Args:
        folder: is replaced as a whole, once the new one stands; ``build/site`` of the checkout unless given.
        kept: the folder of explorers made before; ``build/explorers`` of the checkout unless given.
        report: is called with a line for every explorer.

    Returns:
        The folder.

    Raises:
        SiteError: packages are missing, Sphinx complains, or a page is broken or asks another host for something.
        LessonError: a notebook cannot be read.
        StorageError: the folder cannot be written.
    """
    if not CHECKOUT:
        raise SiteError("The website is made from a clone of the course's repository; this package is not in one.")
    folder = Path(folder or CHECKOUT / "build" / "site").resolve()
    lessons = list_lessons()
    explorers = freeze_lessons(lessons, Path(kept or CHECKOUT / "build" / "explorers"))
    for name, of_lesson in explorers.items():
        for cell, explorer in of_lesson.items():
            report(f"{name}, cell {cell + 1}: {explorer.report}")
    with locked(folder), storage_errors(folder.parent):
        sweep_parts(folder)
        with TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent) as part:
            source, files, pages = (Path(part) / name for name in ("source", "files", "pages"))
            _write_sources(source, files, lessons, explorers)
            _run_sphinx(source, files, pages)
            if faults := find_faults(pages):
                raise SiteError(f"The website would have {len(faults)} faults; the first: {faults[0]}")
            shutil.rmtree(folder, ignore_errors=True)
            pages.rename(folder)
    return folder


def _write_sources(source, files, lessons, explorers):
    """The tree that Sphinx reads, laid out as the repository, so that the pages' links hold; and what is copied as it
    is."""
    url = repository_address()
    notebooks = {path.stem: read_notebook(path) for path in lessons}
    for folder in (source / "notebooks", files / "notebooks"):
        folder.mkdir(parents=True)
    for path in lessons:
        page = page_of(notebooks[path.stem], path.stem, explorers[path.stem], files, url)
        nbformat.write(page, source / "notebooks" / path.name)
        shutil.copy(path, files / "notebooks")
    (files / ".nojekyll").touch()  # the usual host would leave out folders that begin with an underscore
    docs = sorted(f"docs/{path.name}" for path in (CHECKOUT / "docs").glob("*.md"))
    about = ["README.md", "data/README.md", "CONTRIBUTING.md"]
    for name in (*docs, *about):
        _copy_page(name, source)
    groups = {
        "Around the lessons": [name.removesuffix(".md") for name in docs],
        "The course": ["Install, train, use <README>", "data/README", "CONTRIBUTING"],
    }
    kit = "docs/reading_group.md" in docs
    colab = colab_address(url, "") is not None
    index = home_page(draw_road_explorer().frozen(), notebooks, groups, kit, colab)
    (source / "index.md").write_text(index, encoding="utf-8")


def _copy_page(name, source):
    """A page of Markdown, and the files beside it that it shows or links to."""
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    page = source / name
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    for target in _LINKED.findall(text):
        there, copy = (CHECKOUT / name).parent / target, page.parent / target
        if there.is_file() and there.suffix not in (".md", ".ipynb") and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(there, copy)


def _run_sphinx(source, files, pages):
    try:
        import myst_nb  # noqa: F401 - Sphinx finds both by name
        import sphinx_book_theme  # noqa: F401
        from sphinx.application import Sphinx
        from sphinx.errors import SphinxError
        from sphinx.util.docutils import docutils_namespace, patch_docutils
    except ImportError as error:
        raise SiteError(f"The package {error.name} is missing: pip install 'convnext-lessons[site]'.") from error
    settings = {
        "project": "ConvNeXt Lessons",
        "extensions": ["myst_nb"],
        "html_theme": "sphinx_book_theme",
        "html_title": "ConvNeXt Lessons",
        "html_favicon": str(STATIC / "icon.svg"),
        "html_static_path": [str(STATIC)],
        "html_css_files": ["course.css"],
        "html_js_files": [("course.js", {"defer": "defer"})],
        "html_extra_path": [str(files)],
        "html_copy_source": False,
        "html_show_copyright": False,
        "html_show_search_summary": False,  # for a sentence of each page found, the whole page would be fetched
        "html_show_sphinx": False,
        "html_context": {"default_mode": "auto"},
        "html_theme_options": {
            "logo": {"text": "ConvNeXt Lessons"},
            "footer_content_items": [],  # it would name an author
            "use_download_button": False,  # it would hand out the page's copy of a lesson
            "navbar_persistent": [],  # the search stands in the sidebar
            "show_toc_level": 2,
            "search_as_you_type": True,
        },
        "nb_execution_mode": "off",
        "nb_ipywidgets_js": {},
        "nb_merge_streams": True,
        "myst_heading_anchors": 3,
        "suppress_warnings": ["myst.header"],  # a lesson may go on below a heading that a cell began
    }
    complaints = io.StringIO()
    try:
        with patch_docutils(), docutils_namespace():
            sphinx = Sphinx(
                source, None, pages, pages.with_name("doctrees"), "html", settings, status=None, warning=complaints
            )
            sphinx.build()
    except SphinxError as error:
        raise SiteError(f"Sphinx cannot make the pages: {error}") from error
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", complaints.getvalue()).splitlines() if line.strip()]
    if lines:
        raise SiteError(f"Sphinx complains of {len(lines)} things; the first: {lines[0].removeprefix(f'{source}/')}.")
