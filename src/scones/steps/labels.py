"""Review export and import: photos that wait for a person as files to label, and the labels that come back."""

import codecs
import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from scones.aws.connection import Aws
from scones.data.labels import (
    WITHDRAWN,
    InvalidLabels,
    Label,
    LabelOrigin,
    Purpose,
    label_studio_tasks,
    parse_labels,
)
from scones.deployment.reviews import (
    AnswerNotDispatched,
    PhotoGone,
    Review,
    UnknownPhoto,
    add_label,
    check_person,
    find_photo,
    is_photo_id,
    keep_photo,
    label_of,
    record_answer,
    review_photo,
)
from scones.dispatch.order_book import Item, ReviewState, Write, review_rank
from scones.domain.errors import DeploymentError, require_writable
from scones.domain.naming import ASKED_PREFIX, LABEL_SAMPLE_KEY, features_prefix, to_iso8601
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import plural, spreadsheet_cell
from scones.model.model_file import open_model_file
from scones.monitoring.capture.records import CapturedRecord, parse_records, split_lines
from scones.monitoring.drift.traffic import RecordedTraffic
from scones.monitoring.performance.labels import LabelRequest, LabelResult, compare_labels, labelled_accuracy
from scones.monitoring.performance.sampling import PlannedPhoto, plan

__all__ = [
    "LabelExport",
    "LabelResult",
    "NothingToLabel",
    "ReviewExport",
    "export_labels",
    "export_reviews",
    "import_labels",
]

_OPEN = {"state": ReviewState.OPEN}
_NEWEST_PHOTOS = 1000
"""The photos to label are drawn from this many."""
_LATE = timedelta(hours=1)
_MAX_FILE_BYTES = 64 << 20
_AT_ONCE = 8


class NothingToLabel(DeploymentError):
    """No photo waits for a person, and no monitoring run has recorded a photo of this model."""


@dataclass(frozen=True, slots=True)
class ReviewExport(StepResult):
    """The files that were written, how many photos are in them, and how many were chosen by the sampling plan."""

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


def export_reviews(aws: Aws, deployed: Deployed, file: Path, choose: int, limit: int) -> ReviewExport:
    """Write the open reviews as a table to fill in, and beside it as tasks for Label Studio.

    First the sampling plan chooses among the newest photos that the model answered, until *choose* of its choice are
    open; they are among the reviews from then on.

    Raises:
        NothingToLabel: no photo waits, and no monitoring run has recorded a photo of this model.
    """
    require_writable(file, ".csv", ".json")
    classes, model = _classes_and_version(aws, deployed.model_uri)
    left = choose - sum(aws.tables.reviews.count(_OPEN, "by_state", prefix=("rank", f"{kind} ")) for kind in (3, 4))
    chosen = _choose(aws, deployed, model, classes, left) if left > 0 else 0
    reviews = [Review.of(item) for item in islice(aws.tables.reviews.query(_OPEN, "by_state"), limit)]
    if not reviews:
        raise NothingToLabel(
            f"no photo of endpoint {deployed.endpoint!r} waits, and none of this model is recorded; run: scones monitor"
        )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        exist = list(pool.map(lambda review: _found_photo(aws, review) is not None, reviews))
    rows = [
        {"photo": review.photo_id, "event": review.execution, "reason": review.reason, "image": review.uri}
        for review, exists in zip(reviews, exist, strict=True)
        if exists
    ]
    table, tasks = file.with_suffix(".csv"), file.with_suffix(".json")
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(_table(rows), "utf-8")
    tasks.write_bytes(label_studio_tasks(rows))
    return ReviewExport(str(table), str(tasks), len(rows), chosen)


def _table(rows: Iterable[Mapping[str, str]]) -> str:
    """The table as CSV: a row per photo, with an empty label."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["photo", "event", "reason", "label"])
    table.writerows([*(spreadsheet_cell(row[name]) for name in ("photo", "event", "reason")), ""] for row in rows)
    return out.getvalue()


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
    if event not in found or not is_photo_id(digest):
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


@dataclass(frozen=True, slots=True)
class LabelExport(StepResult):
    """The file with the labels, and how many there are."""

    file: str
    labels: int


def export_labels(aws: Aws, file: Path) -> LabelExport:
    """Write every label, also those withdrawn or corrected since; `import_labels` reads the file.

    Raises:
        InvalidLabels: the name ends neither in .csv nor in .jsonl.
    """
    if file.suffix not in {".csv", ".jsonl"}:
        raise InvalidLabels(f"{file} is for no known format; name a file that ends in .csv or .jsonl")
    require_writable(file)
    rows = [msgspec.to_builtins(label) for label in aws.tables.labels.all()]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as opened:
        if file.suffix == ".jsonl":
            opened.writelines(msgspec.json.encode(row).decode() + "\n" for row in rows)
        else:
            writer = csv.DictWriter(opened, [field.name for field in fields(Label)])
            writer.writeheader()
            writer.writerows({name: spreadsheet_cell(str(value)) for name, value in row.items()} for row in rows)
    return LabelExport(str(file), len(rows))


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
        none = f"none of {plural(len(given), 'label')} matches a photo that a model answered, as far as is recorded"
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
    if not is_photo_id(name):
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
    in_review = bool(review.rank)
    body = _found_photo(aws, review) if in_review else find_photo(aws, review)
    sound = body is not None and hashlib.sha256(body).hexdigest() == review.photo_id
    uri = keep_photo(aws, review.photo_id, body) if sound and body is not None else ""
    said = label_of(review, label.label, label.by, label.when, uri)
    if not in_review:
        add_label(aws, replace(said, origin=LabelOrigin.LATE))
        return
    try:
        record_answer(aws, review, said)
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
