"""Reviews: photos that wait for a person, their answers, and the couriers who wait for these."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from scones.aws.client import AwsError
from scones.aws.connection import Aws
from scones.data.labels import NOT_A_VEHICLE, WITHDRAWN, InvalidLabels, Label, LabelOrigin, Purpose, newest
from scones.dispatch.order_book import DispatchStatus, Item, ReviewState, Write
from scones.domain.decision import MAX_NAME_CHARACTERS
from scones.domain.errors import CloudError, DataError, DispatchError
from scones.domain.naming import labelled_key, to_iso8601
from scones.domain.result import StepResult
from scones.domain.text import printable
from scones.domain.wire import read_base64

__all__ = [
    "AnswerNotDispatched",
    "PhotoGone",
    "Review",
    "ReviewAnswer",
    "Reviews",
    "UnknownPhoto",
    "add_label",
    "answer",
    "check_label",
    "check_person",
    "find_photo",
    "find_review",
    "is_photo_id",
    "keep_photo",
    "label_of",
    "list_reviews",
    "record_answer",
    "review_photo",
    "said_by",
    "skip",
    "withdraw",
]

_SHA256 = re.compile("[0-9a-f]{64}")
_SERVED = (DispatchStatus.DONE, DispatchStatus.DUPLICATE)
_MAX_SHOWN = 80
_TRIES = 10


class UnknownPhoto(DataError):
    """A photo that is not among the reviews."""


class PhotoGone(DataError):
    """The photo of a review does not exist any more."""


class AnswerNotDispatched(DispatchError):
    """The answer is kept, and its courier was not served."""


@dataclass(frozen=True, slots=True)
class Review(StepResult):
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
class Reviews(StepResult):
    """Reviews of one state in order of urgency, and the figures of all open ones."""

    TABLE = "items"
    FIGURE = ("items", "reason", "")

    items: tuple[Review, ...]
    more: bool
    """Whether there are more of this state than are listed."""
    open: int
    couriers_waiting: int
    oldest_minutes: float
    """The age of the oldest open review; 0 if none is open."""


@dataclass(frozen=True, slots=True)
class ReviewAnswer(StepResult):
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


def is_photo_id(name: str) -> bool:
    """Whether *name* has the form of a photo's SHA-256."""
    return _SHA256.fullmatch(name) is not None


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
    item = aws.tables.reviews.get({"photo_id": photo}) if is_photo_id(photo) else None
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
    body = find_photo(aws, review) or _inline(str(item.get("event", "")))
    if body is None or hashlib.sha256(body).hexdigest() != photo:
        raise PhotoGone(
            f"photo {photo} is no longer at {review.uri or 'its event'}, or another one is; "
            f"run: scones review skip {photo} --env {aws.env}"
        )
    return body


def find_photo(aws: Aws, review: Review) -> bytes | None:
    """Read the photo of a review where labelled photos are kept, or else from where it was sent; None if gone."""
    try:
        return aws.bucket.find(labelled_key(review.photo_id)) or aws.bucket.find_uri(review.uri)
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
    check_label(label, classes)
    item = _item(aws, photo)
    review, uri = Review.of(item), keep_photo(aws, photo, _photo_of(aws, item))
    said = label_of(review, label, by, to_iso8601(datetime.now(UTC)), uri)
    return record_answer(aws, review, said)


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


def check_label(label: str, classes: Sequence[str]) -> None:
    """Refuse what is neither a class nor NOT_A_VEHICLE; raises InvalidLabels."""
    known = (*classes, NOT_A_VEHICLE)
    if label not in known:
        raise InvalidLabels(f"unknown class {label[:_MAX_SHOWN]!r}; the classes are {', '.join(known)}")


def keep_photo(aws: Aws, photo: str, body: bytes) -> str:
    """Keep a labelled photo beyond the time of the others; returns where."""
    key = labelled_key(photo)
    if aws.bucket.age_seconds(key) is None:
        aws.bucket.put(key, body)
    return aws.bucket.uri(key)


def add_label(aws: Aws, label: Label) -> bool:
    """Add a label; False if it is what the person said last about the photo, in the same way."""
    last = newest(aws.tables.labels.of_photo(label.photo)).get(label.photo, {}).get(label.by)
    same = last is not None and (last.label, last.origin) == (label.label, label.origin)
    return not same and aws.tables.labels.add(label)


def said_by(aws: Aws, photo: str, by: str, *, corrections: bool) -> list[Label]:
    """What a person said about a photo, the oldest first: corrections of its training label, or everything else."""
    labels = aws.tables.labels.of_photo(photo)
    return [label for label in labels if label.by == by and (label.origin is LabelOrigin.CORRECTION) == corrections]


def record_answer(aws: Aws, review: Review, said: Label) -> ReviewAnswer:
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
    labels = said_by(aws, photo, by, corrections=False)
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
