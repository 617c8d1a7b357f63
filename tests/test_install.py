import zipfile
from pathlib import Path

import pytest

from convnext_lessons import install

NAME = "convnext_lessons-0.1.0"


@pytest.fixture
def pip(monkeypatch):
    """What pip is asked for; it installs nothing, and fails where a word of the command is in ``fails``."""

    class Pip(list):
        fails = ""

        def __call__(self, *arguments):
            self.append([*arguments[:-1], Path(arguments[-1]).name])
            return not (self.fails and self.fails in arguments[-1])

    made = Pip()
    monkeypatch.setattr(install, "_pip", made)
    return made


@pytest.fixture
def bundle(tmp_path):
    """A bundle as a browser names the second copy that it saves."""
    path = tmp_path / f"{NAME}-py3-none-any (1).whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("convnext_lessons/__init__.py", "")
        wheel.writestr(f"{NAME}.dist-info/METADATA", "")
    return path


def test_a_bundle_is_installed_by_its_own_name_and_then_what_is_missing(bundle, pip, monkeypatch, capsys):
    monkeypatch.setattr(install, "find_spec", lambda name: None)
    assert install.main(str(bundle)) == 0
    assert pip == [["--no-deps", f"{NAME}-py3-none-any.whl"], ["fvcore"]]
    assert f"installed from {bundle}" in capsys.readouterr().out


def test_what_is_there_is_not_installed_again(bundle, pip):
    assert install.main(str(bundle)) == 0  # fvcore is here
    assert [arguments[-1] for arguments in pip] == [f"{NAME}-py3-none-any.whl"]


@pytest.mark.parametrize(("fails", "words"), [("convnext", "The course could not"), ("fvcore", "fvcore, which")])
def test_each_install_says_by_itself_that_it_failed(fails, words, bundle, pip, monkeypatch, capsys):
    monkeypatch.setattr(install, "find_spec", lambda name: None)
    pip.fails = fails
    assert install.main(str(bundle)) == 1
    assert capsys.readouterr().out.startswith(words)


@pytest.mark.parametrize("content", [None, b"", b"PK torn"])
def test_a_bundle_that_is_not_whole(content, tmp_path, pip, capsys):
    path = tmp_path / "convnext_lessons.whl"
    if content is not None:
        path.write_bytes(content)
    assert install.main(str(path)) == 1
    assert f"{path} is no whole bundle" in capsys.readouterr().out and pip == []


def test_a_zip_of_something_else(tmp_path, pip, capsys):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat.jpg", "")
    assert install.main(str(path)) == 1
    assert "no whole bundle" in capsys.readouterr().out


def test_pip_does_not_find_the_bundle_on_its_path(monkeypatch):
    asked = []
    monkeypatch.setenv("PYTHONPATH", "bundle.whl")
    monkeypatch.setattr(install.subprocess, "run", lambda command, **how: asked.append(how["env"]) or Done())
    assert install._pip("fvcore")
    assert "PYTHONPATH" not in asked[0] and asked[0]["PATH"]


class Done:
    returncode = 0
