"""Files on the disk and answers over http, opened by this process itself: no other program ever sees an address."""

import io
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO

REMOTE = ("http", "https")
SECONDS_WITHOUT_ANSWER = 20
MOST_REDIRECTS = 5
SLOWEST = 10e3  # bytes a second, on average after the first minute of waiting; what is slower counts as no connection


def is_remote(address: str) -> bool:
    """Whether an address is one of http or https; everything else is a path on the disk."""
    try:
        return urllib.parse.urlsplit(address).scheme in REMOTE
    except ValueError:  # such as http://[x
        return False


def open_address(address: str) -> IO[bytes]:
    """A file on the disk, or an answer over http, to be read from its beginning.

    Raises:
        OSError: it is not there, does not answer, or is redirected to something else than http or https; while it is
            read, also what ``WholeAnswer`` raises.
    """
    if not is_remote(address):
        return open(address, "rb")
    return io.BufferedReader(WholeAnswer(open_answer(address)), 1 << 20)


def open_answer(address: str, first: int = 0):
    """The answer of a server, as ``http.client`` gives it.

    Args:
        first: the byte to begin with; an answer with status 206 does, one with 200 begins at 0 all the same.

    Raises:
        OSError: there is none; see ``open_address``.
    """
    opener = urllib.request.OpenerDirector()  # the usual one also opens ftp:, file: and data:
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _OnlyHttp,
    ):
        opener.add_handler(handler())
    request = urllib.request.Request(address, headers={"Range": f"bytes={first}-"} if first else {})
    return opener.open(request, timeout=SECONDS_WITHOUT_ANSWER)


def length_of(answer) -> int | None:
    """How many bytes an answer says that it has; None where it does not say."""
    words = answer.headers.get("Content-Length") or ""
    return int(words) if words.isdecimal() and len(words) < 20 else None


class _OnlyHttp(urllib.request.HTTPRedirectHandler):
    """Redirections stay with http and https, and are few."""

    max_redirections = MOST_REDIRECTS

    def http_error_302(self, req, fp, code, msg, headers):
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError as error:  # such as to http://[x
            raise urllib.error.URLError(f"it is redirected to no address ({error})") from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not is_remote(newurl):
            raise urllib.error.URLError(f"it is redirected to {newurl}, which is no http or https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class WholeAnswer(io.RawIOBase):
    """An answer to be read, which says so where ``http.client`` is silent.

    Raises:
        OSError: while it is read: the connection ended before everything came, or it trickles.
    """

    def __init__(self, answer):
        self._answer, self._length = answer, length_of(answer)
        self._received, self._waited = 0, 0.0

    def readable(self):
        return True

    def readinto(self, buffer):
        start = time.monotonic()
        content = self._answer.read1(len(buffer))  # what has come, without waiting for more
        self._waited += time.monotonic() - start
        self._received += len(content)
        if not content and len(buffer) and self._received < (self._length or 0):
            raise OSError("the connection ended early")
        if self._waited > 60 and self._received / self._waited < SLOWEST:
            raise OSError("the connection is too slow")
        buffer[: len(content)] = content
        return len(content)

    def close(self):
        self._answer.close()
        super().close()
