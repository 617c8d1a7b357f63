"""Install the course on Colab from its bundle: ``PYTHONPATH=BUNDLE python -m convnext_lessons.install BUNDLE``.

The bundle is a wheel, which Python can run code from before it is installed; so this needs nothing but Python. What
Colab has of torch, numpy and ipywidgets stays as it is.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

MISSING_ON_COLAB = ("fvcore",)  # of what the lessons need


def main(bundle: str) -> int:
    """Install a bundle, whatever the browser named it, and what is missing; say what failed. Returns the exit
    status."""
    try:
        with zipfile.ZipFile(bundle) as wheel:
            (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        print(f"{bundle} is no whole bundle of the course ({error}); make it with `make colab-bundle`, upload it anew.")
        return 1
    with TemporaryDirectory() as folder:
        # pip reads a wheel's name, and a second copy that a browser saves has one that pip refuses.
        named = Path(folder) / f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
        shutil.copy(bundle, named)
        if not _pip("--no-deps", str(named)):
            print(f"The course could not be installed from {bundle}: see pip's message above.")
            return 1
    for package in MISSING_ON_COLAB:
        if not find_spec(package) and not _pip(package):
            print(f"{package}, which the course needs, could not be installed: see pip's message above.")
            return 1
    print(f"The course is installed from {bundle}.")
    return 0


def _pip(*arguments):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    # Without the bundle on its path, where pip would take the course for installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, check=False, env=environment).returncode == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
