"""BentoML, with an ASGI application mounted: the leaner of its two ways."""

import os

import bentoml  # type: ignore[import-not-found]
from benchmarks.peers.bare_asgi import app


@bentoml.asgi_app(app, path="/app")
@bentoml.service(workers=len(os.sched_getaffinity(0)), traffic={"timeout": 60})
class Classifier:
    """All the work is in the mounted application."""
