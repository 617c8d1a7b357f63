"""What a site that cleans HTML, as GitHub does, leaves of the committed lessons."""

from html.parser import HTMLParser

import nbformat
import pytest

from convnext_lessons.classroom.notebooks import list_lessons

CUT = ("svg", "style", "script", "iframe", "object", "embed", "form", "input", "button")
ALONE = ("input", "embed")  # elements without an end


class Cleaner(HTMLParser):
    """Leaves out the elements that such sites cut, with all that is in them."""

    def __init__(self):
        super().__init__()
        self.inside, self.kept, self.cut = 0, [], []

    def handle_starttag(self, tag, attributes):
        if tag in CUT:
            self.cut.append(tag)
            self.inside += tag not in ALONE
        elif not self.inside:
            self.kept.append(tag)

    def handle_endtag(self, tag):
        self.inside -= tag in CUT and tag not in ALONE

    def handle_data(self, words):
        if not self.inside and words.strip():
            self.kept.append(words)


def clean(html):
    cleaner = Cleaner()
    cleaner.feed(html)
    return cleaner


def test_the_cleaner_cuts_what_such_sites_cut():
    found = clean("<p>one</p><svg><text>two</text></svg><style>p {}</style><img src='x'>")
    assert found.kept == ["p", "one", "img"]
    assert found.cut == ["svg", "style"]


@pytest.mark.parametrize("path", list_lessons(), ids=lambda path: path.stem)
def test_nothing_of_a_committed_lesson_is_lost(path):
    outputs = [
        output["data"]
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert any("image/svg+xml" in data or "image/png" in data for data in outputs)
    for data in outputs:
        if "text/html" in data:
            found = clean(data["text/html"])
            assert found.kept and not found.cut, data["text/plain"]
