"""What functions print, in CloudWatch Logs: one stream for each version and day, and only its last lines are kept.

The stock emulator opens a stream for each call, about 5 KB that never go: a million calls would take gigabytes.
"""

import time
import uuid

from ministack.services import cloudwatch_logs
from ministack.services import lambda_svc as functions

from scones_local.wire import Json

KEPT_LINES = 5000
_DAY = "%Y/%m/%d"


def mount() -> None:
    """Write the functions' logs our way."""
    functions._emit_lambda_logs = emit


def emit(record: Json, request_id: str, log: str, _error: bool, duration_ms: int, **_: object) -> None:
    """Write what one call printed, between the lines that Lambda adds itself."""
    config = record.get("config") or record
    version = config.get("Version") or "$LATEST"
    group = f"/aws/lambda/{config['FunctionName']}"
    # As on AWS, the name ends in 32 digits; they are the same for the whole day.
    name = f"{time.strftime(_DAY, time.gmtime())}/[{version}]{uuid.uuid5(uuid.NAMESPACE_URL, group).hex}"
    now = int(time.time() * 1000)
    stream = _stream(group, name, now)
    spent = f"Duration: {duration_ms} ms\tBilled Duration: {duration_ms} ms"
    lines = [
        f"START RequestId: {request_id} Version: {version}",
        *log.splitlines(),
        f"END RequestId: {request_id}",
        f"REPORT RequestId: {request_id}\t{spent}\tMemory Size: {config.get('MemorySize', 128)} MB",
    ]
    events = [{"timestamp": now, "message": line, "ingestionTime": now} for line in lines]
    cloudwatch_logs._append_log_events(stream, events)
    if len(stream["events"]) > 2 * KEPT_LINES:
        with cloudwatch_logs._log_events_lock:
            stream["events"] = stream["events"][-KEPT_LINES:]
    cloudwatch_logs._fanout_to_subscription_filters(group, name, [{"timestamp": now, "message": m} for m in lines])


def _stream(group: str, name: str, now: int) -> Json:
    fresh = {"arn": cloudwatch_logs._make_group_arn(group), "creationTime": now, "retentionInDays": None}
    found = cloudwatch_logs._log_groups.get(group)
    if found is None:
        found = {**fresh, "tags": {}, "subscriptionFilters": {}, "streams": {}}
        cloudwatch_logs._log_groups[group] = found
    times = dict.fromkeys(("firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"))
    stream: Json = found["streams"].setdefault(
        name, {"events": [], "uploadSequenceToken": "1", "creationTime": now, **times}
    )
    return stream
