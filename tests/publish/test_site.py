import re
import sys
from pathlib import Path

import pytest
import yaml

from convnext_lessons.classroom import Explorer
from convnext_lessons.classroom.notebooks import find_lesson
from convnext_lessons.publish import site
from convnext_lessons.publish.links import find_faults
from convnext_lessons.publish.site import SiteError, make_site
from convnext_lessons.system.storage import StorageError

LESSON = find_lesson(11)


@pytest.fixture
def quick(monkeypatch):
    """Without explorers, which take the longest."""
    monkeypatch.setattr(site, "freeze_lessons", lambda lessons, kept: {path.stem: {} for path in lessons})
    monkeypatch.setattr(Explorer, "frozen", lambda explorer: "<p>the road</p>")


def test_the_website_stands_whole(quick, tmp_path):
    folder = make_site(tmp_path / "site")
    pages = {str(path.relative_to(folder)) for path in folder.rglob("*.html")}
    expected = {"index", "README", "CONTRIBUTING", "data/README", "docs/clusters", f"notebooks/{LESSON.stem}", "search"}
    assert {f"{name}.html" for name in expected} <= pages
    assert find_faults(folder) == []
    assert (folder / "notebooks" / LESSON.name).read_bytes() == LESSON.read_bytes()
    assert (folder / ".nojekyll").exists() and (folder / "searchindex.js").exists()
    home = (folder / "index.html").read_text(encoding="utf-8")
    assert "<p>the road</p>" in home and f"notebooks/{LESSON.stem}.html" in home
    assert "<footer" in home and "name not set" not in home
    assert {path.name for path in tmp_path.iterdir()} == {"site", ".site.lock"}


def test_what_stood_before_stays_until_the_new_one_is_sound(quick, tmp_path, monkeypatch, refuses):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "before").touch()
    monkeypatch.setattr(site, "_run_sphinx", lambda source, files, pages: pages.mkdir())
    monkeypatch.setattr(site, "find_faults", lambda pages: ["a.html leads to b.html, which is not there."])
    with refuses(SiteError, "1 fault", "b.html"):
        make_site(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"site", ".site.lock"} and (folder / "before").exists()
    monkeypatch.setattr(site, "find_faults", lambda pages: [])
    make_site(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"site", ".site.lock"} and not list(folder.iterdir())


def test_a_complaint_of_sphinx_is_an_error(quick, tmp_path, monkeypatch, refuses):
    checkout = tmp_path / "checkout"
    for name in ("README.md", "CONTRIBUTING.md", "data/README.md", "pyproject.toml", "docs/kit.md"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("# A page\n\n[nowhere](not_there.md)\n" if name == "docs/kit.md" else "# A page\n")
    monkeypatch.setattr(site, "CHECKOUT", checkout)
    with refuses(SiteError, "Sphinx complains of 1 thing", "not_there.md"):
        make_site(tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_missing_packages_are_told(quick, tmp_path, monkeypatch, refuses):
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    with refuses(SiteError, "myst_nb", "convnext-lessons[site]"):
        make_site(tmp_path / "site")


def test_it_needs_the_repository(tmp_path, monkeypatch, refuses):
    monkeypatch.setattr(site, "CHECKOUT", None)
    with refuses(SiteError, "clone"):
        make_site(tmp_path / "site")


def test_a_folder_that_cannot_be_is_told(quick, tmp_path, refuses):
    (tmp_path / "file").touch()
    with refuses(StorageError, "file"):
        make_site(tmp_path / "file" / "site")


def test_the_workflow_publishes_what_the_command_makes():
    root = Path(__file__).parents[2]
    workflow = yaml.safe_load((root / ".github" / "workflows" / "site.yml").read_text())
    assert workflow[True] == {"push": {"branches": ["main"]}, "workflow_dispatch": None}  # YAML reads "on" as True
    assert workflow["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
    (job,) = workflow["jobs"].values()
    actions = {step["uses"].partition("@")[0]: step for step in job["steps"] if "uses" in step}
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make site"]
    assert actions["actions/upload-pages-artifact"]["with"] == {"path": "build/site"}
    assert actions["actions/cache"]["with"]["path"] == "build/explorers"
    assert actions["actions/setup-python"]["with"] == {"python-version": "3.11"}  # a text: 3.10 would be the number 3.1
    deployment = actions["actions/deploy-pages"]["id"]
    assert job["environment"] == {"name": "github-pages", "url": f"${{{{ steps.{deployment}.outputs.page_url }}}}"}
    assert "\nsite:" in (root / "Makefile").read_text()
    assert "build/" in (root / ".gitignore").read_text().splitlines()


def test_the_cache_of_the_workflow_knows_what_explorers_come_from():
    root = Path(__file__).parents[2]
    key = re.search(r"hashFiles\((.+)\)", (root / ".github" / "workflows" / "site.yml").read_text())[1]
    assert all(list(root.glob(pattern)) for pattern in re.findall("'([^']+)'", key))
