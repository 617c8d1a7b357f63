"""Archives by strangers, whose checksum is right all the same: nothing comes to lie outside, no half folder stays."""

import gzip
import hashlib
import random
import resource
import stat
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from children import End, check, live
from small import Runs
from tars import CLASS, NAME, SMALL, member, names_below, picture, whole_set, write_archive

from convnext_lessons.data.datasets import dataset_folder

LARGEST_FILE = 5_000_000  # bytes that fit on the disk
ABSOLUTE = Path("/tmp/evil-of-the-course.JPEG")
EVIL = f"{NAME}/evil.JPEG"
LINK, HARD, DEVICE, PIPE, FOLDER = (
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    tarfile.DIRTYPE,
)

# What stands before or behind a whole data set.
INTRUDERS = {
    "above": [member("../evil.JPEG", b"evil")],
    "above, later": [member(f"{NAME}/train/../../../evil.JPEG", b"evil")],
    "absolute": [member(str(ABSOLUTE), b"evil")],
    "link out": [member(EVIL, type=LINK, linkname="../../../evil")],
    "link to the root": [member(EVIL, type=LINK, linkname="/")],
    "written through a link": [
        member(f"{NAME}/out", type=LINK, linkname="../.."),
        member(f"{NAME}/out/evil.JPEG", b"evil"),
    ],
    "links of links": [
        member(f"{NAME}/a", type=LINK, linkname="."),
        member(f"{NAME}/b", type=LINK, linkname="a/../.."),
        member(f"{NAME}/b/evil.JPEG", b"evil"),
    ],
    "hard link out": [member(EVIL, type=HARD, linkname="/etc/hostname")],
    "hard link above": [member(EVIL, type=HARD, linkname="../victim")],
    "device": [member(EVIL, type=DEVICE, devmajor=1, devminor=3)],
    "pipe": [member(EVIL, type=PIPE)],
    "setuid": [member(EVIL, b"#!", mode=0o6777)],
    "the name of a folder": [member(f"{NAME}/train", b"no folder")],
    "a folder nobody may read": [member(f"{NAME}/val", type=FOLDER, mode=0)],
    "a NUL in a name": [member(f"{NAME}/a\0b.JPEG", b"evil")],
    "no UTF-8 in a name": [member(f"{NAME}/\udcff.JPEG", b"evil")],
    "a long name": [member(f"{NAME}/{'x' * 5000}", b"evil")],
    "a deep name": [member(f"{NAME}/{'x/' * 1500}evil", b"evil")],
    "a bomb": [member(f"{NAME}/zeros", bytes(4 * LARGEST_FILE))],
    "everything twice": whole_set(),
    "a picture too many": [member(f"{NAME}/train/{CLASS}/3.JPEG", picture())],
}

# What stands in its place.
SUBSTITUTES = {
    "a class is missing": whole_set()[:2],
    "another folder": whole_set("other"),
    "empty": [],
    "pictures beside the folder": [member(f"{number}.JPEG", picture()) for number in range(3)],
}

# What becomes of the archive as a file.
CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "no archive": lambda content, draw: draw.randbytes(len(content)),
    "cut off": lambda content, draw: content[: draw.randrange(len(content))],
    "an archive in an archive": lambda content, draw: gzip.compress(content),
}

KINDS = (*INTRUDERS, *SUBSTITUTES, *CHANGES)


def unpack(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Unpack a hostile archive; ``number`` chooses which."""
    root = place / "deep" / "root"
    root.mkdir(parents=True)
    (place / "deep" / "victim").write_text("untouched")
    archive = make(KINDS[number % len(KINDS)], root / f"{NAME}.tgz", draw)
    dataset = replace(SMALL, md5=hashlib.md5(archive.read_bytes()).hexdigest(), address="nowhere:")

    def fetch():
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        dataset_folder(dataset, root, lambda line: None)

    before = names_below(place)
    end = live(fetch, place)
    end.check_fine_or_refused()
    check_place(place, before, end)
    return 1


def make(kind: str, path: Path, draw: random.Random) -> Path:
    """A hostile archive."""
    intruders = INTRUDERS.get(kind, [])
    members = SUBSTITUTES.get(kind) or draw.choice((whole_set() + intruders, intruders + whole_set()))
    write_archive(path, [] if kind == "empty" else members)
    if kind in CHANGES:
        path.write_bytes(CHANGES[kind](path.read_bytes(), draw))
    return path


def check_place(place: Path, before: set[str], end: End) -> None:
    """Beside what was there, nothing but a whole data set."""
    root = place / "deep" / "root"
    new = {name for name in names_below(place) if not name.startswith(f"deep/root/{NAME}/")} - before
    allowed = {f"deep/root/.{NAME}.lock"} | ({f"deep/root/{NAME}"} if end.status == 0 else set())
    check(new <= allowed, f"{new - allowed} comes to lie outside, or half there")
    check((place / "deep" / "victim").read_text() == "untouched", "a file outside is changed")
    check(not ABSOLUTE.exists(), "an absolute name is written")
    strange = [path.name for path in root.rglob("*") if not is_harmless(path, root)]
    check(not strange, f"{strange} is a link out, a device, a pipe or setuid")


def is_harmless(path: Path, root: Path) -> bool:
    """A file, a folder, or a link that stays inside."""
    if path.is_symlink():
        return path.resolve().is_relative_to(root.resolve())
    mode = path.stat().st_mode
    return (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and not mode & (stat.S_ISUID | stat.S_ISGID)
