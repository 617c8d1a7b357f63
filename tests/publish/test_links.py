import pytest

from convnext_lessons.publish.links import find_faults


def faults_of(tmp_path, body):
    (tmp_path / "index.html").write_text(f'<h1 id="top">Title</h1>{body}')
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "one.html").write_text('<a href="../index.html#top">up</a><a href="#">here</a>')
    (tmp_path / "a b.png").touch()
    return find_faults(tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        '<a href="pages/one.html">one</a> <a href="#top">top</a>',
        '<a href="https://example.org/a">a link is followed only by who clicks it</a>',
        '<img src="a%20b.png"><img src="data:image/png;base64,AAAA">',
    ],
)
def test_a_sound_page_has_none(tmp_path, body):
    assert faults_of(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<script src="https://example.org/a.js"></script>', "would fetch https://example.org/a.js"),
        ('<img src="//example.org/a.png">', "would fetch //example.org/a.png"),
        ('<img srcset="a%20b.png 1x, https://example.org/b.png 2x">', "would fetch https://example.org/b.png"),
        ('<link rel="stylesheet" href="http://example.org/a.css">', "would fetch http://example.org/a.css"),
        ("<style>p { background: url('https://example.org/c.png') }</style>", "would fetch https://example.org/c.png"),
        ('<a href="pages/two.html">two</a>', "leads to pages/two.html, which is not there"),
        ('<a href="pages/one.html#end">end</a>', "leads to pages/one.html#end, and that page has no such part"),
        ('<img src="c.png">', "leads to c.png, which is not there"),
    ],
)
def test_each_fault_is_told(tmp_path, body, words):
    (fault,) = faults_of(tmp_path, body)
    assert fault == f"index.html {words}."


def test_a_style_sheet_may_not_fetch_either(tmp_path):
    (tmp_path / "a.css").write_text('@import "https://example.org/font.css"; p { background: url(b.png) }')
    assert find_faults(tmp_path) == ["a.css would fetch https://example.org/font.css."]
