"""Pages about photos: try one, list the decisions, and show one with the reasons for it."""

import csv
import io
from collections.abc import Iterator, Mapping
from threading import Semaphore
from typing import Any
from urllib.parse import urlencode

from PIL import Image, ImageOps
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from scones.console import drawings
from scones.console.app import Console, of
from scones.console.jobs import Job
from scones.console.security import ConsoleError
from scones.domain.decision import Outcome
from scones.domain.naming import DATA_PREFIX
from scones.domain.text import spreadsheet_cell
from scones.environment import load_result
from scones.steps.decisions import (
    DecisionFilter,
    DecisionPage,
    RecordedDecision,
    find_decisions,
    list_decisions,
    read_photo,
    states_of,
)
from scones.steps.show import explain_photo
from scones.steps.up import StackOutputs

_LISTED, _EXPORTED = 48, 500
_THUMBNAIL, LARGE_PIXELS = 192, 1280
"""The sides of photos, in pixels."""
_PIXELATED = 64
"""Photos of at most this side are shown with their pixels, as the model sees them."""
_DECODERS = Semaphore(2)
"""How many photos are decoded at once: each may take 200 MB."""


def routes() -> list[Route]:
    """The pages of photos and decisions."""
    return [
        Route("/try", try_page),
        Route("/courier", courier_page),
        Route("/decisions", decisions),
        Route("/decisions/export", export),
        Route("/decision", decision),
        Route("/explain", explanation),
        Route("/photo", photo),
        Route("/staged", staged_photo),
    ]


def try_page(request: Request) -> Response:
    """The form for one photo."""
    console = of(request)
    _, definition = workflow(console)
    return console.render(request, "try.html.j2", graph=drawings.workflow_graph(definition, {}), job=None)


def courier_page(request: Request) -> Response:
    """The same form, small, for a courier's phone."""
    return of(request).render(request, "courier.html.j2", job=None)


def workflow(console: Console) -> tuple[str, Mapping[str, Any]]:
    """The state machine's ARN and definition."""
    if "workflow" not in console.cache:
        arn = load_result(console.flow.aws, "up", StackOutputs).workflow_arn
        console.cache["workflow"] = arn, console.flow.aws.workflow.definition(arn)
    found: tuple[str, Mapping[str, Any]] = console.cache["workflow"]
    return found


def share(text: str, what: str) -> float:
    """A share, written as a percentage from 0 to 100.

    Raises:
        ConsoleError: it is none.
    """
    try:
        value = float(text.rstrip("% ")) / 100
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConsoleError(f"{what} is no percentage from 0 to 100: {text[:20]!r}")
    return value


def decisions(request: Request) -> Response:
    """Every decision, newest first, filtered."""
    console, query = of(request), request.query_params
    flow = console.flow
    if text := query.get("q", "").strip():
        found = find_decisions(flow.aws, text)
        if len(found) == 1:
            return RedirectResponse(decision_url(found[0]), 303)
        return _decision_list(request, found, "", len(found), text)
    wanted = _filter(request)
    if request.headers.get("hx-request") != "true":
        # The page is painted at once; reading a day of very many decisions takes the local cloud a second.
        return _decision_list(request, None, "", 0, "")
    page = list_decisions(flow.aws, wanted, _LISTED, query.get("after", ""))
    return _decision_list(request, page.decisions, page.cursor, page.examined, "")


def _filter(request: Request) -> DecisionFilter:
    query = request.query_params
    outcome = query.get("outcome", "")
    if outcome and outcome not in list(Outcome):
        raise ConsoleError(f"there is no outcome {outcome[:40]!r}")
    low = share(query.get("low") or "0", "the confidence")
    high = share(query.get("high") or "100", "the confidence")
    if low > high:
        raise ConsoleError(f"No confidence is from {100 * low:g}% to {100 * high:g}%: write the smaller one first.")
    return DecisionFilter(
        outcome=outcome,
        label=query.get("class", ""),
        model=query.get("model", ""),
        courier=query.get("courier", "").strip(),
        low=low,
        high=high,
        day=query.get("day", ""),
    )


_COLUMNS = (
    "recorded",
    "execution",
    "photo_id",
    "outcome",
    "label",
    "confidence",
    "threshold",
    "model_version",
    "courier",
    "dispatch",
)


def export(request: Request) -> Response:
    """The decisions that the filter admits as CSV, page after page."""
    aws, wanted = of(request).flow.aws, _filter(request)
    # Read before the answer begins, which an error could not change any more.
    first = list_decisions(aws, wanted, _EXPORTED)

    def rows() -> Iterator[str]:
        yield ",".join((*_COLUMNS, "photo")) + "\n"
        page: DecisionPage | None = first
        while page:
            out = io.StringIO()
            cells = [
                [getattr(item, name) for name in _COLUMNS] + [f"s3://{item.bucket}/{item.key}"]
                for item in page.decisions
            ]
            csv.writer(out, lineterminator="\n").writerows(
                [spreadsheet_cell(str(cell)) for cell in row] for row in cells
            )
            yield out.getvalue()
            page = list_decisions(aws, wanted, _EXPORTED, page.cursor) if page.cursor else None

    headers = {"Content-Disposition": 'attachment; filename="decisions.csv"'}
    return StreamingResponse(rows(), media_type="text/csv; charset=utf-8", headers=headers)


def _decision_list(
    request: Request, found: tuple[RecordedDecision, ...] | None, cursor: str, examined: int, text: str
) -> Response:
    console, query = of(request), request.query_params
    kept = {name: value for name, value in query.items() if value and name != "after"}
    more = str(request.url.include_query_params(after=cursor).query) if cursor else ""
    return console.render(
        request,
        "decisions.html.j2" if found is None or text else "decision_list.html.j2",
        decisions=found,
        address=f"/decisions?{request.url.query}",
        more=more,
        examined=examined,
        text=text,
        kept=kept,
        classes=console.classes,
        outcomes=list(Outcome),
        url=decision_url,
        photo_url=photo_url,
        tones=drawings.OUTCOME_TONES,
    )


def decision_url(item: RecordedDecision) -> str:
    """The address of a decision's page."""
    return f"/decision?{_named(item)}"


def photo_url(item: RecordedDecision, size: str = "thumb") -> str:
    """The address of a decision's photo."""
    return f"/photo?{_named(item)}&size={size}"


def _named(item: RecordedDecision) -> str:
    return urlencode({"photo": item.photo_id, "execution": item.execution})


def _asked_decision(request: Request) -> RecordedDecision:
    console, query = of(request), request.query_params
    execution, photo_id = query.get("execution", ""), query.get("photo", "")
    for item in find_decisions(console.flow.aws, execution) if execution else ():
        if photo_id in ("", item.photo_id):
            return item
    raise ConsoleError("There is no such decision: it was not recorded, or its environment was deleted.", 404)


def decision(request: Request) -> Response:
    """One decision: photo, probabilities, the way through the workflow, orders, and its replay."""
    console = of(request)
    item = _asked_decision(request)
    _, definition = workflow(console)
    return console.render(
        request,
        "decision.html.j2",
        item=item,
        graph=drawings.workflow_graph(definition, states_of(definition, item.outcome)),
        bars=drawings.probability_bars(item.probabilities, item.threshold) if item.probabilities else "",
        photo_url=photo_url,
        tones=drawings.OUTCOME_TONES,
        named=_named(item),
    )


def explanation(request: Request) -> Response:
    """Why the live model decides so."""
    console = of(request)
    item = _asked_decision(request)
    body = read_photo(console.flow.aws, item)
    if body is None:
        raise ConsoleError("The photo is gone, so its decision cannot be explained.", 404)
    answer = explain_photo(console.flow.aws, console.flow.aws.name, body, item.photo_id)
    why = answer.get("explanation") or {}
    evidence = why.get("evidence")
    return console.render(
        request,
        "explanation.html.j2",
        item=item,
        why=why,
        answer=answer,
        overlay=drawings.evidence_map(evidence) if evidence else "",
        photo_url=photo_url,
    )


def photo(request: Request) -> Response:
    """The photo of a decision, encoded again: what was uploaded is never sent to the browser."""
    body = read_photo(of(request).flow.aws, _asked_decision(request))
    side = LARGE_PIXELS if request.query_params.get("size") == "large" else _THUMBNAIL
    return picture_response(body, side)


def staged_url(key: str, size: str = "thumb") -> str:
    """The address of a staged photo."""
    return f"/staged?{urlencode({'key': key, 'size': size})}"


def staged_photo(request: Request) -> Response:
    """A photo of a data version, encoded again: what is no photo is never sent, whatever its key."""
    key = request.query_params.get("key", "")
    if not key.startswith(DATA_PREFIX):
        raise ConsoleError("This is not the address of a staged photo.", 404)
    side = LARGE_PIXELS if request.query_params.get("size") == "large" else _THUMBNAIL
    return picture_response(of(request).flow.aws.bucket.find(key), side)


def picture_response(body: bytes | None, side: int) -> Response:
    """A photo as a JPEG or PNG of at most this side; a drawing in its place if it is gone or cannot be read."""
    encoded = None if body is None else encode_photo(body, side)
    if encoded is None:
        words = "photo gone" if body is None else "not a readable photo"
        drawn = (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 192 192">'
            '<rect width="192" height="192" fill="#8e99a8"/><text x="96" y="100" font-family="sans-serif" '
            f'font-size="17" text-anchor="middle" fill="#10151b">{words}</text></svg>'
        )
        return Response(drawn, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=60"})
    kind, content = encoded
    return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=86400, immutable"})


def encode_photo(body: bytes, side: int) -> tuple[str, bytes] | None:
    """Scale a photo and encode it again, without its metadata; None if it cannot be read."""
    out = io.BytesIO()
    try:
        with _DECODERS, Image.open(io.BytesIO(body)) as image:
            image.draft("RGB", (2 * side, 2 * side))
            small = ImageOps.exif_transpose(image).convert("RGB")
            if max(small.size) <= _PIXELATED:
                times = max(1, _THUMBNAIL // max(small.size))
                small = small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST)
                small.save(out, "PNG")
                return "image/png", out.getvalue()
            small.thumbnail((side, side))
            small.save(out, "JPEG", quality=85)
    except Exception:  # noqa: BLE001 - whatever a decoder raises, there is a page to show
        return None
    return "image/jpeg", out.getvalue()


def try_result(request: Request, console: Console, job: Job, *, courier: bool) -> Response:
    """The page of a photo that was sent."""
    item = None
    if job.ended.is_set() and job.result is not None:
        found = find_decisions(console.flow.aws, str(getattr(job.result, "name", "")))
        item = found[0] if found else None
    if courier or request.query_params.get("small"):
        return console.render(request, "courier.html.j2", job=job, item=item)
    _, definition = workflow(console)
    states = states_of(definition, item.outcome) if item else job.states
    bars = drawings.probability_bars(item.probabilities, item.threshold) if item and item.probabilities else ""
    return console.render(
        request,
        "try.html.j2",
        job=job,
        item=item,
        graph=drawings.workflow_graph(definition, states),
        bars=bars,
        photo_url=photo_url,
        url=decision_url,
        tones=drawings.OUTCOME_TONES,
        named=_named(item) if item else "",
    )
