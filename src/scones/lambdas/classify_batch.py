"""ClassifyBatch: classify a batch of photos, and write one line of JSON for each.

A fault of a photo becomes its result; a fault of the endpoint or S3 fails the batch, and the state machine retries.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from scones.data.image_header import UnreadablePhoto, read_header
from scones.domain.decision import ERROR_OF_OUTCOME, Outcome, outcome_of_confidence
from scones.domain.naming import batch_id
from scones.lambdas.services import ask

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
        EndpointUnavailable: no answer; the state machine retries.
    """
    about, items = event["BatchInput"], event["Items"]
    digest = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()[:32]
    part = f"{about['parts']}{digest}-{len(items)}.jsonl"
    if not _is_whole(about["bucket"], part, len(items)):
        keys = [item["key"] for item in items]
        groups = [keys[start : start + _GROUP] for start in range(0, len(keys), _GROUP)]
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(lambda group: _classify(about["photos"], group, batch_id(digest)), groups))
        body = "".join(json.dumps(line) + "\n" for lines in found for line in lines)
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


def _classify(bucket: str, keys: Sequence[str], mark: str) -> list[Line]:
    """One line for each key, in their order."""
    lines: dict[str, Line] = {}
    photos = []
    for key in keys:
        try:
            photos.append(_read(bucket, key))
        except UnreadablePhoto as error:
            lines[key] = _refusal(key, error.reason)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _PERMANENT:
                raise
            lines[key] = {"key": key, "outcome": Outcome.FAILED, "error": code, "reason": f"S3: {error}"}
    for request in _requests(photos):
        lines |= {line["key"]: line for line in _ask(request, mark)}
    return [lines[key] for key in keys]


def _read(bucket: str, key: str) -> _Photo:
    body = _s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return _Photo(key, body, read_header(body).decoding_pixels)


def _requests(photos: Sequence[_Photo]) -> Iterator[list[_Photo]]:
    """Group photos into requests within the endpoint's limits."""
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
    """Send all photos in one request; if the endpoint refuses it because of one photo, send each alone."""
    try:
        if len(photos) == 1:
            answers = [json.loads(ask(_endpoint, photos[0].body, "application/x-image", mark))]
        else:
            texts = [base64.b64encode(photo.body).decode() for photo in photos]
            question = json.dumps({"photos": texts}).encode()
            answers = json.loads(ask(_endpoint, question, "application/json", mark))
    except UnreadablePhoto as error:
        if len(photos) == 1:
            return [_refusal(photos[0].key, error.reason)]
        return [line for photo in photos for line in _ask([photo], mark)]
    return [_decision(photo.key, answer) for photo, answer in zip(photos, answers, strict=True)]


def _decision(key: str, answer: dict[str, Any]) -> Line:
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
        reason = f"confidence {answer['confidence']:.3f} is below {_THRESHOLD}"
    else:
        return line
    return {**line, "outcome": outcome, "error": ERROR_OF_OUTCOME[outcome], "reason": reason}


def _refusal(key: str, reason: str) -> Line:
    outcome = Outcome.UNREADABLE
    return {"key": key, "outcome": outcome, "error": ERROR_OF_OUTCOME[outcome], "reason": reason}
