"""Whatever is given to the course, it answers in one plain sentence, or takes it rightly."""

import importlib.util
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

HERE = Path(__file__).parent
PAGE = HERE / "inputs.md"


def load_inputs():
    """inputs.py, which lies beside the tests and in no package."""
    spec = importlib.util.spec_from_file_location("inputs", HERE / "inputs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


inputs = load_inputs()


@pytest.fixture(scope="module")
def outcomes():
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        return inputs.try_all(Path(place))


@pytest.mark.parametrize("part", inputs.PARTS)
def test_every_input_is_fine(part, outcomes):
    assert [outcome for outcome in outcomes if outcome.part == part and not outcome.fine] == []


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the page is Python 3.11's; others word argparse's errors anew"
)
def test_the_page_is_what_came_out(outcomes):
    before, now = PAGE.read_text() if PAGE.exists() else "", inputs.page(outcomes)
    PAGE.write_text(now)
    assert before == now, f"{PAGE.name} was not what comes out; it is written anew: look at what changed, and keep it"


def test_a_sentence_is_told_from_what_is_none():
    assert inputs.is_sentence("There is no step 12; the steps are 0 to 11.")
    for words in ("", "no end", "Two\nlines.", "Traceback (most recent call last).", "x" * 999 + "."):
        assert not inputs.is_sentence(words)


def test_what_is_wrongly_accepted_or_refused_is_not_fine(tmp_path, monkeypatch):
    def refusing():
        raise inputs.CourseError("It is refused.")

    cases = {
        "refused": inputs.Case("refused", refusing),
        "rightly accepted": inputs.Case("rightly accepted", lambda: 3, lambda value: value == 3),
        "wrongly refused": inputs.Case("wrongly refused", refusing, lambda value: True),
        "wrongly accepted": inputs.Case("wrongly accepted", lambda: 3),
        "another value": inputs.Case("another value", lambda: 4, lambda value: value == 3),
        "a traceback": inputs.Case("a traceback", lambda: 1 / 0),
    }
    monkeypatch.setattr(inputs, "PARTS", {"all": lambda place: cases.values()})
    outcomes = inputs.try_all(tmp_path)
    assert [outcome.input for outcome in outcomes if outcome.fine] == ["refused", "rightly accepted"]
    assert "| all | 6 | 2 |" in inputs.page(outcomes)
