"""CloudWatch Logs: what functions and containers print, and FilterLogEvents; ministack keeps groups and streams."""

import heapq
import itertools
import json
import math
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

from ministack.app import call_service_handler_sync
from ministack.core.responses import error_response_json, json_response
from ministack.services import cloudwatch_logs, lambda_svc

from scones_local.wire import Json, Reply

MAX_LINES = 5000
MAX_PAGE_EVENTS = 10_000
MAX_PAGE_BYTES = 1024 * 1024
"""What one page of FilterLogEvents has at most, as on AWS."""
_TERM = re.compile(r'([-?]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))')
_NUMBERS = itertools.count()


def install() -> None:
    """Make ministack keep what functions print here, and read it page by page."""
    lambda_svc._emit_lambda_logs = write_log
    cloudwatch_logs._filter_log_events = filter_log_events


class LogStore:
    """Writes log lines; called from worker threads only."""

    def __init__(self) -> None:
        self._streams: set[tuple[str, str]] = set()

    def write(self, group: str, stream: str, line: str) -> None:
        """Append one line; the first one creates the group and the stream."""
        names = {"logGroupName": group, "logStreamName": stream}
        if (group, stream) not in self._streams:
            self._streams.add((group, stream))
            self._call("CreateLogGroup", {"logGroupName": group})
            self._call("CreateLogStream", names)
        event = {"timestamp": int(time.time() * 1000), "message": line or " "}
        self._call("PutLogEvents", {**names, "logEvents": [event]})

    def _call(self, operation: str, query: object) -> None:
        headers = {"x-amz-target": f"Logs_20140328.{operation}"}
        call_service_handler_sync(cloudwatch_logs.handle_request, "POST", "/", headers, json.dumps(query).encode(), {})


def write_log(record: Json, _request_id: str, log: str, _error: bool, _duration_ms: int, **_: object) -> None:
    """Write what one call printed: one stream a version and day, of which the last lines are kept.

    ministack opens a stream for each call, about 5 KB that are never freed: a million calls would take gigabytes.
    """
    config = record.get("config") or record
    version = config.get("Version") or "$LATEST"
    group = f"/aws/lambda/{config['FunctionName']}"
    # As on AWS, the name ends in 32 digits; they are the same for the whole day.
    name = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{uuid.uuid5(uuid.NAMESPACE_URL, group).hex}"
    now = int(time.time() * 1000)
    stream = _log_stream(group, name, now)
    # Lambda's runtime writes a traceback as one event, whose lines end in carriage returns.
    lines = [line for line in log.split("\n") if line]
    events = [
        {"timestamp": now, "message": line, "ingestionTime": now, "eventId": f"{now}{next(_NUMBERS):043d}"}
        for line in lines
    ]
    cloudwatch_logs._append_log_events(stream, events)
    if len(stream["events"]) > 2 * MAX_LINES:
        with cloudwatch_logs._log_events_lock:
            stream["events"] = stream["events"][-MAX_LINES:]
    cloudwatch_logs._fanout_to_subscription_filters(group, name, [{"timestamp": now, "message": m} for m in lines])


def _log_stream(group: str, name: str, now: int) -> Json:
    found = cloudwatch_logs._log_groups.get(group)
    if found is None:
        arn = cloudwatch_logs._make_group_arn(group)
        found = {"arn": arn, "creationTime": now, "retentionInDays": None, "tags": {}, "subscriptionFilters": {}}
        found["streams"] = {}
        cloudwatch_logs._log_groups[group] = found
    times = dict.fromkeys(("firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"))
    stream: Json = found["streams"].setdefault(
        name, {"events": [], "uploadSequenceToken": "1", "creationTime": now, **times}
    )
    return stream


def filter_log_events(request: Json) -> Reply:
    """Answer FilterLogEvents: the oldest events first or the newest, a page at a time.

    ministack ends after its first page, finds terms in any case, and knows neither a prefix of streams nor an order.
    """
    name = cloudwatch_logs._resolve_log_group_name(request)
    group = cloudwatch_logs._log_groups.get(name)
    if group is None:
        return _refuse("ResourceNotFoundException", "The specified log group does not exist.")
    streams, prefix = request.get("logStreamNames") or (), request.get("logStreamNamePrefix", "")
    if streams and prefix:
        return _refuse("InvalidParameterException", "logStreamNames and logStreamNamePrefix exclude each other.")
    direction, _, position = str(request.get("nextToken", "")).partition("/")
    if direction and not (direction in ("f", "b") and position.isdecimal()):
        return _refuse("InvalidParameterException", "The specified nextToken is invalid.")
    forward = direction == "f" if direction else request.get("startFromHead", True)
    chosen = [each for each in group["streams"] if each.startswith(prefix) and (not streams or each in streams)]
    first, last = request.get("startTime", 0), request.get("endTime", math.inf)
    with cloudwatch_logs._log_events_lock:
        histories = [
            [
                {**event, "logStreamName": each}
                for event in group["streams"][each]["events"]
                if first <= event["timestamp"] <= last
            ]
            for each in chosen
        ]
    events = list(heapq.merge(*histories, key=_when))
    # The position counts from the oldest event: what is written between two pages moves none.
    start = int(position) if position else 0 if forward else len(events)
    order = range(start, len(events)) if forward else range(min(start, len(events)) - 1, -1, -1)
    page, following = _page(events, order, pattern(request.get("filterPattern", "")), request.get("limit"))
    more = {} if following is None else {"nextToken": f"f/{following}" if forward else f"b/{following + 1}"}
    reply: Reply = json_response({"events": page, "searchedLogStreams": [], **more})
    return reply


def _refuse(code: str, message: str) -> Reply:
    reply: Reply = error_response_json(code, message, 400)
    return reply


def _when(event: Json) -> tuple[int, int]:
    return event["timestamp"], event.get("ingestionTime", 0)


def _page(
    events: Sequence[Json], order: Sequence[int], matches: Callable[[str], bool], limit: int | None
) -> tuple[list[Json], int | None]:
    """The events of one page, and the index of the first that is left for the next."""
    page: list[Json] = []
    size = 0
    for index in order:
        message = events[index]["message"]
        if not matches(message):
            continue
        size += len(message)
        if len(page) >= min(limit or MAX_PAGE_EVENTS, MAX_PAGE_EVENTS) or (page and size > MAX_PAGE_BYTES):
            return page, index
        page.append(events[index])
    return page, None


def pattern(text: str) -> Callable[[str], bool]:
    """Whether a message matches a filter pattern of terms: each, none of those after -, and any of those after ?.

    Patterns of JSON fields and of columns are ministack's. Source:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html
    """
    if text.lstrip().startswith(("{", "[")):
        found: Callable[[str], bool] = cloudwatch_logs._compile_filter_pattern(text)
        return found
    terms = list(_terms(text))
    without = [term for sign, term in terms if sign == "-"]
    wanted = [term for sign, term in terms if not sign]
    # As AWS documents it, optional terms count only where no term is required.
    optional = [] if wanted else [term for sign, term in terms if sign == "?"]

    def matches(message: str) -> bool:
        return (
            all(term in message for term in wanted)
            and not any(term in message for term in without)
            and (not optional or any(term in message for term in optional))
        )

    return matches


def _terms(text: str) -> Iterator[tuple[str, str]]:
    for sign, quoted, plain in _TERM.findall(text):
        yield sign, re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
