"""Pages as PDF, printed by a browser that is there; the course brings none.

The pages say their own size and where a sheet ends, so that printing by hand (Ctrl+P, no margins, background graphics
on) gives the same.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from convnext_lessons.system.errors import CourseError, in_a_line
from convnext_lessons.system.storage import atomic

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
SECONDS = 120


class PrintingError(CourseError):
    """No browser, or one that does not print."""


def find_browser() -> str | None:
    """The browser that CHROMIUM names, or the first of Chromium, Chrome and Edge that is installed; None without."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def print_page(page: Path, pdf: Path) -> Path:
    """Print a page that is a file into a PDF, without a network.

    Raises:
        PrintingError: there is no browser, or it failed; the page stays, and no PDF is written.
        StorageError: the PDF cannot be written.
    """
    browser = find_browser()
    if not browser:
        raise PrintingError(
            f"{pdf.name} is missing: there is no Chromium, Chrome or Edge to print it (install one, or name it in "
            f"CHROMIUM). Until then, open {page} in any browser and print it into a file."
        )
    with tempfile.TemporaryDirectory() as profile, atomic(pdf) as part:
        settings = ["--headless", "--disable-gpu", f"--user-data-dir={profile}", "--no-pdf-header-footer"]
        settings += ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--no-first-run"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            settings.append("--no-sandbox")  # Chromium's sandbox refuses to work for root, as in containers
        command = [browser, *settings, f"--print-to-pdf={part}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise PrintingError(f"{pdf.name} is missing: {browser} did not print it in {SECONDS} seconds.") from error
        except OSError as error:
            raise PrintingError(f"{pdf.name} is missing: {browser} does not print ({in_a_line(error)}).") from error
        if done.returncode or not part.read_bytes().startswith(b"%PDF"):
            words = in_a_line(done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}")
            raise PrintingError(f"{pdf.name} is missing: {browser} does not print ({words}).")
    return pdf
