"""Review: list the photos that wait for a person, take answers, serve couriers who wait; export and import labels."""

import codecs
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scones.aws.client import AwsError
from scones.aws.connection import Aws
from scones.data.labels import (
    NOT_A_VEHICLE,
    WITHDRAWN,
    InvalidLabels,
    Label,
    LabelOrigin,
    Purpose,
    label_studio_tasks,
    newest,
    parse_labels,
)
from scones.dispatch.order_book import DispatchStatus, Item, ReviewState, Write, review_rank
from scones.domain.decision import MAX_NAME_CHARACTERS
from scones.domain.errors import CloudError, DataError, DeploymentError, DispatchError
from scones.domain.naming import ASKED_PREFIX, LABEL_SAMPLE_KEY, features_prefix, labelled_key, to_iso8601
from scones.domain.progress import Reporter
from scones.domain.text import printable
from scones.domain.wire import read_base64
from scones.model.model_file import open_model_file
from scones.monitoring.capture.records import CapturedRecord, parse_records, split_lines
from scones.monitoring.drift.traffic import RecordedTraffic
from scones.monitoring.performance.labels import LabelRequest, LabelResult, compare_labels, labelled_accuracy
from scones.monitoring.performance.sampling import PlannedPhoto, plan

__all__ = [
    "AnswerNotDispatched",
    "LabelResult",
    "NothingToLabel",
    "PhotoGone",
    "Review",
    "ReviewAnswer",
    "ReviewExport",
    "Reviews",
    "UnknownPhoto",
    "answer",
    "export_reviews",
    "import_labels",
    "list_reviews",
    "review_photo",
    "skip",
    "withdraw",
]

_PHOTO_ID = re.compile("[0-9a-f]{64}")
_SERVED = (DispatchStatus.DONE, DispatchStatus.DUPLICATE)
_MAX_SHOWN = 80
_TRIES = 10
_OPEN = {"state": ReviewState.OPEN}


class UnknownPhoto(DataError):
    """A photo that is not among the reviews."""


class PhotoGone(DataError):
    """The photo of a review does not exist any more."""


class AnswerNotDispatched(DispatchError):
    """The answer is kept, and its courier was not served."""


@dataclass(frozen=True, slots=True)
class Review:
    """A photo that came to review: what the model said of it, its courier, and a person's answer."""

    photo_id: str
    state: ReviewState
    rank: str = ""
    since: str = ""
    """When it came to review."""
    reason: str = ""
    """`below_threshold`, `out_of_distribution`, or the purpose for which the sampling plan chose it."""
    uri: str = ""
    execution: str = ""
    model_version: str = ""
    predicted: str = ""
    confidence: float = 0.0
    courier: dict[str, Any] = field(default_factory=dict)
    seen_at: str = ""
    purpose: Purpose = Purpose.LEARN
    chance: float = 1.0
    label: str = ""
    by: str = ""
    when: str = ""
    dispatch: str = ""
    orders: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Item) -> "Review":
        """Read an item of the table."""
        return msgspec.convert(item, cls)

    @property
    def waits(self) -> bool:
        """Whether a courier waits for the answer."""
        return bool(self.courier) and self.state is ReviewState.OPEN

    @property
    def key(self) -> dict[str, str]:
        """Its key in the table."""
        return {"photo_id": self.photo_id}


@dataclass(frozen=True, slots=True)
class Reviews:
    """Reviews of one state in order of urgency, and the figures of all open ones."""

    items: tuple[Review, ...]
    more: bool
    """Whether there are more of this state than are listed."""
    open: int
    couriers_waiting: int
    oldest_minutes: float
    """The age of the oldest open review; 0 if none is open."""


@dataclass(frozen=True, slots=True)
class ReviewAnswer:
    """What became of an answer: the label that counts for the courier, and what the others said."""

    photo: str
    state: ReviewState
    label: str
    by: str
    others: Mapping[str, str]
    """The labels of other people who disagree, by person."""
    courier: str
    dispatch: str
    orders: tuple[str, ...]


def list_reviews(aws: Aws, state: str, limit: int) -> Reviews:
    """List the first *limit* reviews of a state, those whose courier waits first; the rest is not read."""
    found = aws.tables.reviews.query({"state": state}, "by_state")
    items = [Review.of(item) for item in islice(found, limit + 1)]
    return Reviews(tuple(items[:limit]), len(items) > limit, *aws.tables.reviews.backlog())


def find_review(aws: Aws, photo: str) -> Review:
    """Find the review of a photo.

    Raises:
        UnknownPhoto: it never came to review, or its time is over.
    """
    return Review.of(_item(aws, photo))


def _item(aws: Aws, photo: str) -> Item:
    item = aws.tables.reviews.get({"photo_id": photo}) if _PHOTO_ID.fullmatch(photo) else None
    if item is None:
        shown = printable(photo)[:_MAX_SHOWN]
        raise UnknownPhoto(
            f"photo {shown!r} is not among the reviews; to list them, run: scones review list --env {aws.env}"
        )
    return item


def review_photo(aws: Aws, photo: str) -> bytes:
    """Read the photo of a review.

    Raises:
        UnknownPhoto: it never came to review, or its time is over.
        PhotoGone: it was deleted, or another photo has its place.
    """
    return _photo_of(aws, _item(aws, photo))


def _photo_of(aws: Aws, item: Item) -> bytes:
    review = Review.of(item)
    photo = review.photo_id
    body = _labelled(aws, review.photo_id) or _stored(aws, review.uri) or _inline(str(item.get("event", "")))
    if body is None or hashlib.sha256(body).hexdigest() != photo:
        raise PhotoGone(
            f"photo {photo} is no longer at {review.uri or 'its event'}, or another one is; "
            f"run: scones review skip {photo} --env {aws.env}"
        )
    return body


def _labelled(aws: Aws, photo: str) -> bytes | None:
    return aws.bucket.find(labelled_key(photo))


def _stored(aws: Aws, uri: str) -> bytes | None:
    try:
        return aws.bucket.find_uri(uri)
    except AwsError as error:
        if error.not_found or error.code in {"AccessDenied", "403"}:
            return None
        raise


def _inline(event: str) -> bytes | None:
    try:
        return read_base64(json.loads(event)["image_data"])
    except (ValueError, KeyError, TypeError):
        return None


def answer(aws: Aws, photo: str, label: str, by: str, classes: tuple[str, ...]) -> ReviewAnswer:
    """Keep what a person says about a photo, and dispatch the courier who waits for it.

    The first answer serves the courier; what others say is kept beside it. A later answer of the same person corrects
    the earlier one, and the photo gives no orders twice. Each part may be repeated: if the command is killed, the same
    command completes it.

    Raises:
        UnknownPhoto: the photo is not among the reviews.
        PhotoGone: it was deleted.
        InvalidLabels: an unknown class, or no name of a person.
        AnswerNotDispatched: the dispatch function failed; the label is kept.
    """
    check_person(by)
    if label not in (*classes, NOT_A_VEHICLE):
        known = ", ".join((*classes, NOT_A_VEHICLE))
        raise InvalidLabels(f"unknown class {label[:_MAX_SHOWN]!r}; the classes are {known}")
    item = _item(aws, photo)
    review, uri = Review.of(item), keep_photo(aws, photo, _photo_of(aws, item))
    said = label_of(review, label, by, to_iso8601(datetime.now(UTC)), uri)
    return record(aws, review, said)


def label_of(review: Review, label: str, by: str, when: str, uri: str) -> Label:
    """What a person says of a photo in review."""
    return Label(
        photo=review.photo_id,
        label=label,
        by=by,
        when=when,
        origin=LabelOrigin.REVIEW,
        purpose=review.purpose,
        uri=uri,
        event=review.execution,
        model=review.model_version,
        predicted=review.predicted,
        confidence=review.confidence,
        chance=review.chance,
        seen=review.seen_at,
    )


def check_person(by: str) -> None:
    """Refuse what is no name.

    Raises:
        InvalidLabels: empty, too long, or with control characters.
    """
    if not by.strip() or len(by) > MAX_NAME_CHARACTERS or printable(by) != by:
        raise InvalidLabels(
            f"{by[:_MAX_SHOWN]!r} is not a name of at most {MAX_NAME_CHARACTERS} letters; give one with --by"
        )


def keep_photo(aws: Aws, photo: str, body: bytes) -> str:
    """Keep a labelled photo beyond the time of the others; returns where."""
    key = labelled_key(photo)
    if aws.bucket.age_seconds(key) is None:
        aws.bucket.put(key, body)
    return aws.bucket.uri(key)


def add_label(aws: Aws, label: Label) -> bool:
    """Add a label; False if it is what the person said last about the photo."""
    last = newest(aws.tables.labels.of_photo(label.photo)).get(label.photo, {}).get(label.by)
    return (last is None or last.label != label.label) and aws.tables.labels.add(label)


def record(aws: Aws, review: Review, said: Label) -> ReviewAnswer:
    """Add the label, mark the review as answered, and dispatch the courier by the answer that counts."""
    add_label(aws, said)
    return _settle(aws, review.photo_id, said.by)


def _settle(aws: Aws, photo: str, by: str) -> ReviewAnswer:
    """Bring the review in line with the labels: the first person's last word counts, until it is withdrawn."""
    for _ in range(_TRIES):
        standing = newest(aws.tables.labels.of_photo(photo)).get(photo, {})
        review = find_review(aws, photo)
        counts = _counting(review, standing, by)
        if _is_marked(aws, review, counts):
            break
        # Another person's answer came between.
    else:
        raise AnswerNotDispatched(
            f"photo {photo} is answered by too many people at once; the label is kept; run it again"
        )
    review = _serve(aws, find_review(aws, photo))
    return ReviewAnswer(
        photo=photo,
        state=review.state,
        label=review.label,
        by=review.by,
        others={who: label.label for who, label in standing.items() if label.label != review.label},
        courier=str(review.courier.get("id", "")),
        dispatch=review.dispatch,
        orders=review.orders,
    )


def _counting(review: Review, standing: Mapping[str, Label], by: str) -> Label | None:
    """The label that counts: of who answered first, else of *by*, else the oldest."""
    first = standing.get(review.by) if review.state is ReviewState.ANSWERED else None
    return first or standing.get(by) or min(standing.values(), key=lambda label: label.when, default=None)


def _is_marked(aws: Aws, review: Review, counts: Label | None) -> bool:
    """Write the label that counts into the review; False if it was changed meanwhile."""
    wanted: Item = {"state": ReviewState.OPEN, "label": WITHDRAWN, "by": "", "when": ""}
    if counts is not None:
        wanted = {"state": ReviewState.ANSWERED, "label": counts.label, "by": counts.by, "when": counts.when}
    elif review.state is ReviewState.SKIPPED:
        return True
    before: Item = {"state": review.state, "label": review.label, "by": review.by}
    if all(wanted[name] == value for name, value in before.items()):
        return True
    same = " AND ".join(f"(attribute_not_exists(#{name}) OR #{name} = :{name})" for name in before)
    values = {f":{name}": value for name, value in before.items()}
    return aws.tables.reviews.write(Write(review.key, wanted, f"attribute_exists(#photo_id) AND {same}", values))


def _serve(aws: Aws, review: Review) -> Review:
    """Dispatch the courier once; a courier who has orders by this photo keeps them, and takes the corrected vehicle."""
    if not review.courier:
        return review
    vehicle = review.label if review.label != NOT_A_VEHICLE else ""
    if review.dispatch in _SERVED:
        seen: Item = {"vehicle": vehicle, "confidence": 1.0 if vehicle else 0.0}
        aws.tables.couriers.write(
            Write({"courier_id": review.courier["id"]}, seen, "#photo_id = :photo", {":photo": review.photo_id})
        )
        return review
    if review.state is not ReviewState.ANSWERED or not vehicle:
        return review
    photo = {"photo_id": review.photo_id, "seen_at": review.seen_at, "courier": review.courier}
    event = {"execution": review.execution, "photo": photo, "answer": review.label}
    try:
        found = aws.functions.call("dispatch", event)
    except CloudError as error:
        raise AnswerNotDispatched(
            f"the label is kept, but the courier was not dispatched ({error}); run it again"
        ) from error
    served: Item = {"dispatch": str(found["dispatch"]), "orders": list(found["orders"])}
    aws.tables.reviews.write(Write(review.key, served))
    return replace(review, dispatch=str(found["dispatch"]), orders=tuple(found["orders"]))


def withdraw(aws: Aws, photo: str, by: str) -> ReviewAnswer:
    """Withdraw what a person said about a photo; without another person's answer it waits again.

    Orders that its courier has stay theirs.

    Raises:
        UnknownPhoto: the photo is not among the reviews.
        InvalidLabels: the person said nothing about it.
    """
    check_person(by)
    review = find_review(aws, photo)
    labels = [label for label in aws.tables.labels.of_photo(photo) if label.by == by]
    if not labels:
        raise InvalidLabels(f"{by!r} has not labelled photo {photo}; nothing is to withdraw")
    if labels[-1].label != WITHDRAWN:
        said = label_of(review, WITHDRAWN, by, to_iso8601(datetime.now(UTC)), labels[-1].uri)
        aws.tables.labels.add(said)
    return _settle(aws, photo, by)


def skip(aws: Aws, photo: str) -> Review:
    """Take a photo out of the open reviews without an answer; an answer may still be given.

    Raises:
        UnknownPhoto: the photo is not among the reviews.
        InvalidLabels: it is answered.
    """
    review = find_review(aws, photo)
    skipped = Write(
        review.key, {"state": ReviewState.SKIPPED}, "#state <> :answered", {":answered": ReviewState.ANSWERED}
    )
    if not aws.tables.reviews.write(skipped):
        raise InvalidLabels(f"photo {photo} is answered; to withdraw your answer, run: scones review withdraw {photo}")
    return replace(review, state=ReviewState.SKIPPED)


_NEWEST_PHOTOS = 1000
"""The photos to label are drawn from this many."""
_LATE = timedelta(hours=1)
_MAX_FILE_BYTES = 64 << 20
_AT_ONCE = 8


class NothingToLabel(DeploymentError):
    """No photo waits for a person, and no monitoring run has recorded a photo of this model."""


@dataclass(frozen=True, slots=True)
class ReviewExport:
    """The files that were written, how many photos are in them, and how many were chosen by the sampling plan."""

    page: str
    table: str
    tasks: str
    photos: int
    chosen: int


@dataclass(frozen=True, slots=True)
class Deployed:
    """What answers: an endpoint, its model and its capture, whose photos are kept for some days."""

    endpoint: str
    model_uri: str
    capture_prefix: str
    photo_days: int


def export_reviews(aws: Aws, deployed: Deployed, page: Path, choose: int, limit: int) -> ReviewExport:
    """Write the open reviews as a page, a table to fill in, and tasks for Label Studio.

    First the sampling plan chooses among the newest photos that the model answered, until *choose* of its choice are
    open; they are among the reviews from then on.

    Raises:
        NothingToLabel: no photo waits, and no monitoring run has recorded a photo of this model.
    """
    from scones.reports.monitoring import (  # noqa: PLC0415 - matplotlib loads only to draw
        LabelPagePhoto,
        render_labels,
        table_to_fill,
    )

    classes, model = _classes_and_version(aws, deployed.model_uri)
    left = choose - sum(aws.tables.reviews.count(_OPEN, "by_state", prefix=("rank", f"{kind} ")) for kind in (3, 4))
    chosen = _choose(aws, deployed, model, classes, left) if left > 0 else 0
    reviews = [Review.of(item) for item in islice(aws.tables.reviews.query(_OPEN, "by_state"), limit)]
    if not reviews:
        raise NothingToLabel(
            f"no photo of endpoint {deployed.endpoint!r} waits, and none of this model is recorded; run: scones monitor"
        )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        bodies = list(pool.map(partial(_found_photo, aws), reviews))
    photos = [
        LabelPagePhoto(review.photo_id, review.seen_at, body) for review, body in zip(reviews, bodies, strict=True)
    ]
    table, tasks = page.with_suffix(".csv"), page.with_suffix(".json")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_labels(deployed.endpoint, classes, photos, table.name), "utf-8")
    rows = [
        {"photo": review.photo_id, "event": review.execution, "reason": review.reason, "image": review.uri}
        for review, body in zip(reviews, bodies, strict=True)
        if body is not None
    ]
    table.write_text(table_to_fill(rows), "utf-8")
    tasks.write_bytes(label_studio_tasks(rows))
    return ReviewExport(str(page), str(table), str(tasks), len(rows), chosen)


def _found_photo(aws: Aws, review: Review) -> bytes | None:
    try:
        return review_photo(aws, review.photo_id)
    except (PhotoGone, UnknownPhoto):
        return None


def _choose(aws: Aws, deployed: Deployed, model: str, classes: Sequence[str], count: int) -> int:
    """Put photos that the sampling plan chooses among the reviews, and return how many."""
    traffic = _newest(aws, deployed.endpoint, model)
    if traffic is None:
        return 0
    # The photos differ from day to day, and with the seed so does the sample.
    planned = plan(traffic.probabilities, traffic.probabilities, count, seed=len(traffic))
    measured = [photo for photo in planned if photo.purpose is Purpose.MEASURE]
    request = LabelRequest(
        model=traffic.model,
        events=tuple(traffic.events[photo.place] for photo in measured),
        places=tuple(photo.place for photo in measured),
        chances=tuple(photo.chance for photo in measured),
        confidence=tuple(traffic.probabilities.max(axis=1).tolist()),
    )
    events, times = ([texts[photo.place] for photo in planned] for texts in (traffic.events, traffic.times))
    found = dict(_captured_photos(aws, deployed.capture_prefix, events, times))
    chosen = [_chosen(aws, traffic, photo, classes, found, deployed.photo_days) for photo in planned]
    aws.bucket.put(LABEL_SAMPLE_KEY, request.to_json(), "application/json")
    return sum(chosen)


def _chosen(  # noqa: PLR0913 - what an item is made of
    aws: Aws,
    traffic: RecordedTraffic,
    photo: PlannedPhoto,
    classes: Sequence[str],
    found: Mapping[str, bytes],
    days: int,
) -> bool:
    """Put one photo among the reviews; False if it is no longer in the capture, or a person answered it."""
    event, digest, row = traffic.events[photo.place], traffic.hashes[photo.place], traffic.probabilities[photo.place]
    if event not in found or not _PHOTO_ID.fullmatch(digest):
        return False
    now = datetime.now(UTC)
    since, key = to_iso8601(now), {"photo_id": digest}
    sampled: Item = {"purpose": photo.purpose, "chance": photo.chance}
    body, expires = found[event], int((now + timedelta(days=days)).timestamp())
    new: Item = {
        **sampled,
        "state": ReviewState.OPEN,
        "rank": review_rank(photo.purpose, since, waits=False),
        "since": since,
        "reason": photo.purpose,
        "uri": aws.bucket.put(f"{ASKED_PREFIX}{digest}", body),
        "execution": event,
        "model_version": traffic.model,
        "predicted": classes[int(row.argmax())],
        "confidence": float(row.max()),
        "courier": {},
        "seen_at": traffic.times[photo.place],
        "sighted": "",
        "label": WITHDRAWN,
        "expires": expires,
    }
    table = aws.tables.reviews
    if table.write(Write(key, new, "attribute_not_exists(#photo_id)")):
        return True
    # It waits already, because the model is unsure of it; the draw counts all the same.
    return table.write(Write(key, sampled, "#state = :open", {":open": ReviewState.OPEN}))


def import_labels(aws: Aws, deployed: Deployed, file: Path, by: str, report: Reporter) -> LabelResult:
    """Keep the labels in *file*, as CSV, JSON Lines or Label Studio's JSON; *by* labelled where it names no person.

    Each label is added once, however often the file is imported, and counts for the model that had answered its photo.
    A review is answered by it, and its courier served. Rows that cannot be used are left out, with their reasons.

    Raises:
        InvalidLabels: the file cannot be read, or no label matches a photo that a model answered.
    """
    check_person(by)
    classes, model = _classes_and_version(aws, deployed.model_uri)
    refused: list[str] = []

    def refuse(error: InvalidLabels) -> None:
        refused.append(str(error))

    # A byte that is not UTF-8 is the fault of its row alone.
    text = _read(file).decode("utf-8-sig", errors="replace")
    given = parse_labels(text, classes, refuse, by=by, when=to_iso8601(datetime.now(UTC)))
    traffic = [
        RecordedTraffic.from_bytes(b"".join(pieces), aws.bucket.uri(item.key))
        for item, pieces in aws.bucket.read_all(aws.bucket.list(features_prefix(deployed.endpoint)))
        if pieces is not None
    ]
    recorded = dict(_recorded(traffic, classes))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda label: _answered(aws, label.photo or label.event, recorded), given))
    known = [(review, label) for review, label in zip(found, given, strict=True) if review is not None]
    if not known:
        none = f"none of {len(given)} labels matches a photo that a model answered, as far as is recorded"
        raise InvalidLabels(refused[0] if refused else f"{none}; run: scones monitor")
    kept = _without_contradictions(known, refuse)
    for done, (review, label) in enumerate(kept, start=1):
        _keep(aws, review, label, refuse)
        report.progress(done, len(kept), "labels kept")
    figures = _figures(aws, traffic, given, model, classes)
    scored = [label.label == review.predicted for review, label in kept if review.predicted]
    return LabelResult(
        labels=len(given),
        photos=len({review.photo_id for review, _ in kept}),
        unknown=len(given) - len(known),
        exact=labelled_accuracy(np.array(scored, bool)) if scored else None,
        corrected=figures.corrected if figures else None,
        requested=figures.requested if figures else 0,
        refused=tuple(dict.fromkeys(refused)),
    )


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidLabels(f"{file} has more than {_MAX_FILE_BYTES >> 20} MiB; split it")
        content = file.read_bytes()
    except OSError as error:
        raise InvalidLabels(f"cannot read {file}: {error}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidLabels(f"cannot read {file}: it is in UTF-16; save it in UTF-8")
    return content


def _recorded(traffic: Iterable[RecordedTraffic], classes: Sequence[str]) -> Iterator[tuple[str, Review]]:
    """The recorded answers, by event and by the photo's hash; the newest of each."""
    for part in traffic:
        for event, digest, seen, row in zip(part.events, part.hashes, part.times, part.probabilities, strict=True):
            # A model with other classes is known by its version alone.
            predicted = classes[int(row.argmax())] if len(row) == len(classes) else ""
            review = Review(
                photo_id=digest,
                state=ReviewState.ANSWERED,
                execution=event,
                model_version=part.model,
                predicted=predicted,
                confidence=float(row.max()),
                seen_at=seen,
            )
            yield from ((name, review) for name in (event, digest) if name)


def _answered(aws: Aws, name: str, recorded: Mapping[str, Review]) -> Review | None:
    """What a model answered about a photo or an event: a review, a decision of the workflow, or recorded traffic."""
    photo, records = name, list[Item]()
    if not _PHOTO_ID.fullmatch(name):
        first = next(aws.tables.decisions.query({"execution": name}, "by_execution"), None)
        if first is None and name not in recorded:
            return None
        photo = str(first["photo_id"]) if first else recorded[name].photo_id
        records = [aws.tables.decisions.get({"photo_id": photo, "execution": name}) or {}] if first else []
    if item := aws.tables.reviews.get({"photo_id": photo}):
        return Review.of(item)
    if name in recorded and name != photo:
        return recorded[name]
    records = [each for each in records or aws.tables.decisions.query({"photo_id": photo}) if each.get("model_version")]
    if records:
        return _of_decision(max(records, key=lambda record: str(record.get("recorded", ""))))
    return recorded.get(photo)


def _of_decision(decided: Item) -> Review | None:
    if "label" not in decided:
        return None
    return Review(
        photo_id=str(decided["photo_id"]),
        state=ReviewState.ANSWERED,
        uri=f"s3://{decided['s3_bucket']}/{decided['s3_key']}" if decided.get("s3_key") else "",
        execution=str(decided["execution"]),
        model_version=str(decided.get("model_version", "")),
        predicted=str(decided["label"]),
        confidence=float(str(decided.get("confidence", 0))),
        seen_at=str(decided.get("seen_at", "")),
    )


def _without_contradictions(
    known: Sequence[tuple[Review, Label]], refuse: Callable[[InvalidLabels], None]
) -> list[tuple[Review, Label]]:
    """Leave out photos to which one person gives two labels at one time, by the photo and by its event."""
    said: dict[tuple[str, str, str], set[str]] = {}
    for review, label in known:
        said.setdefault((review.photo_id, label.by, label.when), set()).add(label.label)
    for (photo, _, _), labels in said.items():
        if len(labels) > 1:
            refuse(InvalidLabels(f"photo {photo} and its event have different labels: {', '.join(sorted(labels))}"))
    unique = {
        (review.photo_id, label.by, label.when): (review, label)
        for review, label in known
        if len(said[review.photo_id, label.by, label.when]) == 1
    }
    return list(unique.values())


def _keep(aws: Aws, review: Review, label: Label, refuse: Callable[[InvalidLabels], None]) -> None:
    """Keep the photo, if it exists, and the label; answer the review, if there is one."""
    body = _labelled(aws, review.photo_id) or _stored(aws, review.uri)
    in_review = bool(review.rank)
    if in_review:
        body = _found_photo(aws, review)
    sound = body is not None and hashlib.sha256(body).hexdigest() == review.photo_id
    uri = keep_photo(aws, review.photo_id, body) if sound and body is not None else ""
    said = label_of(review, label.label, label.by, label.when, uri)
    if not in_review:
        add_label(aws, replace(said, origin=LabelOrigin.LATE))
        return
    try:
        record(aws, review, said)
    except (AnswerNotDispatched, UnknownPhoto) as error:
        refuse(InvalidLabels(f"photo {review.photo_id}: {error}"))


def _figures(
    aws: Aws, traffic: Sequence[RecordedTraffic], given: Sequence[Label], model: str, classes: Sequence[str]
) -> LabelResult | None:
    """The figures of the labels that were asked for; None if no label is of recorded traffic of this model."""
    request = aws.bucket.find(LABEL_SAMPLE_KEY)
    labels = {label.photo or label.event: label.label for label in given}
    try:
        return compare_labels(traffic, labels, LabelRequest.from_json(request) if request else None, model, classes)
    except InvalidLabels:
        return None


def _classes_and_version(aws: Aws, model_uri: str) -> tuple[tuple[str, ...], str]:
    with open_model_file(aws.bucket.get(aws.bucket.key(model_uri))) as model_file:
        return model_file.classes, model_file.version


def _newest(aws: Aws, endpoint: str, model: str) -> RecordedTraffic | None:
    """The newest photos, as far as this model predicted them; None if no monitoring run has recorded one."""
    parts: list[RecordedTraffic] = []
    for item in reversed(list(aws.bucket.list(features_prefix(endpoint)))):
        part = RecordedTraffic.from_bytes(aws.bucket.get(item.key), aws.bucket.uri(item.key))
        if part.model == model:
            parts.insert(0, part)
        if part.model != model or sum(map(len, parts)) >= _NEWEST_PHOTOS:
            break
    return RecordedTraffic.join(parts).last(_NEWEST_PHOTOS) if parts else None


def _captured_photos(aws: Aws, prefix: str, events: Sequence[str], times: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Find the photos of the *events* in the capture, in the folders of their hours and the next ones."""
    wanted = set(events)
    for folder in sorted({folder for time in times for folder in _folders(time)}):
        for _, pieces in aws.bucket.read_all(aws.bucket.list(f"{prefix}{folder}/")):
            for record in parse_records(split_lines(pieces or ())):
                if isinstance(record, CapturedRecord) and record.photos is not None:
                    named = zip(record.photo_events(), record.photos, strict=True)
                    yield from ((event, photo) for event, photo in named if event in wanted)


def _folders(time: str) -> Iterator[str]:
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return
    yield from (f"{each:%Y/%m/%d/%H}" for each in (moment, moment + _LATE))
