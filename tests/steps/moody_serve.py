"""An endpoint that is overloaded at first: it answers the first requests with 503, and every photo alike after that."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENVIRONMENT = os.environ  # noqa: TID251 - the contract is the environment
BAD_MOODS = 5
ANSWER = {"label": "bicycle", "confidence": 0.9, "probabilities": [0.9, 0.1], "classes": ["bicycle", "motorcycle"]}

moods = iter([503] * BAD_MOODS)
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """GET /ping and POST /invocations."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say that we are well."""
        self._answer(200, b"{}")

    def do_POST(self) -> None:
        """Refuse the first few, then answer one for each photo in the list."""
        photos = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["photos"]
        with lock:
            status = next(moods, 200)
        self._answer(status, json.dumps([ANSWER] * len(photos)).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    address = (ENVIRONMENT["SCONES_BIND_HOST"], int(ENVIRONMENT["SAGEMAKER_BIND_TO_PORT"]))
    ThreadingHTTPServer(address, Handler).serve_forever()
