"""Review: one photo after another, decided by a key: photos of waiting couriers first, or labels that may be wrong."""

from dataclasses import asdict

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scones.console.actions import confirmed
from scones.console.app import of
from scones.console.decision_pages import LARGE_PIXELS, picture_response, staged_url
from scones.data.labels import NOT_A_VEHICLE
from scones.deployment.reviews import PhotoGone, Review, review_photo
from scones.domain.errors import SconesError
from scones.domain.text import printable
from scones.steps.corrections import ContradictedLabel

BATCH = 30
_STATES = ("open", "answered", "skipped")


def routes() -> list[Route]:
    """The page, what it reads, and what it sends."""
    return [
        Route("/review", review),
        Route("/review/queue", queue),
        Route("/review/photo", photo),
        Route("/review/answer", answer, methods=["POST"]),
    ]


def review(request: Request) -> Response:
    """The page; its script asks for the photos."""
    console = of(request)
    flow = console.flow
    corrects = _corrects(request)
    return console.render(
        request,
        "review.html.j2",
        corrects=corrects,
        open=flow.corrections(0).open if corrects else flow.reviews("open", 0).open,
        classes=console.classes,
        other=NOT_A_VEHICLE,
        batch=BATCH,
        by=flow.aws.person,
    )


def _corrects(request: Request) -> bool:
    """Whether the labels of training photos are decided, in place of photos that came to review."""
    return request.query_params.get("of") == "training"


def queue(request: Request) -> Response:
    """The next photos to decide, in order of urgency, or the likeliest label errors first."""
    if _corrects(request):
        contradicted = of(request).flow.corrections(2 * BATCH)
        items = [_contradicted(item) for item in contradicted.items]
        return JSONResponse({"items": items, "open": contradicted.open})
    state = request.query_params.get("state", "open")
    found = of(request).flow.reviews(state if state in _STATES else "open", 2 * BATCH)
    return JSONResponse({"items": [_shown(item) for item in found.items], "open": found.open})


def _contradicted(item: ContradictedLabel) -> dict[str, object]:
    return {
        "photo": item.photo,
        "address": staged_url(item.key, "large"),
        "label": printable(item.label),
        "predicted": printable(item.predicted),
        "confidence": item.confidence,
    }


def _shown(item: Review) -> dict[str, object]:
    return {
        "photo": item.photo_id,
        "address": f"/review/photo?photo={item.photo_id}",
        "waits": item.waits,
        "since": item.since,
        "reason": item.reason.replace("_", " "),
        "predicted": printable(item.predicted),
        "confidence": item.confidence,
        "courier": printable(str(item.courier.get("id", ""))),
        "by": printable(item.by),
    }


def photo(request: Request) -> Response:
    """The photo of a review, encoded again."""
    try:
        body = review_photo(of(request).flow.aws, request.query_params.get("photo", ""))
    except PhotoGone:
        body = None
    return picture_response(body, LARGE_PIXELS)


@confirmed
async def answer(request: Request, form: FormData) -> Response:
    """Keep an answer, withdraw it, or skip the photo; the page has gone on, and shows a failure when it comes."""
    flow = of(request).flow
    given = {name: str(form.get(name, "")) for name in ("what", "photo", "label", "by")}
    by = given["by"].strip()

    def work() -> dict[str, object]:
        """Do what the form asks for."""
        if given["what"] == "correct":
            return asdict(flow.correct(given["photo"], given["label"], by))
        if given["what"] == "withdraw correction":
            return asdict(flow.withdraw_correction(given["photo"], by))
        if given["what"] == "withdraw":
            return asdict(flow.withdraw(given["photo"], by))
        if given["what"] == "skip":
            return {"state": flow.skip_review(given["photo"]).state}
        return asdict(flow.answer(given["photo"], given["label"], by))

    try:
        return JSONResponse(await run_in_threadpool(work))
    except SconesError as error:
        return JSONResponse({"error": printable(str(error))}, 409)
