"""A Hub on the loopback interface for tests: the real client talks to it over real sockets.

`LoopbackHub` keeps repositories in memory and answers as the Hub does (`loopback_routes.py`),
remembers every request, and can be told to fail: answer with a status, cut the connection after
some bytes, or hold a request until the test lets it go. Faults match `METHOD /path` with a regular
expression and wear off after `times` requests.
"""

import contextlib
import dataclasses
import json
import re
import socket
import struct
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.hub.loopback_routes import Account, Answer, HubState, answer_request

WRITE_TOKEN, READ_TOKEN, OTHER_TOKEN = "hf_write", "hf_read", "hf_other"
ACCOUNTS = {
    WRITE_TOKEN: Account("mtp", orgs=("lab",), role="write"),
    READ_TOKEN: Account("mtp", orgs=("lab",), role="read"),
    OTHER_TOKEN: Account("someone", orgs=(), role="write"),
}


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    token: str | None
    headers: dict[str, str]
    body: bytes

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@dataclasses.dataclass
class Fault:
    """What happens to the next `times` requests whose line matches."""

    pattern: str
    times: int
    answer: Answer | None = None
    cut_after: int | None = None
    gate: threading.Event | None = None


class LoopbackHub:
    """The server with its state, its log of requests and its faults."""

    def __init__(self) -> None:
        self.state = HubState(ACCOUNTS)
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.state.url = self.url

    @contextlib.contextmanager
    def running(self) -> Iterator["LoopbackHub"]:
        thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            for fault in self._faults:
                if fault.gate:
                    fault.gate.set()
            self._server.shutdown()
            self._server.server_close()

    def fail(
        self, pattern: str, status: int, *, times: int = 1, headers: dict[str, str] | None = None
    ) -> None:
        """Answer the next matching requests with an error."""
        answer = Answer(status, {"error": f"told to fail with {status}"}, headers or {})
        self._add(Fault(pattern, times, answer=answer))

    def cut(self, pattern: str, *, after: int, times: int = 1) -> None:
        """Reset the connection after so many bytes of the body (of the answer, if none is sent)."""
        self._add(Fault(pattern, times, cut_after=after))

    def hold(self, pattern: str) -> threading.Event:
        """Keep the next matching request waiting until the event is set."""
        gate = threading.Event()
        self._add(Fault(pattern, 1, gate=gate))
        return gate

    def heal(self) -> None:
        """Forget the faults that are left."""
        with self._lock:
            self._faults.clear()

    def calls(self, pattern: str) -> list[Request]:
        """List the requests so far whose `METHOD /path` matches."""
        return [request for request in self.requests if re.search(pattern, request.line)]

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def take_fault(self, line: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    """HTTP in and out; what to answer is said elsewhere."""

    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, *args: object) -> None:
        """Say nothing on the console."""

    def handle_any(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        fault = self.hub.take_fault(f"{self.command} {path}")
        if fault and fault.cut_after is not None and self._announced_length():
            self.rfile.read(fault.cut_after)
            return self._reset()
        request = Request(
            self.command,
            path,
            dict(urllib.parse.parse_qsl(url.query)),
            (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None,
            {name.lower(): value for name, value in self.headers.items()},
            self._read_body(),
        )
        self.hub.requests.append(request)
        if fault and fault.gate:
            fault.gate.wait(timeout=60)
        answer = fault.answer if fault and fault.answer else answer_request(self.hub.state, request)
        self._write(answer, cut_after=fault.cut_after if fault else None)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def _announced_length(self) -> int:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return 1
        return int(self.headers.get("Content-Length") or 0)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(self._announced_length())
        chunks = []
        while size := int(self.rfile.readline().strip(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _write(self, answer: Answer, cut_after: int | None) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self.send_response(answer.status)
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut_after is not None:
            self.wfile.write(body[:cut_after])
            self._reset()
        else:
            self.wfile.write(body)

    def _reset(self) -> None:
        """Drop the connection as a broken network does: no goodbye, what is in flight is lost."""
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
