"""What GET /metrics shows: the workers' counters in Prometheus' text format."""

from collections.abc import Iterable, Sequence

from scones.serving.counters import STATUSES, Row

_KINDS = (
    ("photos", "counter", "Photos that went through the model."),
    ("batches", "counter", "Runs of the model, each on one batch of photos."),
    ("model_seconds", "counter", "Time inside the model (SageMaker's ModelLatency, summed)."),
    ("invocation_seconds", "counter", "Time from a complete request to its answer, summed."),
    ("connections", "gauge", "Open connections."),
)


def render(rows: Sequence[Row]) -> bytes:
    """Render every worker's counters; a worker's answers are counted by status."""
    lines: list[str] = []
    for name, kind, description in _KINDS:
        title = f"scones_{name}_total" if kind == "counter" else f"scones_{name}"
        values = ((f'{{worker="{worker}"}}', row.get(name)) for worker, row in enumerate(rows))
        lines += _family(title, kind, description, values)
    answers = (
        (f'{{worker="{worker}",status="{status}"}}', row.get(f"status_{status}"))
        for worker, row in enumerate(rows)
        for status in STATUSES
    )
    lines += _family("scones_answers_total", "counter", "Answers but to /ping and /metrics, by HTTP status.", answers)
    return ("\n".join(lines) + "\n").encode("ascii")


def _family(title: str, kind: str, description: str, values: Iterable[tuple[str, float]]) -> list[str]:
    head = [f"# HELP {title} {description}", f"# TYPE {title} {kind}"]
    return head + [f"{title}{labels} {value:.15g}" for labels, value in values]
