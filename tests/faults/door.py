"""A door before a server, which can be shut at any request: `python -m tests.faults.door PORT TO`.

`GET /-/KIND/NUMBER` shuts it from the request of that number on, and answers how many came since it
was opened; `GET /-/open/0` opens it. Shut, it does one of `FAULTS`.
"""

import http.client
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

FAULTS = ("500", "reset")  # answers that, or ends the connection without an answer
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = Lock()
    fault = "open"
    shut_from = 0
    requests = 0
    to = 0

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/-/"):
            self._turn()
        elif self._is_shut():
            self._fail()
        else:
            self._pass_on(body)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self.handle_request
        raise AttributeError(name)

    def _turn(self) -> None:
        _, _, fault, number = self.path.split("/")
        with Door.lock:
            came = Door.requests
            Door.fault, Door.shut_from, Door.requests = fault, int(number), 0
        self._answer(200, str(came).encode())

    def _is_shut(self) -> bool:
        with Door.lock:
            Door.requests += 1
            return Door.fault != "open" and Door.requests >= Door.shut_from

    def _fail(self) -> None:
        if Door.fault == "500":
            self._answer(500, b"Internal Server Error")
        else:
            self.close_connection = True
            self.connection.close()

    def _pass_on(self, body: bytes) -> None:
        server = http.client.HTTPConnection("127.0.0.1", Door.to, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
        server.request(self.command, self.path, body, headers)
        answer = server.getresponse()
        content = answer.read()
        self._answer(answer.status, content, answer.getheader("Content-Type", ""))
        server.close()

    def _answer(self, status: int, content: bytes, kind: str = "text/html") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    port, Door.to = map(int, sys.argv[1:])
    ThreadingHTTPServer(("127.0.0.1", port), Door).serve_forever()
