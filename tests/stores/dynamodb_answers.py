"""A DynamoDB that answers what a test has written down, to the SDKs' own HTTP requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = tuple[int, dict[str, Any]]


class Script:
    """The answers to come, one for each request; `asked` are the operations that were asked for, with their input.

    An answer of None closes the connection instead.
    """

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.url = ""

    @property
    def operations(self) -> list[str]:
        """The names of the operations that were asked for."""
        return [name for name, _ in self.asked]


def refusal(code: str, status: int = 400, message: str = "", **more: Any) -> Answer:
    """DynamoDB's answer to what it does not do."""
    return status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}


@contextmanager
def scripted() -> Iterator[Script]:
    """Serve the script on the loopback interface."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            script.asked.append((self.headers["x-amz-target"].partition(".")[2], json.loads(body)))
            answer = script.answers.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, content = answer
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/x-amz-json-1.0")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        script.url = f"dynamodb://sessions?region=eu-west-1&endpoint=http://127.0.0.1:{server.server_port}"
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
