"""Flask, as in AWS's bring-your-own-container example."""

import json

from benchmarks.peers.classifier import classify
from flask import Flask, Response, request  # type: ignore[import-not-found]

app = Flask(__name__)


@app.get("/ping")  # type: ignore[untyped-decorator]
def ping() -> Response:
    """Say that it is up."""
    return Response("{}", mimetype="application/json")


@app.post("/invocations")  # type: ignore[untyped-decorator]
def invocations() -> Response:
    """Answer with the probabilities."""
    return Response(json.dumps(classify(request.get_data())), mimetype="application/json")
