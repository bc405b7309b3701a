"""Record: one capture record, as SageMaker writes it, of what a serverless endpoint was asked and answered.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
import uuid
from datetime import datetime

_VARIANT = "AllTraffic"


def capture_key(endpoint: str, moment: datetime) -> str:
    """Where SageMaker would put the record: by endpoint, variant and hour."""
    milliseconds = moment.microsecond // 1000
    name = f"{moment:%M-%S}-{milliseconds:03d}-{uuid.uuid4()}.jsonl"
    return f"capture/{endpoint}/{_VARIANT}/{moment:%Y/%m/%d/%H}/{name}"


def capture_line(
    photo: bytes, content_type: str, answer: bytes, moment: datetime, inference_id: str | None = None
) -> bytes:
    """One JSON line: the photo in base64, the answer as the JSON that it is, and the question's mark if it had one."""
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
