"""The pages: what each reads, and the template that shows it; nothing here changes anything."""

import time
from collections.abc import Mapping, Sequence

import msgspec
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from scones.console import drawings
from scones.console.app import Console, of
from scones.console.decision_pages import staged_url, try_result
from scones.console.security import ConsoleError, Role
from scones.deployment.pricing import cost_table, workload
from scones.domain.errors import MissingPrerequisite
from scones.domain.naming import ALERTS_PREFIX, DATA_PREFIX, from_iso8601
from scones.environment import load_result
from scones.monitoring.history import HistoryPoint
from scones.monitoring.performance.labels import measure_accuracy
from scones.steps.decisions import count_by_hour
from scones.steps.show import (
    OrderBookView,
    choices,
    show_dataset,
    show_models,
    show_monitoring,
    show_orders,
    show_serving,
    unassigned_reasons,
)
from scones.steps.stage import StageResult

_HOURS, _FEATURES, _CANDIDATES = 24, 6, 20
_MAX_COUNTED = 5000
_REPORTS = (ALERTS_PREFIX, DATA_PREFIX)


def routes() -> list[Route]:
    """The pages, and their parts that are loaded after them."""
    return [
        Route("/", overview),
        Route("/overview/health", health),
        Route("/overview/traffic", traffic),
        Route("/overview/cost", overview_cost),
        Route("/drift", drift),
        Route("/models", models),
        Route("/models/compare", comparison),
        Route("/data", data),
        Route("/orders", orders),
        Route("/orders/why", why_order),
        Route("/resources", resources),
        Route("/resources/list", resource_list),
        Route("/report", stored_report),
        Route("/jobs", job_list),
        Route("/jobs/{job_id}", job_page),
        Route("/try/{job_id}", job_page),
        Route("/jobs/{job_id}/events", job_events),
        Route("/try/{job_id}/events", job_events),
    ]


def _optional(console: Console, step: str, kind: type[object]) -> object | None:
    """The newest result of a step; None if it has not run."""
    try:
        return load_result(console.flow.aws, step, kind)
    except MissingPrerequisite:
        return None


class _Interval(msgspec.Struct):
    low: float
    high: float


class _Metrics(msgspec.Struct):
    accuracy: float
    n: int
    interval: _Interval


class _StoredEvaluation(msgspec.Struct):
    """What the overview shows of an evaluation, whose own module takes scipy's 40 MB."""

    metrics: _Metrics


def overview(request: Request) -> Response:
    """Is it well?"""
    return of(request).render(request, "overview.html.j2")


def health(request: Request) -> Response:
    """Release, model, accuracy, alarms and the review backlog."""
    console = of(request)
    aws = console.flow.aws
    serving = show_serving(aws)
    monitoring = show_monitoring(aws)
    evaluation = _optional(console, "evaluate", _StoredEvaluation)
    estimates = [point for point in monitoring.points if point.accuracy]
    backlog, labels = console.flow.reviews("open", 0), aws.tables.labels.all()
    return console.render(
        request,
        "health.html.j2",
        serving=serving,
        measured=next((model.measured for model in measure_accuracy(labels) if model.measured), None),
        evaluation=evaluation,
        alarms=monitoring.alarms,
        windows=monitoring.points,
        estimate=estimates[-1] if estimates else None,
        backlog=backlog,
    )


def traffic(request: Request) -> Response:
    """Traffic and outcomes by the hour."""
    console = of(request)
    counts, before = count_by_hour(console.flow.aws, _HOURS, _MAX_COUNTED)
    total = sum(counts.values(), start=type(next(iter(counts.values())))())
    return console.render(
        request, "traffic.html.j2", chart=drawings.hours_chart(counts), total=total, before=before, hours=_HOURS
    )


def overview_cost(request: Request) -> Response:
    """Dollars an hour, and the environments of this account."""
    console = of(request)
    found = console.flow.status()
    names = _environments(console)
    return console.render(request, "overview_cost.html.j2", found=found, environments=names)


def _environments(console: Console) -> list[str]:
    aws = console.flow.aws
    ending = f"-{aws.account}-{aws.region}"
    return sorted(
        name.removeprefix("scones-").removesuffix(ending)
        for name in aws.bucket.siblings("scones-")
        if name.endswith(ending)
    )


def drift(request: Request) -> Response:
    """Drift and accuracy over time, and the active alarms."""
    console = of(request)
    found = show_monitoring(console.flow.aws)
    return console.render(
        request,
        "drift.html.j2",
        alarms=found.alarms,
        points=found.points,
        charts=_charts(found.points) if found.points else [],
        features=_features(found.points),
    )


def _charts(points: Sequence[HistoryPoint]) -> list[tuple[str, str, Markup]]:
    """The drift score over time and, if it was estimated, the accuracy: title, unit and drawing."""
    scores = [(from_iso8601(point.time), point.drift_score) for point in points]
    chart = drawings.line_chart("Drift score over time", scores, line=(1.0, "threshold"))
    charts = [("Drift score", "in multiples of the threshold", chart)]
    known = [(from_iso8601(point.time), point.accuracy) for point in points if point.accuracy]
    if known:
        chart = drawings.line_chart(
            "Estimated accuracy over time",
            [(moment, estimate.accuracy) for moment, estimate in known],
            band=[(estimate.low, estimate.high) for _, estimate in known],
            percent=True,
        )
        charts.append(("Accuracy", "estimated without labels, with its 90% interval", chart))
    return charts


def _features(points: Sequence[HistoryPoint]) -> list[tuple[str, float, Markup]]:
    """The features of the newest window that changed most, each with its chart."""
    newest = points[-1].drift if points else {}
    found = []
    for name in sorted(newest, key=lambda name: -newest[name])[:_FEATURES]:
        values = [(from_iso8601(point.time), point.drift[name]) for point in points if name in point.drift]
        label = f"{name.replace('_', ' ')} over time"
        found.append((name, newest[name], drawings.line_chart(label, values, line=(1.0, "threshold"))))
    return found


def models(request: Request) -> Response:
    """The registry: each model's origin, figures and verdict, and what is deployed."""
    console = of(request)
    return console.render(
        request, "models.html.j2", packages=show_models(console.flow.aws), serving=show_serving(console.flow.aws)
    )


def comparison(request: Request) -> Response:
    """Two models on the same photos."""
    console, query = of(request), request.query_params
    one, other = (_whole(query.get(name, "")) for name in ("one", "other"))
    found = console.flow.compare(one, other)
    return console.render(
        request, "compare.html.j2", found=found, figures=found.figures, one=one, other=other, photo_url=staged_url
    )


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConsoleError("choose two models of the registry")
    return int(text)


def data(request: Request) -> Response:
    """The data versions: classes, duplicates, leaks, imbalance, and what was left out."""
    console = of(request)
    staged = _optional(console, "stage", StageResult)
    versions = [staged.version] if isinstance(staged, StageResult) else []
    for package in show_models(console.flow.aws):
        if (version := package.properties.get("data-version", "")) and version not in versions:
            versions.append(version)
    chosen = request.query_params.get("version") or (versions[0] if versions else "")
    if chosen and chosen not in versions:
        raise ConsoleError("There is no such data version in this environment.", 404)
    figures = show_dataset(console.flow.aws, chosen) if chosen else None
    return console.render(request, "data.html.j2", versions=versions, chosen=chosen, figures=figures, staged=staged)


def orders(request: Request) -> Response:
    """The map of couriers and orders."""
    console = of(request)
    book = show_orders(console.flow.aws)
    chosen = request.query_params.get("order", "")
    assigned = [(order, courier) for order, courier, _ in book.assigned]
    return console.render(
        request,
        "orders.html.j2",
        book=book,
        map=drawings.order_map(book.couriers, book.open, assigned, chosen, console.tone),
        classes=console.classes,
        chosen=chosen,
        why=_why(console, book, chosen),
        reasons=unassigned_reasons(console.flow.aws),
        value=console.cache.get("value"),
    )


def why_order(request: Request) -> Response:
    """Why an order has its courier, and why not another."""
    console = of(request)
    chosen = request.query_params.get("order", "")
    why = _why(console, show_orders(console.flow.aws), chosen)
    return console.render(request, "why.html.j2", why=why, chosen=chosen)


def _why(console: Console, book: OrderBookView, chosen: str) -> Mapping[str, object] | None:
    known = {order.id: (order, courier, bay) for order, courier, bay in book.assigned}
    known |= {order.id: (order, "", "") for order in book.open}
    if chosen not in known:
        return None
    order, courier, bay = known[chosen]
    rules = console.flow.dispatch_rules()
    candidates = choices(order, book.couriers, rules, time.time() / 60)[:_CANDIDATES]
    return {"order": order, "courier": courier, "bay": bay, "choices": candidates}


def resources(request: Request) -> Response:
    """What exists, and what it costs."""
    console = of(request)
    return console.render(
        request, "resources.html.j2", table=cost_table(workload(console.settings)), settings=console.settings
    )


def resource_list(request: Request) -> Response:
    """The resources, which takes AWS a while to list."""
    console = of(request)
    found = console.flow.status()
    releases = show_serving(console.flow.aws).releases
    first = min((from_iso8601(release.when) for release in releases), default=None)
    hours = (time.time() - first.timestamp()) / 3600 if first else 0.0
    so_far = found.hourly_dollars * hours if found.hourly_dollars is not None else None
    return console.render(request, "resource_list.html.j2", found=found, so_far=so_far, since=first)


def stored_report(request: Request) -> Response:
    """A report that a step has stored; it is shown in a sandbox, since whoever may write into the bucket made it."""
    console = of(request)
    key = console.flow.aws.bucket.key(request.query_params.get("key", ""))
    if not (key.startswith(_REPORTS) and key.endswith(".html") and ".." not in key):
        raise ConsoleError("This is not the address of a report.", 404)
    body = console.flow.aws.bucket.find(key)
    if body is None:
        raise ConsoleError("This report is gone.", 404)
    request.scope["state"]["document"] = True
    return Response(body, media_type="text/html; charset=utf-8")


def job_list(request: Request) -> Response:
    """What this console has done."""
    console = of(request)
    return console.render(request, "jobs.html.j2", jobs=console.jobs.recent())


def job_page(request: Request) -> Response:
    """One job: its lines as they come, then its result."""
    console = of(request)
    job = console.jobs.find(request.path_params["job_id"])
    courier = request.scope["state"].get("role") is Role.COURIER
    if job is None or (courier and job.verb != "try"):
        raise ConsoleError("This is no longer known here: the console was started again, or it ended long ago.", 404)
    if job.verb == "try":
        return try_result(request, console, job, courier=courier)
    said = console.describe(job.result) if job.result is not None else ""
    return console.render(request, "job.html.j2", job=job, said=said)


async def job_events(request: Request) -> Response:
    """The events of one job."""
    console = of(request)
    job = console.jobs.find(request.path_params["job_id"])
    if job is None or (request.scope["state"].get("role") is Role.COURIER and job.verb != "try"):
        raise ConsoleError("This job is no longer known here.", 404)
    return StreamingResponse(
        console.jobs.events(job), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )
