"""A tiny serving program: it answers what its model file says, and breaks on request."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENVIRONMENT = os.environ  # noqa: TID251 - the contract is the environment
MODEL = json.loads((Path(ENVIRONMENT["SAGEMAKER_BASE_DIR"]) / "model/model.json").read_text())


class Handler(BaseHTTPRequestHandler):
    """GET /ping and POST /invocations."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Say that we are well."""
        self._answer(200, b"")

    def do_POST(self) -> None:
        """Answer the model's number and the length of the body; `pid`, `slow`, `break` and `crash` do what they say."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"crash":
            os._exit(3)
        if body == b"break":
            self._answer(400, b'{"error": "no photo"}')
            return
        if body == b"slow":
            time.sleep(3)
        if body == b"pid":
            self._answer(200, json.dumps(os.getpid()).encode())
            return
        if body == b"fault" or ENVIRONMENT.get("FAULT"):
            self._answer(500, b"oh")
            return
        self._answer(200, json.dumps([float(MODEL["answer"]), len(body)]).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if value := self.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
            self.send_header("X-Amzn-SageMaker-Custom-Attributes", value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    if ENVIRONMENT.get("REFUSE"):
        sys.exit("no such model format")
    address = ("127.0.0.1", int(ENVIRONMENT["SAGEMAKER_BIND_TO_PORT"]))
    ThreadingHTTPServer(address, Handler).serve_forever()
