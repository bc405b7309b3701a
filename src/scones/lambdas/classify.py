"""ClassifyImage: send one photo to the endpoint, and capture the exchange where the endpoint cannot."""

import base64
import json
import os
import uuid
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from scones.data.image_header import UnreadablePhoto
from scones.domain.decision import MAX_CLASSES, MAX_NAME_CHARACTERS
from scones.domain.naming import capture_prefix
from scones.domain.wire import BadAnswer, read_answers
from scones.lambdas import execution_of, log, logged
from scones.lambdas.services import ENDPOINT, STORAGE, USER_AGENT, ask, storage, unreadable

_VARIANT = "AllTraffic"


def capture_key(endpoint: str, moment: datetime) -> str:
    """The key under which SageMaker would capture the request: by endpoint, variant and hour."""
    milliseconds = moment.microsecond // 1000
    name = f"{moment:%M-%S}-{milliseconds:03d}-{uuid.uuid4()}.jsonl"
    return f"{capture_prefix(endpoint, _VARIANT)}{moment:%Y/%m/%d/%H}/{name}"


def capture_line(
    photo: bytes, content_type: str, answer: bytes, moment: datetime, inference_id: str | None = None
) -> bytes:
    """One line of data capture: the photo in base64, the answer as JSON, and the inference id if there is one."""
    mark = {"inferenceId": inference_id} if inference_id else {}
    asked = {"mode": "INPUT", "data": base64.b64encode(photo).decode(), "encoding": "BASE64"}
    answered = {"mode": "OUTPUT", "data": answer.decode(), "encoding": "JSON"}
    record = {
        "captureData": {
            "endpointInput": {"observedContentType": content_type, **asked},
            "endpointOutput": {"observedContentType": "application/json", **answered},
        },
        "eventMetadata": {"eventId": str(uuid.uuid4()), "inferenceTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}", **mark},
        "eventVersion": "0",
    }
    return json.dumps(record).encode() + b"\n"


_CAPTURE_BUCKET = os.environ.get("CAPTURE_BUCKET", "")
_CONTENT_TYPE = "application/x-image"
_KEPT = ("model_version", "unfamiliarity", "unfamiliar")
# The state machine retries: a second layer of retries here would only multiply the load on a busy endpoint.
# Its whole time is limited, so an endpoint that hangs must be given up early enough to be tried again.
_CONFIG = Config(user_agent=USER_AGENT, retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=12)

_s3 = boto3.client("s3", config=STORAGE)
_endpoint = boto3.client("sagemaker-runtime", config=_CONFIG)


@logged
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take SerializeImage's output, and return it with `inferences` and without the photo's bytes.

    Adds `model_version`, `unfamiliarity` and `unfamiliar` if the endpoint returns them. An `inference_id` is sent with
    the request, so that the monitor can tell internal requests from traffic.

    Raises:
        UnreadablePhoto: the endpoint refused the photo; the message is JSON with its `photo_id`.
        EndpointUnavailable: no answer; the state machine retries.
        StorageUnavailable: S3 does not answer; the state machine retries.
        BadAnswer: the answer has more probabilities than any model.
    """
    photo = base64.b64decode(event["image_data"]) if event["image_data"] else _read(event["s3_bucket"], event["s3_key"])
    return {**event, "image_data": "", **_classify(photo, event)}


def _read(bucket: str, key: str) -> bytes:
    with storage(f"s3://{bucket}/{key}"):
        body: bytes = _s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def _classify(photo: bytes, event: dict[str, Any]) -> dict[str, Any]:
    inference_id = event.get("inference_id")
    try:
        answer = ask(_endpoint, photo, _CONTENT_TYPE, inference_id)
    except UnreadablePhoto as error:
        raise unreadable(error.reason, event.get("photo_id", "")) from error
    if _CAPTURE_BUCKET:
        _capture(photo, answer, event)
    return _parsed(answer)


def _parsed(body: bytes) -> dict[str, Any]:
    """Read the endpoint's verbose answer, or the plain list of SageMaker's built-in classifier."""
    answers = read_answers(body)
    inferences = answers[0]["probabilities"]
    if len(answers) > 1 or len(inferences) > MAX_CLASSES:
        found = f"{len(answers)} answers of {len(inferences)} probabilities"
        raise BadAnswer(f"endpoint {ENDPOINT!r} gave {found}; the maximum is one of {MAX_CLASSES}")
    known: dict[str, Any] = {name: answers[0][name] for name in _KEPT if name in answers[0]}
    if "model_version" in known:
        known["model_version"] = str(known["model_version"])[:MAX_NAME_CHARACTERS]
    return {"inferences": inferences, **known}


def _capture(photo: bytes, answer: bytes, event: dict[str, Any]) -> None:
    """Capture the request, as a serverless endpoint cannot; a failure does not affect the answer."""
    moment = datetime.now(UTC)
    line = capture_line(photo, _CONTENT_TYPE, answer, moment, event.get("inference_id"))
    try:
        _s3.put_object(Bucket=_CAPTURE_BUCKET, Key=capture_key(ENDPOINT, moment), Body=line)
    except (BotoCoreError, ClientError) as error:
        log("capture lost", execution_of(event), endpoint=ENDPOINT, error=str(error))
