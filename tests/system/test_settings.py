import pytest

from convnext_lessons.system import data_folder, fast_mode, reference_folder, settings, static_mode
from convnext_lessons.system.settings import images_asked_for


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, True) for value in ("1", "yes", "true", "on")),
        *((value, False) for value in ("0", "", "false", "False", "no", " off ", None)),
    ],
)
@pytest.mark.parametrize("mode", [fast_mode, static_mode])
def test_modes_follow_the_environment(mode, value, expected, monkeypatch):
    name = {fast_mode: "CONVNEXT_LESSONS_FAST", static_mode: "CONVNEXT_LESSONS_STATIC"}[mode]
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)
    assert mode() is expected


@pytest.mark.parametrize(("value", "expected"), [("imagewoof", "imagewoof"), ("", None), (None, None)])
def test_the_images_follow_the_environment(value, expected, monkeypatch):
    monkeypatch.delenv("CONVNEXT_LESSONS_IMAGES", raising=False)
    if value is not None:
        monkeypatch.setenv("CONVNEXT_LESSONS_IMAGES", value)
    assert images_asked_for() == expected


def test_the_data_folder_is_the_one_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVNEXT_LESSONS_DATA", str(tmp_path / "here"))
    assert data_folder() == tmp_path.resolve() / "here"


def test_the_data_folder_of_a_checkout_does_not_depend_on_the_working_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("CONVNEXT_LESSONS_DATA")
    monkeypatch.setattr(settings, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.chdir(tmp_path)
    assert data_folder() == tmp_path / "checkout" / "data"


def test_the_data_folder_of_an_installed_package_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("CONVNEXT_LESSONS_DATA")
    monkeypatch.setattr(settings, "CHECKOUT", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_folder().parent == tmp_path


def test_the_reference_runs_travel_inside_an_installed_package(monkeypatch):
    monkeypatch.setattr(settings, "CHECKOUT", None)
    assert reference_folder().parent == settings.PACKAGE


def test_the_package_is_the_folder_that_holds_all_others():
    assert (settings.PACKAGE / "__init__.py").is_file()
    assert (settings.PACKAGE / "system" / "settings.py").samefile(settings.__file__)


@pytest.mark.parametrize("folder", ["~nobody-of-that-name/x"])
def test_a_data_folder_that_cannot_be_is_one_sentence(folder, monkeypatch, refuses):
    monkeypatch.setenv("CONVNEXT_LESSONS_DATA", folder)
    with refuses(settings.SettingError, "CONVNEXT_LESSONS_DATA", folder):
        data_folder()
