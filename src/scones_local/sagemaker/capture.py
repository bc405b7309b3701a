"""Data capture: requests and responses of endpoints as JSON Lines in S3, written after the request is answered.

Layout and format: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
import logging
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from scones_local.storage import ObjectStore
from scones_local.wire import Json

FLUSH_SECONDS = 0.5
RECORDS_PER_FILE = 500


@dataclass(frozen=True, slots=True)
class CapturedExchange:
    """One request and its response."""

    request: bytes
    request_type: str
    response: bytes
    response_type: str
    inference_id: str | None = None
    custom_attributes: str | None = None


class CaptureWriter:
    """Collects records and writes them every half second."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._waiting: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()
        threading.Thread(target=self._flush_forever, name="capture", daemon=True).start()

    def add(self, config: Json, endpoint: str, variant: str, exchange: CapturedExchange) -> None:
        """Keep *exchange* if the endpoint captures data and the sampling selects it."""
        if not config.get("EnableCapture") or random.uniform(0, 100) >= float(config["InitialSamplingPercentage"]):  # noqa: S311
            return
        moment = datetime.now(UTC)
        folder = f"{config['DestinationS3Uri'].rstrip('/')}/{endpoint}/{variant}/{moment:%Y/%m/%d/%H}"
        with self._lock:
            self._waiting[folder].append(json.dumps(record(config, exchange, moment)))

    def flush(self) -> None:
        """Write the records that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, defaultdict(list)
        for folder, lines in waiting.items():
            for begin in range(0, len(lines), RECORDS_PER_FILE):
                name = f"{datetime.now(UTC):%M-%S}-{time.time_ns() // 1_000_000 % 1000:03d}-{uuid.uuid4()}.jsonl"
                body = "".join(line + "\n" for line in lines[begin : begin + RECORDS_PER_FILE])
                try:
                    self._store.put(f"{folder}/{name}", body.encode(), "application/octet-stream")
                except OSError as error:
                    logging.getLogger(__name__).warning("captured data was lost: %s", error)

    def _flush_forever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            if self._waiting:
                self.flush()


def record(config: Json, exchange: CapturedExchange, moment: datetime) -> Json:
    """One line of a capture file."""
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    captured: Json = {}
    for mode, member, body, kind in (
        ("Input", "endpointInput", exchange.request, exchange.request_type),
        ("Output", "endpointOutput", exchange.response, exchange.response_type),
    ):
        if mode in modes or "InputAndOutput" in modes:
            encoding, data = _encode(config.get("CaptureContentTypeHeader") or {}, kind, body)
            captured[member] = {"observedContentType": kind, "mode": mode.upper(), "data": data, "encoding": encoding}
    meta = {
        "eventId": str(uuid.uuid4()),
        **({"customAttributes": [exchange.custom_attributes]} if exchange.custom_attributes else {}),
        **({"inferenceId": exchange.inference_id} if exchange.inference_id else {}),
        "inferenceTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {"captureData": captured, "eventMetadata": meta, "eventVersion": "0"}


def _encode(declared: Mapping[str, list[str]], kind: str, body: bytes) -> tuple[str, str]:
    """As text if the configuration declares the content type as CSV or JSON, else as base64."""
    media = kind.partition(";")[0].strip()
    for encoding, member in (("CSV", "CsvContentTypes"), ("JSON", "JsonContentTypes")):
        if {kind, media} & set(declared.get(member) or ()):
            return encoding, body.decode(errors="replace")
    return "BASE64", base64.b64encode(body).decode()
