"""ClassifyBatch: classify a batch of photos, and write one line of JSON for each.

A fault of a photo becomes its result; a fault of the endpoint or S3 fails the batch, and the state machine retries.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from scones.data.image_header import UnreadablePhoto, read_header
from scones.domain.decision import ERROR_OF_OUTCOME, PHOTO_LIMIT_BYTES, Outcome, outcome_of_confidence
from scones.domain.errors import raise_as
from scones.domain.naming import batch_id
from scones.domain.text import exact_percent
from scones.domain.wire import Answer, BadAnswer, read_answers, write_request
from scones.lambdas.services import EndpointUnavailable, ask

_THRESHOLD = float(os.environ["THRESHOLD"])

# Each group has its own thread: most of the time is spent waiting for S3.
_GROUP = 25
_THREADS = 4
# InvokeEndpoint takes 6 MB, and base64 adds a third; the server's own limits are 12 million pixels and 64 photos.
_MOST_BYTES = 4_000_000
_MOST_PIXELS = 12_000_000

_PERMANENT = {"NoSuchKey", "NoSuchBucket", "AccessDenied", "InvalidObjectState"}

_s3 = boto3.client("s3", config=Config(max_pool_connections=_THREADS, response_checksum_validation="when_required"))
_endpoint = boto3.client(
    "sagemaker-runtime",
    config=Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=_THREADS,
        connect_timeout=5,
        read_timeout=60,
    ),
)

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Photo:
    key: str
    body: bytes
    pixels: int


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take `{"BatchInput": {"photos", "bucket", "parts"}, "Items": [{"key", ...}]}`; return the part's key and size.

    The part is named after its items: a batch that is retried is classified once.

    Raises:
        EndpointUnavailable: no answer, or the model failed on every photo; the state machine retries.
    """
    about, items = event["BatchInput"], event["Items"]
    digest = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()[:32]
    part = f"{about['parts']}{digest}-{len(items)}.jsonl"
    if not _is_whole(about["bucket"], part, len(items)):
        keys = [item["key"] for item in items]
        groups = [keys[start : start + _GROUP] for start in range(0, len(keys), _GROUP)]
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda group: _classify(about["photos"], group, batch_id(digest)), groups)
            lines = [line for group in found for line in group]
        _check_model(lines)
        body = "".join(json.dumps(line) + "\n" for line in lines)
        _s3.put_object(Bucket=about["bucket"], Key=part, Body=body.encode(), ContentType="application/jsonl")
    return {"part": part, "photos": len(items)}


def _is_whole(bucket: str, part: str, lines: int) -> bool:
    try:
        body: bytes = _s3.get_object(Bucket=bucket, Key=part)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return False
        raise
    return body.endswith(b"\n") and body.count(b"\n") == lines


def _check_model(lines: Sequence[Line]) -> None:
    """A model that fails on some photos fails by them; one that answers none is broken, and may be mended."""
    names = {EndpointUnavailable.__name__, BadAnswer.__name__}
    failed = [line for line in lines if line.get("error") in names]
    if failed and not any("probabilities" in line for line in lines):
        raise EndpointUnavailable(f"the model failed on each photo, first on {failed[0]['key']}: {failed[0]['reason']}")


def _classify(bucket: str, keys: Sequence[str], mark: str) -> list[Line]:
    """One line for each key, in their order."""
    lines: dict[str, Line] = {}

    def photos() -> Iterator[_Photo]:
        for key in keys:
            try:
                yield _read(bucket, key)
            except UnreadablePhoto as error:
                lines[key] = _refusal(key, error.reason)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code not in _PERMANENT:
                    raise
                lines[key] = _failure(key, code, f"S3: {error}")

    for request in _requests(photos()):
        lines |= {line["key"]: line for line in _ask(request, mark)}
    return [lines[key] for key in keys]


def _read(bucket: str, key: str) -> _Photo:
    reply = _s3.get_object(Bucket=bucket, Key=key)
    if reply["ContentLength"] > PHOTO_LIMIT_BYTES:
        reply["Body"].close()
        raise UnreadablePhoto(f"has {reply['ContentLength']:,} bytes; the limit is {PHOTO_LIMIT_BYTES:,}")
    body = reply["Body"].read()
    with raise_as(UnreadablePhoto):
        return _Photo(key, body, read_header(body).decoding_pixels)


def _requests(photos: Iterable[_Photo]) -> Iterator[list[_Photo]]:
    """Group photos into requests within the endpoint's limits; no more than a request's photos are in memory."""
    request: list[_Photo] = []
    size = pixels = 0
    for photo in photos:
        size, pixels = size + len(photo.body), pixels + photo.pixels
        if request and (size > _MOST_BYTES or pixels > _MOST_PIXELS):
            yield request
            request, size, pixels = [], len(photo.body), photo.pixels
        request.append(photo)
    if request:
        yield request


def _ask(photos: Sequence[_Photo], mark: str) -> list[Line]:
    """Send all photos in one request; if it fails because of one of them, send each alone."""
    content_type, body = write_request([photo.body for photo in photos])
    try:
        return _decisions(photos, ask(_endpoint, body, content_type, mark))
    except EndpointUnavailable as error:
        if not error.model_failed:
            raise
        failure = _failure(photos[0].key, type(error).__name__, str(error))
    except BadAnswer as error:
        failure = _failure(photos[0].key, type(error).__name__, str(error))
    except UnreadablePhoto as error:
        failure = _refusal(photos[0].key, error.reason)
    return [failure] if len(photos) == 1 else [line for photo in photos for line in _ask([photo], mark)]


def _decisions(photos: Sequence[_Photo], body: bytes) -> list[Line]:
    answers = read_answers(body)
    with raise_as(lambda reason: BadAnswer(f"the answer {reason}")):
        return [_decision(photo.key, answer) for photo, answer in zip(photos, answers, strict=True)]


def _decision(key: str, answer: Answer) -> Line:
    line = {
        "key": key,
        "outcome": Outcome.CLASSIFIED,
        "label": answer["label"],
        "confidence": answer["confidence"],
        "probabilities": answer["probabilities"],
    }
    out_of_distribution = bool(answer.get("unfamiliar"))
    outcome = outcome_of_confidence(answer["confidence"], _THRESHOLD, out_of_distribution=out_of_distribution)
    if outcome is Outcome.OUT_OF_DISTRIBUTION:
        reason = f"unlike the training photos (unfamiliarity {answer['unfamiliarity']:.3g})"
    elif outcome is Outcome.BELOW_THRESHOLD:
        reason = f"confidence {answer['confidence']:.2%} is below {exact_percent(_THRESHOLD)}"
    else:
        return line
    return {**line, "outcome": outcome, "error": ERROR_OF_OUTCOME[outcome], "reason": reason}


def _refusal(key: str, reason: str) -> Line:
    outcome = Outcome.UNREADABLE
    return {"key": key, "outcome": outcome, "error": ERROR_OF_OUTCOME[outcome], "reason": reason}


def _failure(key: str, error: str, reason: str) -> Line:
    return {"key": key, "outcome": Outcome.FAILED, "error": error, "reason": reason}
