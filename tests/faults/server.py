"""A server on this machine that goes wrong: ``/FAULT/PATH`` is a file of this machine, answered with a fault."""

import contextlib
import http.server
import multiprocessing
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from convnext_lessons.data import remote

FASTER = 20  # times, so that nobody waits for a minute
FAULTS = (
    "length_of_words",
    "length_too_small",
    "length_too_large",
    "cut",
    "cut_without_length",
    "nothing",
    "no_http",
    "headers_without_end",
    "reset",
    "stall",
    "silent",
    "trickle",
    "log_in",
    "altered",
    "wrong_range",
    "not_there",
    "forbidden",
    "busy",
    "range_refused",
    "loop",
    "to_file",
    "to_ftp",
    "to_nowhere",
)
STALL = 3  # seconds of silence, more than its clients wait


class Faulty(http.server.BaseHTTPRequestHandler):
    """Each method is a fault, by its name in the address."""

    def do_GET(self):
        _, fault, name = self.path.split("/", 2)
        self.content = Path("/" + name).read_bytes() if Path("/" + name).is_file() else b""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        self.first = int(wanted[1]) if wanted else 0
        with contextlib.suppress(ConnectionError):  # the client had enough
            getattr(self, fault)()

    def head(self, code=200, length=None, **headers):
        self.send_response(code)
        if length is not None:
            headers["Content-Length"] = length
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send(self, content, length=None, **headers):
        self.head(self.code, len(content) if length is None else length, **headers)
        self.wfile.write(content)

    @property
    def code(self):
        return 206 if self.first else 200

    @property
    def rest(self):
        return self.content[self.first :]

    def fine(self):
        self.send(self.rest)

    def no_range(self):
        self.head(200, len(self.content))
        self.wfile.write(self.content)

    def no_length(self):
        self.head()
        self.wfile.write(self.content)

    def length_of_words(self):
        self.send(self.rest, "many")

    def length_too_small(self):
        self.send(self.rest, max(1, len(self.rest) // 2))

    def length_too_large(self):
        self.send(self.rest, len(self.rest) + 1000)

    def cut(self):
        self.send(self.rest[: len(self.rest) // 2], len(self.rest))

    def cut_without_length(self):
        self.head()
        self.wfile.write(self.content[: len(self.content) // 2])

    def nothing(self):
        self.close_connection = True

    def no_http(self):
        self.wfile.write(b"\x00\x01 hello\r\n\r\n")

    def headers_without_end(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"X-More: more\r\n" * 200)

    def reset(self):
        self.head(self.code, len(self.rest))
        self.wfile.write(self.rest[: len(self.rest) // 2])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def stall(self):
        self.head(self.code, len(self.rest))
        self.wfile.write(self.rest[:100])
        self.wfile.flush()
        time.sleep(STALL)

    def silent(self):
        time.sleep(STALL)

    def trickle(self):
        self.head(self.code, len(self.rest))
        for byte in self.rest:
            self.wfile.write(bytes([byte]))
            time.sleep(0.02)

    def log_in(self):
        self.send(b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")

    def altered(self):
        content = bytearray(self.rest)
        content[len(content) // 2] ^= 0xFF
        self.send(bytes(content))

    def wrong_range(self):
        self.head(206, len(self.content))
        self.wfile.write(self.content)

    def not_there(self):
        self.send_error(404)

    def forbidden(self):
        self.send_error(403)

    def busy(self):
        self.send_error(503)

    def range_refused(self):
        self.send_error(416)

    def loop(self):
        self.head(302, 0, Location=self.path)

    def to_file(self):
        self.head(302, 0, Location="file:///etc/hostname")

    def to_ftp(self):
        self.head(302, 0, Location="ftp://127.0.0.1:1/x")

    def to_nowhere(self):
        self.head(302, 0, Location="http://[x")

    def log_message(self, *_):
        pass


def hurry() -> None:
    """In this process, let the course's clocks go faster where it waits for an answer."""
    remote.SECONDS_WITHOUT_ANSWER /= FASTER
    remote.time = SimpleNamespace(monotonic=lambda: FASTER * time.monotonic())


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # clients that leave are what this is for


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The address of a server, for the length of a block; in a process of its own, since this one forks."""
    server = Server(("127.0.0.1", 0), Faulty)
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(server,), daemon=True)
    process.start()
    server.socket.close()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        process.kill()
        process.join()


def _serve(server):
    """Serve for as long as the process that started this one lives."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    multiprocessing.parent_process().join()
