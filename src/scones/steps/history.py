"""History: draw what the looks have found over time, as a page on this machine."""

from pathlib import Path

from scones.aws.connection import Aws
from scones.domain.keys import history_prefix
from scones.monitoring.history import from_lines
from scones.monitoring.performance.registered_model import open_model

MAX_RUNS = 1000
"""So many looks at most are drawn, the newest: at one an hour about six weeks."""


def history(aws: Aws, endpoint: str, model_uri: str, page: Path) -> int:
    """Write the page about *endpoint*, whose model is at *model_uri*; give the number of windows on it."""
    from scones.reports.history import render_history  # noqa: PLC0415 - matplotlib loads only to draw

    keys = [item.key for item in aws.bucket.list(history_prefix(endpoint))][-MAX_RUNS:]
    points = [point for body in aws.bucket.get_all(keys) for point in from_lines(body)]
    known = open_model(aws.bucket.get(aws.bucket.key(model_uri))).known(endpoint)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_history(endpoint, points, known.values, known.accuracy), "utf-8")
    return len(points)
