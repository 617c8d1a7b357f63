"""Files on the disk and answers over http, opened by this process itself: no other program ever sees an address."""

import io
import urllib.error
import urllib.parse
import urllib.request
from typing import IO

REMOTE = ("http", "https")
SECONDS_WITHOUT_ANSWER = 20
MOST_REDIRECTS = 5


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
            read, also that the connection ended before everything came.
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

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not is_remote(newurl):
            raise urllib.error.URLError(f"it is redirected to {newurl}, which is no http or https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class WholeAnswer(io.RawIOBase):
    """An answer that says so when the connection ends before everything came, where ``http.client`` is silent."""

    def __init__(self, answer):
        self._answer, self._left = answer, length_of(answer)

    def readable(self):
        return True

    def readinto(self, buffer):
        received = self._answer.readinto(buffer)
        if self._left is not None:
            self._left -= received
            if not received and len(buffer) and self._left > 0:
                raise OSError("the connection ended early")
        return received

    def close(self):
        self._answer.close()
        super().close()
