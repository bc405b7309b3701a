"""LitServe, which takes no raw photo: the body is base64 in JSON."""

import base64
import os
import sys
from typing import Any

import litserve  # type: ignore[import-not-found]


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """One photo to its probabilities."""

    def setup(self, _device: str) -> None:
        """Load the model in each worker."""
        from benchmarks.peers.classifier import classify  # noqa: PLC0415 - it must load in the worker

        self.classify = classify

    def decode_request(self, request: dict[str, str]) -> bytes:
        """Find the photo."""
        return base64.b64decode(request["photo"])

    def predict(self, photo: bytes) -> list[float]:
        """Answer with the probabilities."""
        return self.classify(photo)

    def encode_response(self, output: list[float]) -> list[float]:
        """Leave the answer as it is."""
        return output


if __name__ == "__main__":
    arguments: dict[str, Any] = {"accelerator": "cpu", "workers_per_device": len(os.sched_getaffinity(0))}
    server = litserve.LitServer(Classifier(api_path="/invocations"), healthcheck_path="/ping", **arguments)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error")
