"""Small data sets: two folders of images, and archives that take the place of those that are downloaded."""

import hashlib
import http.server
import io
import re
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from convnext_lessons.data import DATASETS

SMALL = {"train": 2, "val": 1}  # images of a data set that takes another's place


@pytest.fixture(autouse=True)
def no_images_asked_for(monkeypatch):
    """The tests decide themselves which images are asked for."""
    monkeypatch.delenv("CONVNEXT_LESSONS_IMAGES", raising=False)


@pytest.fixture
def pets(tmp_path):
    """Two classes, cat and dog, four images in train and two in val, 24×16 and 16×24, each of one colour."""
    for split, count in (("train", 2), ("val", 1)):
        for label, name in enumerate(("cat", "dog")):
            place = tmp_path / "pets" / split / name
            place.mkdir(parents=True)
            for index in range(count):
                colour = (200 * label, 100 * index, 50)
                Image.new("RGB", ((24, 16), (16, 24))[index], colour).save(place / f"{index}.jpg", quality=95)
    return tmp_path / "pets"


@pytest.fixture
def grey(tmp_path, full_mode):
    """Grey images, as bright as their number: 24 to train, 10 to validate, in two classes."""
    for number in range(34):
        path = tmp_path / "grey" / ("train" if number < 24 else "val") / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 40), (3 * number,) * 3).save(path)
    return tmp_path / "grey"


@pytest.fixture(scope="session")
def members():
    """``members(dataset, train=…, val=…)``: names and contents of the files in a small archive of a data set."""

    def members(dataset, train=SMALL["train"], val=SMALL["val"]):
        found = []
        for split, count in (("train", train), ("val", val)):
            for index in range(count):
                buffer = io.BytesIO()
                Image.effect_noise((20, 20), 90).save(buffer, "JPEG")
                found.append(
                    (f"{dataset.folder}/{split}/{next(iter(dataset.classes))}/{index}.JPEG", buffer.getvalue())
                )
        return found

    return members


@pytest.fixture(scope="session")
def pack():
    """``pack(members, path)``: an archive of files by name."""

    def pack(members, path):
        with tarfile.open(path, "w:gz") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return pack


class FaultyHandler(http.server.BaseHTTPRequestHandler):
    """Serves files by their whole path on this machine, and goes wrong as its server's ``fault`` says."""

    def do_GET(self):
        fault, path = self.server.fault, Path(self.path)
        self.server.requests.append((self.path, self.headers.get("Range")))
        if not path.is_file():
            return self.send_error(404)
        if fault == "html":
            return self.answer(b"<html>Please log in</html>", type="text/html")
        if fault and fault.startswith("to "):
            self.send_response(302)
            self.send_header("Location", fault[3:])
            return self.end_headers()
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted and fault != "no range" else 0
        if first >= len(content):
            return self.send_error(416)
        content = content[first:]
        sent = content[: len(content) // 2] if fault in ("cut", "cut without length") else content
        length = {"cut without length": None, "no length": None, "length of words": "many"}.get(fault, len(content))
        return self.answer(sent, 206 if first else 200, length)

    def answer(self, content, code=200, length=..., type="application/octet-stream"):
        self.send_response(code)
        self.send_header("Content-Type", type)
        length = len(content) if length is ... else length
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A server on this machine, with ``.address(path)`` of a file, ``.fault`` and ``.requests``."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FaultyHandler) as server:
        server.fault, server.requests = None, []
        server.address = lambda path: f"http://127.0.0.1:{server.server_port}{path}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def publish(tmp_path, monkeypatch, server):
    """``publish(dataset, archive)``: an archive with two images in train and one in val is online in the place of a
    data set's; without an archive nothing is online. Returns the ``DataSet``, which now goes by the name."""

    def publish(dataset, archive=None, md5=None):
        address = server.address(archive or tmp_path / "not online.tgz")
        md5 = md5 or (hashlib.md5(archive.read_bytes()).hexdigest() if archive else dataset.md5)
        small = replace(dataset, counts=SMALL, address=address, md5=md5)
        monkeypatch.setitem(DATASETS, dataset.name, small)
        return small

    return publish


@pytest.fixture
def published(publish, members, pack, tmp_path):
    """``published(dataset)``: a small archive that is whole, online in the place of a data set's."""

    def published(dataset):
        return publish(dataset, pack(members(dataset), tmp_path / f"{dataset.name}.tgz"))

    return published
