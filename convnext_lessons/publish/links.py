"""A finished website, read as a browser reads it whose network is cut: what it would fetch from elsewhere, and which
links lead nowhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself; a link to another host is only followed by who clicks it.
_FETCHED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href",),
    "video": ("src", "poster"),
}
_IN_STYLE = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""")


class _Page(HTMLParser):
    """The addresses that a page names, and the names of its parts."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.linked, self.parts = [], [], set()
        self.feed(text)
        self.fetched += _IN_STYLE.findall(text)

    def handle_starttag(self, tag, attrs):
        found = {name: value or "" for name, value in attrs}
        self.parts |= {found[name] for name in ("id", "name") if name in found}
        for name in _FETCHED.get(tag, ()):
            for choice in found.get(name, "").split(",") if name == "srcset" else [found.get(name)]:
                if choice:
                    self.fetched.append(choice.split()[0])
        if tag == "a" and "href" in found:
            self.linked.append(found["href"])


def find_faults(root: Path) -> list[str]:
    """A sentence for everything on the pages under a folder that another host would be asked for, and for every link to
    a page, part or file that is not there."""
    files = sorted(path for path in root.rglob("*.html") if path.parent.name != "_static")  # templates of the theme's
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in files}
    faults = []
    for path, page in pages.items():
        name = path.relative_to(root)
        for address in [*page.fetched, *page.linked]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if address in page.fetched and parts.scheme != "data":
                    faults.append(f"{name} would fetch {address}.")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                faults.append(f"{name} leads to {address}, which is not there.")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].parts:
                faults.append(f"{name} leads to {address}, and that page has no such part.")
    for path in sorted(root.rglob("*.css")):
        addresses = _IN_STYLE.findall(path.read_text(encoding="utf-8"))
        faults += [f"{path.relative_to(root)} would fetch {address}." for address in addresses]
    return faults
